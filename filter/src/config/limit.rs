//! `limit`: how much a rule allows.

use super::scalar::Ratio;
use super::value::{Fields, Value};
use crate::limit::{Limit, TokenBucket, Window};
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

/// The most requests of a sliding log. Redis keeps 40 bytes for each instant at which it charged
/// something (seen on 7.0), so a key grows to 400 kB at most.
pub const LOG_REQUESTS_MAX: u64 = 10_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    TokenBucket,
    SlidingWindow,
    SlidingLog,
    FixedWindow,
}

const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("token_bucket", Algorithm::TokenBucket),
    ("sliding_window", Algorithm::SlidingWindow),
    ("sliding_log", Algorithm::SlidingLog),
    ("fixed_window", Algorithm::FixedWindow),
];

/// The fields that an override may set; of an algorithm there is one a rule.
pub(super) const OVERRIDABLE: [&str; 3] = ["requests", "per", "burst"];

pub(super) fn read(value: &Value<'_>) -> Option<Limit> {
    value.object(|fields| {
        let algorithm = fields.or("algorithm", Algorithm::TokenBucket, |value| {
            value.choice(&ALGORITHMS)
        });
        let requests = fields.required("requests", |value| requests(value, algorithm));
        let per = fields.required("per", per);
        let burst = fields.or("burst", requests, |value| burst(value, algorithm));
        limit(value, algorithm?, (requests?, per?), burst?)
    })
}

/// The limit of an override: what it does not name is `base`'s. `None` is a base with a problem.
pub(super) fn over(
    value: &Value<'_>,
    fields: &mut Fields<'_, '_>,
    base: Option<&Limit>,
) -> Option<Limit> {
    let algorithm = base.map(algorithm);
    let requests = fields.or("requests", base.map(Limit::requests), |value| {
        requests(value, algorithm)
    });
    let per = fields.or("per", base.map(Limit::per), per);
    // A burst that was left out of the rule follows the override's requests, too.
    let own = base.map(Limit::capacity);
    let follows = own == base.map(Limit::requests);
    let burst = fields.or("burst", if follows { requests } else { own }, |value| {
        burst(value, algorithm)
    });
    limit(value, algorithm?, (requests?, per?), burst?)
}

const fn algorithm(limit: &Limit) -> Algorithm {
    match limit {
        Limit::TokenBucket(_) => Algorithm::TokenBucket,
        Limit::SlidingWindow(_) => Algorithm::SlidingWindow,
        Limit::SlidingLog(_) => Algorithm::SlidingLog,
        Limit::FixedWindow(_) => Algorithm::FixedWindow,
    }
}

fn limit(
    value: &Value<'_>,
    algorithm: Algorithm,
    (requests, per): (u64, Micros),
    burst: u64,
) -> Option<Limit> {
    let window = Window { requests, per };
    match algorithm {
        Algorithm::TokenBucket => token_bucket(value, window, burst),
        Algorithm::SlidingWindow => Some(Limit::SlidingWindow(window)),
        Algorithm::SlidingLog => Some(Limit::SlidingLog(window)),
        Algorithm::FixedWindow => Some(Limit::FixedWindow(window)),
    }
}

fn per(value: &Value<'_>) -> Option<Micros> {
    value.whole_millis(PER_MIN..=PER_MAX)
}

fn requests(value: &Value<'_>, algorithm: Option<Algorithm>) -> Option<u64> {
    let requests = tokens(value)?;
    if algorithm == Some(Algorithm::SlidingLog) && requests > LOG_REQUESTS_MAX {
        return value.expected(format_args!(
            "at most {LOG_REQUESTS_MAX} for a \"sliding_log\", which remembers each of them (a \"sliding_window\" does not)"
        ));
    }
    Some(requests)
}

fn burst(value: &Value<'_>, algorithm: Option<Algorithm>) -> Option<u64> {
    match algorithm {
        Some(Algorithm::TokenBucket) | None => tokens(value),
        Some(_) => value.refuse("only a \"token_bucket\" has a burst apart from its requests"),
    }
}

fn token_bucket(value: &Value<'_>, window: Window, burst: u64) -> Option<Limit> {
    let Window { requests, per } = window;
    let bucket = TokenBucket {
        requests,
        per,
        burst,
    };
    if fill_micros(&bucket) > u128::from(BUCKET_FILL_MAX.0) {
        return value
            .refuse("filling the bucket (burst x per / requests) would take over 100 years");
    }
    Some(Limit::TokenBucket(bucket))
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
