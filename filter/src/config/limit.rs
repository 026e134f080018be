//! `limit`: how much a rule allows.

use super::scalar::Ratio;
use super::value::Value;
use crate::limit::{Limit, TokenBucket};
use crate::units::Micros;

/// The largest number of tokens that a limit or a cost can name.
pub const TOKENS_MAX: u64 = 1_000_000_000;
/// The shortest window.
pub const PER_MIN: Micros = Micros::from_millis(1);
/// The longest window: 366 days.
pub const PER_MAX: Micros = Micros::from_secs(366 * 86_400);
/// The longest time in which an empty bucket may fill: 100 years of 365.25 days. Redis computes in
/// doubles, which hold whole microseconds exactly up to 2^53: that is today and 228 years more.
pub const BUCKET_FILL_MAX: Micros = Micros::from_secs(36_525 * 86_400);

/// Algorithms of the contract that are still to come.
const NOT_YET: [&str; 3] = ["sliding_window", "sliding_log", "fixed_window"];

pub(super) fn read(value: &Value<'_>) -> Option<Limit> {
    value.object(|fields| {
        let algorithm = fields.or("algorithm", (), |value| {
            value.choice(&[("token_bucket", ())], &NOT_YET)
        });
        let requests = fields.required("requests", tokens);
        let per = fields.required("per", |value| value.whole_millis(PER_MIN..=PER_MAX));
        let burst = fields.or("burst", requests, tokens);
        algorithm?;
        let bucket = TokenBucket {
            requests: requests?,
            per: per?,
            burst: burst?,
        };
        if fill_micros(&bucket) > u128::from(BUCKET_FILL_MAX.0) {
            return value
                .refuse("filling the bucket (burst x per / requests) would take over 100 years");
        }
        Some(Limit::TokenBucket(bucket))
    })
}

fn tokens(value: &Value<'_>) -> Option<u64> {
    value.whole(1..=TOKENS_MAX)
}

/// Microseconds from empty to full, rounded up. At most 10^9 × 366 days, which needs 85 bits.
fn fill_micros(bucket: &TokenBucket) -> u128 {
    let product = u128::from(bucket.burst).saturating_mul(bucket.per.0.into());
    product.div_ceil(u128::from(bucket.requests).max(1))
}

/// The bucket of one worker that stands in while Redis is away: `share` of the limit's requests
/// and capacity, both rounded down but at least 1, over the same window.
pub(super) fn local(limit: &Limit, share: Ratio) -> TokenBucket {
    TokenBucket {
        requests: share.of(limit.requests()).max(1),
        per: limit.per(),
        burst: share.of(limit.capacity()).max(1),
    }
}
