//! `rules`: the limits, each with the requests it counts and what happens to the surplus.

use super::document::Node;
use super::scalar::Ratio;
use super::value::{Fields, Value};
use super::{Lease, TOKENS_MAX, key, lease, limit, matcher};
use crate::limit::{Limit, TokenBucket};
use crate::matching::{KeyRecipe, Keyed, Matcher, Request};

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
    /// Tokens a request takes; at most the limit's capacity. 0 reads without charging.
    pub cost: u64,
    /// What happens when Redis does not answer.
    pub on_failure: OnFailure,
    /// What a worker may take ahead of its requests; without it every decision is Redis's.
    pub lease: Option<Lease>,
    /// Decide, count and export, but never refuse.
    pub shadow: bool,
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

/// What a rule decides when the count is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Let the request pass (fail open).
    Allow,
    /// Refuse it with 503 (fail closed).
    Deny,
    /// Ask a bucket of this worker: the rule's `requests` and capacity times `local.share`, each
    /// rounded down but at least 1, over the same window. At least the rule's cost fits in it.
    Local(TokenBucket),
}

/// The value of `on_failure`, before the local bucket is known.
#[derive(Clone, Copy)]
enum Policy {
    Allow,
    Deny,
    Local,
}

impl Rule {
    /// The cost when the document names none.
    pub const COST: u64 = 1;
    /// The share of a local bucket when the document names none.
    pub const LOCAL_SHARE: Ratio = Ratio(500_000);

    pub(super) fn keyed(&self, request: &Request<'_>) -> Keyed {
        let key = self.key.key(request);
        match self.missing_key {
            MissingKey::Skip if key.missing => Keyed::Skip,
            MissingKey::Deny if key.missing => Keyed::Deny,
            _ => Keyed::By(key),
        }
    }

    fn read<'d>(value: &Value<'d>, names: &mut Vec<&'d str>) -> Option<Self> {
        value.object(|fields| {
            let name = fields.required("name", |value| unique_name(value, names));
            let matcher = fields.or("match", Matcher::default(), matcher::read);
            let key = fields.or("key", KeyRecipe::default(), key::read);
            let missing_key = fields.or("missing_key", MissingKey::Share, missing_key);
            let limit = fields.required("limit", limit::read);
            let cost = fields.or("cost", Self::COST, |value| cost(value, limit.as_ref()));
            let on_failure = on_failure(fields, limit.as_ref(), cost);
            let shadow = fields.or("shadow", false, Value::flag);
            let lease = fields.or("lease", Some(None), |value| {
                lease::read(value, limit, cost).map(Some)
            });
            fields.not_yet(&["overrides", "response"]);
            Some(Self {
                name: name?.to_owned(),
                matcher: matcher?,
                key: key?,
                missing_key: missing_key?,
                limit: limit?,
                cost: cost?,
                on_failure: on_failure?,
                lease: lease?,
                shadow: shadow?,
            })
        })
    }
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
    value.choice(&choices, &[])
}

/// A request that costs more than the bucket holds could never pass.
fn cost(value: &Value<'_>, limit: Option<&Limit>) -> Option<u64> {
    if matches!(value.node(), Node::Object(_)) {
        return value.refuse("a cost taken from a header is not supported yet");
    }
    let cost = value.whole(0..=TOKENS_MAX)?;
    match limit {
        Some(limit) if cost > limit.capacity() => value.expected(format_args!(
            "at most what the limit admits at once, {}",
            limit.capacity()
        )),
        _ => Some(cost),
    }
}

fn on_failure(
    fields: &mut Fields<'_, '_>,
    limit: Option<&Limit>,
    cost: Option<u64>,
) -> Option<OnFailure> {
    let policies = [
        ("allow", Policy::Allow),
        ("deny", Policy::Deny),
        ("local", Policy::Local),
    ];
    let policy = fields.or("on_failure", Policy::Allow, |value| {
        value.choice(&policies, &[])
    });
    let bucket = fields.or_read_empty("local", |value| {
        let share = value.object(|fields| fields.or("share", Rule::LOCAL_SHARE, Value::share))?;
        let bucket = limit::local(limit?, share);
        let too_small = cost.is_some_and(|cost| cost > bucket.burst);
        if too_small && matches!(policy, Some(Policy::Local)) {
            return value.refuse(format_args!(
                "this share makes a bucket of {}, which could never admit the rule's cost",
                bucket.burst
            ));
        }
        Some(bucket)
    });
    match (policy?, bucket?) {
        (Policy::Allow, _) => Some(OnFailure::Allow),
        (Policy::Deny, _) => Some(OnFailure::Deny),
        (Policy::Local, bucket) => Some(OnFailure::Local(bucket)),
    }
}
