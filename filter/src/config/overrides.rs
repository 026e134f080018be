//! `overrides`: keys that a rule treats in a way of their own.

use super::fallback::Fallback;
use super::value::{Fields, Value};
use super::{Cost, KEY_PARTS_MAX, OnFailure, key, limit};
use crate::limit::Limit;
use crate::matching::{Key, KeyRecipe, Readings};

/// The most overrides of one rule.
pub const OVERRIDES_MAX: usize = 1_024;

/// What a rule does with one key instead of counting it by the rule's own limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Override {
    /// Counts it by this limit, and without a count does this.
    Limit(Limit, OnFailure),
    /// Lets it pass, and counts nothing.
    Unlimited,
    /// Refuses it.
    Deny,
}

/// The overrides of a rule by the text of their keys, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(Vec<(String, Override)>);

/// What the rule itself says. `None` where that has a problem, which is noted already.
#[derive(Clone, Copy)]
pub(super) struct Base<'r> {
    pub(super) key: Option<&'r KeyRecipe>,
    pub(super) limit: Option<&'r Limit>,
    pub(super) cost: Option<&'r Cost>,
    pub(super) fallback: Option<Fallback>,
}

impl Overrides {
    /// What holds for a key, if that is not what holds for all.
    pub fn get(&self, key: &Key) -> Option<Override> {
        let place = self.place(&key.text).ok()?;
        self.0.get(place).map(|(_, outcome)| *outcome)
    }

    /// Whether one of the keys that a request may have is refused.
    pub fn deny_any(&self, readings: impl FnOnce() -> Readings) -> bool {
        let denied = self.0.iter().filter(|(_, it)| *it == Override::Deny);
        let mut denied = denied.map(|(text, _)| text).peekable();
        denied.peek().is_some() && {
            let readings = readings();
            denied.any(|text| readings.include(text))
        }
    }

    /// The limits that there are.
    pub(super) fn limits(&self) -> impl Iterator<Item = Limit> {
        self.0.iter().filter_map(|(_, outcome)| match outcome {
            Override::Limit(limit, _) => Some(*limit),
            Override::Unlimited | Override::Deny => None,
        })
    }

    fn place(&self, text: &str) -> Result<usize, usize> {
        self.0
            .binary_search_by(|(known, _)| known.as_str().cmp(text))
    }

    pub(super) fn read(value: &Value<'_>, base: Base<'_>) -> Option<Self> {
        if base.key.is_some_and(|key| key.parts.is_empty()) {
            return value.refuse("a rule without \"key\" has one counter and nothing to override");
        }
        let mut overrides = Self::default();
        value.list((1, OVERRIDES_MAX), |value| {
            value.object(|fields| {
                let text = fields.required("key", |value| overrides.new_key(value, base));
                let outcome = Override::read(value, fields, base);
                let (text, outcome) = (text?, outcome?);
                let place = overrides.place(&text).unwrap_or_else(|place| place);
                overrides.0.insert(place, (text, outcome));
                Some(())
            })
        })?;
        Some(overrides)
    }

    /// The text of a key that no earlier override has.
    fn new_key(&self, value: &Value<'_>, base: Base<'_>) -> Option<String> {
        let mut parts = base.key.into_iter().flat_map(|key| &key.parts);
        let values = value.list((1, KEY_PARTS_MAX), |value| {
            key::value_of(value, parts.next())
        })?;
        let parts = base.key.map_or(values.len(), |key| key.parts.len());
        if values.len() != parts {
            let found = values.len();
            return value.refuse(format_args!(
                "expected a value for each part of the rule's key, {parts}, found {found}"
            ));
        }
        let values: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
        let text = Key::of(&values).text;
        match self.place(&text) {
            Ok(_) => value.refuse("expected a key that no earlier override has"),
            Err(_) => Some(text),
        }
    }
}

impl Override {
    fn read(value: &Value<'_>, fields: &mut Fields<'_, '_>, base: Base<'_>) -> Option<Self> {
        const WHAT: &str =
            "another limit (\"requests\", \"per\", \"burst\"), \"unlimited\" or \"deny\"";
        let limited = fields.has_any(&limit::OVERRIDABLE);
        let limit = limit::over(value, fields, base.limit);
        let unlimited = fields.or("unlimited", Some(None), |value| value.yes().map(Some));
        let deny = fields.or("deny", Some(None), |value| value.yes().map(Some));
        match (limited, unlimited?, deny?) {
            (true, None, None) => {
                let (limit, fallback) = (limit?, base.fallback?);
                let cost = base.cost?;
                if cost.max() > limit.capacity() {
                    return value.refuse(format_args!(
                        "this limit admits {} at once, but a request may cost {}",
                        limit.capacity(),
                        cost.max()
                    ));
                }
                fallback.check(value, &limit, cost)?;
                Some(Self::Limit(limit, fallback.of(&limit)))
            }
            (false, Some(()), None) => Some(Self::Unlimited),
            (false, None, Some(())) => Some(Self::Deny),
            // What it was meant to be is noted as unknown.
            (false, None, None) if fields.has_strangers() => None,
            (false, None, None) => value.refuse(format_args!("expected {WHAT}")),
            _ => value.refuse(format_args!("expected only one of {WHAT}")),
        }
    }
}
