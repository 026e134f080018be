//! `lease`: tokens that a worker may take from Redis ahead of the requests that will use them.

use super::limit::PER_MAX;
use super::value::Value;
use crate::limit::Limit;
use crate::units::Micros;

/// The most tokens that a worker may hold of one key.
pub const LEASE_TOKENS_MAX: u64 = 100_000;
/// The shortest life of a lease: leases end at ticks, which come every 5 ms.
pub const LEASE_TTL_MIN: Micros = Micros::from_millis(10);
/// The longest life of a lease. What a worker holds when it dies stays counted.
pub const LEASE_TTL_MAX: Micros = Micros::from_secs(60);

/// What a worker may hold of each key of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Tokens, 1 to [`LEASE_TOKENS_MAX`].
    pub max: u64,
    /// How long it holds them; whole milliseconds, [`LEASE_TTL_MIN`] to [`LEASE_TTL_MAX`].
    pub ttl: Micros,
}

/// What the lease of a rule has to fit.
pub(super) struct Fit {
    /// The limits of the rule's keys.
    pub(super) limits: Vec<Limit>,
    /// The most that a request costs.
    pub(super) cost: u64,
}

/// Reads a lease. `fit` is `None` where the rule has a problem, which is noted already.
pub(super) fn read(value: &Value<'_>, fit: Option<&Fit>) -> Option<Lease> {
    value.object(|fields| {
        let max = fields.required("max", |value| value.whole(1..=LEASE_TOKENS_MAX));
        let ttl = fields.required("ttl", |value| {
            let ttl = value.whole_millis(LEASE_TTL_MIN..=LEASE_TTL_MAX)?;
            let Fit { limits, cost } = fit?;
            let mut limits = limits.iter();
            let fit = limits.all(|limit| fits(value, limit, *cost, ttl));
            fit.then_some(ttl)
        });
        Some(Lease {
            max: max?,
            ttl: ttl?,
        })
    })
}

/// Whether what Redis counts for the leased rule leaves room for a request.
fn fits(value: &Value<'_>, limit: &Limit, cost: u64, ttl: Micros) -> bool {
    let problem = match limit.leased(ttl) {
        None => {
            "a lease this long leaves less than one token in the bucket (burst - requests x ttl / per)"
        }
        Some(leased) if leased.capacity() < cost => {
            "a lease this long leaves less in the bucket (burst - requests x ttl / per) than the rule's cost"
        }
        Some(leased) if leased.per() > PER_MAX => "together with \"per\" this is over 366 days",
        Some(_) => return true,
    };
    value.refuse::<()>(problem);
    false
}
