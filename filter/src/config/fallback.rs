//! `on_failure` and `local`: what a rule decides when the count is unknown.

use super::scalar::Ratio;
use super::value::{Fields, Value};
use super::{Cost, limit};
use crate::limit::{Limit, TokenBucket};

/// What a rule decides when the count is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Let the request pass (fail open).
    Allow,
    /// Refuse it with 503 (fail closed).
    Deny,
    /// Ask a bucket of this worker: the limit's `requests` and capacity times `local.share`, each
    /// rounded down but at least 1, over the same window. The rule's dearest request fits in it.
    Local(TokenBucket),
}

/// `on_failure` and `local`, before the limit is known that they are applied to.
#[derive(Clone, Copy)]
pub(super) struct Fallback {
    policy: Policy,
    share: Ratio,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    Allow,
    Deny,
    Local,
}

/// The share of a local bucket when the document names none.
const LOCAL_SHARE: Ratio = Ratio(500_000);

impl Fallback {
    /// Reads both fields of a rule, whose limit and cost must fit.
    pub(super) fn read(
        fields: &mut Fields<'_, '_>,
        limit: Option<&Limit>,
        cost: Option<&Cost>,
    ) -> Option<Self> {
        let policies = [
            ("allow", Policy::Allow),
            ("deny", Policy::Deny),
            ("local", Policy::Local),
        ];
        let policy = fields.or("on_failure", Policy::Allow, |value| value.choice(&policies));
        fields.or_read_empty("local", |value| {
            let share = value.object(|fields| fields.or("share", LOCAL_SHARE, Value::share))?;
            let policy = policy?;
            let fallback = Self { policy, share };
            if let (Some(limit), Some(cost)) = (limit, cost) {
                fallback.check(value, limit, cost)?;
            }
            Some(fallback)
        })
    }

    /// Notes that the bucket of a limit could never admit the rule's cost.
    pub(super) fn check(self, value: &Value<'_>, limit: &Limit, cost: &Cost) -> Option<()> {
        match self.of(limit) {
            OnFailure::Local(bucket) if cost.max() > bucket.burst => value.refuse(format_args!(
                "this share makes a bucket of {}, which could never admit the rule's cost",
                bucket.burst
            )),
            _ => Some(()),
        }
    }

    pub(super) fn of(self, limit: &Limit) -> OnFailure {
        match self.policy {
            Policy::Allow => OnFailure::Allow,
            Policy::Deny => OnFailure::Deny,
            Policy::Local => OnFailure::Local(limit::local(limit, self.share)),
        }
    }
}
