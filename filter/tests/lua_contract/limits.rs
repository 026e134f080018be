//! The limits that a configuration may state, the awkward ones first.

use proptest::prelude::*;
use velocitygate::limit::{Limit, TokenBucket, Window};
use velocitygate::units::Micros;

/// The longest fill that a configuration may ask for: 100 years of 365.25 days.
pub(crate) const LONGEST_FILL_US: u128 = 36_525 * 86_400 * 1_000_000;
pub(crate) const LARGEST: u64 = 1_000_000_000;
pub(crate) const LONGEST_PER_MS: u64 = 366 * 86_400 * 1_000;
/// November 2023; nothing hangs on the value.
pub(crate) const START_US: u64 = 1_700_000_000_123_457;
/// With the longest fill on top this is 2 x 10^14 us short of 2^53, in the year 2149.
pub(crate) const LATEST_US: u64 = 5_650_000_000_000_000;

/// As likely to have one digit as any other number of them.
pub(crate) fn any_size(largest: u64) -> impl Strategy<Value = u64> {
    (0.0..(largest as f64).ln()).prop_map(move |ln| (ln.exp() as u64).clamp(1, largest))
}

fn awkward() -> impl Strategy<Value = u64> {
    let primes = [
        2,
        3,
        7,
        7_919,
        32_749,
        32_771,
        999_983,
        67_108_859,
        999_999_929,
        999_999_937,
    ];
    prop_oneof![
        any_size(LARGEST),
        prop::sample::select(primes.to_vec()),
        Just(LARGEST)
    ]
}

fn per() -> impl Strategy<Value = Micros> {
    let per_ms = prop_oneof![4 => any_size(LONGEST_PER_MS), 1 => Just(LONGEST_PER_MS)];
    per_ms.prop_map(Micros::from_millis)
}

fn token_bucket() -> impl Strategy<Value = Limit> {
    (awkward(), per(), awkward()).prop_map(|(requests, per, burst)| {
        Limit::TokenBucket(TokenBucket {
            requests,
            per,
            burst: burst.min(largest_burst(requests, per)),
        })
    })
}

fn windowed(
    requests: impl Strategy<Value = u64>,
    limit: fn(Window) -> Limit,
) -> impl Strategy<Value = Limit> {
    (requests, per()).prop_map(move |(requests, per)| limit(Window { requests, per }))
}

/// Two limits of one algorithm, of which the second may differ in the requests alone, or a bucket in
/// its burst.
pub(crate) fn two_limits() -> impl Strategy<Value = [Limit; 2]> {
    let two = prop_oneof![
        prop::array::uniform2(token_bucket()),
        prop::array::uniform2(windowed(awkward(), Limit::FixedWindow)),
        prop::array::uniform2(windowed(awkward(), Limit::SlidingWindow)),
        prop::array::uniform2(windowed(any_size(10_000), Limit::SlidingLog)),
    ];
    (two, any::<bool>()).prop_map(|([first, mut second], same_per)| {
        if let (Limit::FixedWindow(it) | Limit::SlidingWindow(it) | Limit::SlidingLog(it), true) =
            (&mut second, same_per)
        {
            it.per = first.per();
        }
        if let (Limit::TokenBucket(it), Limit::TokenBucket(first), true) =
            (&mut second, first, same_per)
        {
            let burst = it.burst.min(largest_burst(first.requests, first.per));
            *it = TokenBucket { burst, ..first };
        }
        [first, second]
    })
}

/// Tokens of the largest bucket that fills within [`LONGEST_FILL_US`].
pub(crate) fn largest_burst(requests: u64, per: Micros) -> u64 {
    let burst = LONGEST_FILL_US * u128::from(requests) / u128::from(per.0);
    u64::try_from(burst).unwrap_or(LARGEST).min(LARGEST)
}
