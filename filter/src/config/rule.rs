//! `rules`: the limits, each with the requests it counts and what happens to the surplus.

use super::fallback::Fallback;
use super::overrides::Base;
use super::value::Value;
use super::{Cost, Lease, OnFailure, Override, Overrides, Response, key, lease, limit, matcher};
use crate::limit::Limit;
use crate::matching::{Key, KeyRecipe, Matcher, Request};

/// The most rules: every request is tried against each.
pub const RULES_MAX: usize = 256;
/// The most regular expressions of all rules together: each holds memory for as long as it lives.
pub const PATTERNS_MAX: usize = 256;
/// The longest name of a rule, in bytes.
pub const RULE_NAME_BYTES_MAX: usize = 64;

/// One limit: which requests it counts, by which key, and what happens to the surplus.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// `[a-z0-9_-]{1,64}`, unique in the configuration.
    pub name: String,
    /// Which requests the rule counts.
    pub matcher: Matcher,
    /// What a request is counted by.
    pub key: KeyRecipe,
    /// What happens when a part of the key is absent.
    pub missing_key: MissingKey,
    /// How much is allowed.
    pub limit: Limit,
    /// Keys that are treated in a way of their own.
    pub overrides: Overrides,
    /// Tokens a request takes; at most the capacity of the limit and of each override's.
    pub cost: Cost,
    /// What happens when Redis does not answer.
    pub on_failure: OnFailure,
    /// What a worker may take ahead of its requests; without it every decision is Redis's.
    pub lease: Option<Lease>,
    /// Decide, count and export, but never refuse.
    pub shadow: bool,
    /// What refused requests are told.
    pub response: Response,
}

/// What a rule does with a request that lacks a part of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingKey {
    /// Count it with all others that lack the part.
    Share,
    /// The rule does not apply.
    Skip,
    /// Refuse the request as if it were over the limit.
    Deny,
}

/// How a rule that matches a request treats it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Counts it.
    Count(Counted),
    /// Lets it pass: an override says so.
    Unlimited,
    /// Refuses it: a part of the key is absent and `missing_key` is `deny`, or an override says so.
    Deny,
    /// Does not apply after all: a part of the key is absent and `missing_key` is `skip`.
    Skip,
}

/// What a request is counted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The key.
    pub key: Key,
    /// The limit of that key.
    pub limit: Limit,
    /// What happens when Redis does not answer.
    pub on_failure: OnFailure,
    /// Tokens the request takes.
    pub cost: u64,
}

impl Rule {
    pub(super) fn treatment(&self, request: &Request<'_>) -> Treatment {
        let key = self.key.key(request);
        match self.missing_key {
            MissingKey::Skip if key.missing => return Treatment::Skip,
            MissingKey::Deny if key.missing => return Treatment::Deny,
            _ => {}
        }
        let (limit, on_failure) = match self.overrides.get(&key) {
            // A client must not get out of a refusal by adding a value.
            None if key.has_several() && self.overrides.deny_any(|| self.key.readings(request)) => {
                return Treatment::Deny;
            }
            None => (self.limit, self.on_failure),
            Some(Override::Limit(limit, on_failure)) => (limit, on_failure),
            Some(Override::Unlimited) => return Treatment::Unlimited,
            Some(Override::Deny) => return Treatment::Deny,
        };
        Treatment::Count(Counted {
            key,
            limit,
            on_failure,
            cost: self.cost.of(request),
        })
    }

    fn read<'d>(value: &Value<'d>, names: &mut Vec<&'d str>) -> Option<Self> {
        value.object(|fields| {
            let name = fields.required("name", |value| unique_name(value, names));
            let matcher = fields.or("match", Matcher::default(), matcher::read);
            let key = fields.or("key", KeyRecipe::default(), key::read);
            let missing_key = fields.or("missing_key", MissingKey::Share, missing_key);
            let limit = fields.required("limit", limit::read);
            let cost = fields.or("cost", Cost::Fixed(Cost::DEFAULT), |value| {
                Cost::read(value, limit.as_ref())
            });
            let fallback = Fallback::read(fields, limit.as_ref(), cost.as_ref());
            let base = Base {
                key: key.as_ref(),
                limit: limit.as_ref(),
                cost: cost.as_ref(),
                fallback,
            };
            let overrides = fields.or("overrides", Overrides::default(), |value| {
                Overrides::read(value, base)
            });
            let shadow = fields.or("shadow", false, Value::flag);
            let fit = lease_fit(limit, overrides.as_ref(), cost.as_ref());
            let lease = fields.or("lease", Some(None), |value| {
                lease::read(value, fit.as_ref()).map(Some)
            });
            let response = fields.or("response", Response::default(), Response::read);
            let limit = limit?;
            Some(Self {
                name: name?.to_owned(),
                matcher: matcher?,
                key: key?,
                missing_key: missing_key?,
                limit,
                overrides: overrides?,
                cost: cost?,
                on_failure: fallback?.of(&limit),
                lease: lease?,
                shadow: shadow?,
                response: response?,
            })
        })
    }
}

fn lease_fit(
    limit: Option<Limit>,
    overrides: Option<&Overrides>,
    cost: Option<&Cost>,
) -> Option<lease::Fit> {
    Some(lease::Fit {
        limits: overrides?.limits().chain([limit?]).collect(),
        cost: cost?.max(),
    })
}

pub(super) fn read_all(value: &Value<'_>) -> Option<Vec<Rule>> {
    let mut names = Vec::new();
    let rules = value.list((0, RULES_MAX), |rule| Rule::read(rule, &mut names))?;
    let patterns: usize = rules.iter().map(|rule| rule.matcher.patterns()).sum();
    if patterns > PATTERNS_MAX {
        return value.refuse(format_args!(
            "expected at most {PATTERNS_MAX} regular expressions in all, found {patterns}"
        ));
    }
    Some(rules)
}

fn unique_name<'d>(value: &Value<'d>, names: &mut Vec<&'d str>) -> Option<&'d str> {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    let what = "lower-case letters, digits, \"_\" or \"-\"";
    let name = value.text(what, RULE_NAME_BYTES_MAX, allowed)?;
    if names.contains(&name) {
        return value.expected("a name that no other rule has");
    }
    names.push(name);
    Some(name)
}

fn missing_key(value: &Value<'_>) -> Option<MissingKey> {
    let choices = [
        ("share", MissingKey::Share),
        ("skip", MissingKey::Skip),
        ("deny", MissingKey::Deny),
    ];
    value.choice(&choices)
}
