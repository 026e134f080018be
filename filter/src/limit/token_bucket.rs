//! Token bucket by the generic cell rate algorithm (GCRA, ITU-T Recommendation I.371, annex A):
//! the twin of `lua/token_bucket.lua`.
//!
//! A bucket is its theoretical arrival time: the instant at which it will be full again. One token
//! is worth `per / requests` microseconds, seldom a whole number, so all arithmetic is exact in
//! *ticks* of `1 / requests` microseconds: a token is `per` ticks, a microsecond `requests` ticks.
//! 128 bits hold every tick count: 10^9 requests x 2^64 microseconds is below 2^94.

use super::reply::{Charge, Standing};
use crate::units::Micros;

/// A bucket that holds `burst` tokens and gains `requests` of them every `per`.
///
/// In any interval of length `t` it admits at most `burst + requests x t / per` tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// Tokens gained in each `per`, 1 to 10^9.
    pub requests: u64,
    /// The window, a whole number of milliseconds, 1 ms to 366 days.
    pub per: Micros,
    /// Tokens the bucket holds when full, 1 to 10^9.
    pub burst: u64,
}

/// Theoretical arrival time: `us + fraction / requests` microseconds on the clock that is used with
/// it. The default lies in the past of every clock: a full bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tat {
    us: u64,
    fraction: u64,
    requests: u64,
    /// Microseconds that it can at most lie ahead: what an empty bucket needs to fill.
    full: u64,
}

/// What is taken of one bucket at one instant, in ticks. It can be more than the whole when the
/// limit was lowered: the surplus has to be paid off first.
struct Level {
    bucket: TokenBucket,
    taken: u128,
    /// How far ahead of now the time that is kept may lie, in microseconds.
    ceiling: u64,
    /// The time lay further ahead than it was ever written: the clock was set back. The cut is
    /// kept even when nothing is charged, or every later call would cut anew and never refill.
    cut: bool,
}

impl Level {
    fn at(now_us: u64, bucket: TokenBucket, tat: Tat) -> Self {
        let requests = u128::from(bucket.requests);
        let (us, fraction) = tat.counted_in(bucket.requests);
        let cut = us.saturating_sub(now_us) > tat.full;
        let taken = if cut {
            u128::from(tat.full).saturating_mul(requests)
        } else {
            let until = u128::from(us)
                .saturating_mul(requests)
                .saturating_add(fraction.into());
            until.saturating_sub(u128::from(now_us).saturating_mul(requests))
        };
        let mut level = Self {
            bucket,
            taken,
            ceiling: 0,
            cut,
        };
        level.ceiling = level.full_us().max(tat.full);
        level
    }

    /// Takes tokens that there is room for.
    fn charge(&mut self, tokens: u64) {
        self.taken = self.taken.saturating_add(self.ticks(tokens));
        self.ceiling = self.full_us();
    }

    fn full_us(&self) -> u64 {
        self.micros_rounded_up(self.ticks(self.bucket.burst)).0
    }

    fn ticks(&self, tokens: u64) -> u128 {
        u128::from(tokens).saturating_mul(self.bucket.per.0.into())
    }

    fn room(&self) -> u128 {
        self.ticks(self.bucket.burst).saturating_sub(self.taken)
    }

    /// Lots of `cost` tokens that fit into the room; all of them when nothing is charged.
    fn lots(&self, cost: u64, most: u64) -> u64 {
        let fit = self
            .room()
            .checked_div(self.ticks(cost))
            .unwrap_or_else(|| most.into());
        most.min(u64::try_from(fit).unwrap_or(most))
    }

    fn micros_rounded_up(&self, ticks: u128) -> Micros {
        let us = ticks.checked_add(self.bucket.requests.saturating_sub(1).into());
        let us = us.and_then(|ticks| ticks.checked_div(self.bucket.requests.into()));
        Micros(us.and_then(|us| u64::try_from(us).ok()).unwrap_or(u64::MAX))
    }

    fn standing(&self, cost: u64) -> Standing {
        Standing {
            remaining: self.lots(1, self.bucket.burst),
            retry: self.micros_rounded_up(
                self.ticks(cost)
                    .saturating_add(self.taken)
                    .saturating_sub(self.ticks(self.bucket.burst)),
            ),
            reset: self.micros_rounded_up(self.taken),
        }
    }

    fn tat(&self, now_us: u64) -> Tat {
        let requests = u128::from(self.bucket.requests);
        let us = self.taken.checked_div(requests);
        let fraction = self.taken.checked_rem(requests);
        let whole = |n: Option<u128>| n.and_then(|n| u64::try_from(n).ok());
        Tat {
            us: now_us.saturating_add(whole(us).unwrap_or(u64::MAX)),
            fraction: whole(fraction).unwrap_or(0),
            requests: self.bucket.requests,
            full: self.ceiling,
        }
    }
}

/// Admits as many of `count` equal requests as every bucket has room for, and charges each of
/// those to every bucket: the whole of the script, for buckets that are held here.
///
/// `buckets` are the buckets, their state, and what one request costs of each (0: a look without
/// a charge). `now_us` is in microseconds on the clock of the states.
pub fn charge_all(buckets: &mut [(TokenBucket, &mut Tat, u64)], count: u64, now_us: u64) -> Charge {
    let mut levels: Vec<Level> = buckets
        .iter()
        .map(|(bucket, tat, _)| Level::at(now_us, *bucket, **tat))
        .collect();
    let admitted = levels
        .iter()
        .zip(buckets.iter())
        .fold(count, |admitted, (level, (_, _, cost))| {
            level.lots(*cost, admitted)
        });
    let mut rules = Vec::with_capacity(levels.len());
    for (level, (_, tat, cost)) in levels.iter_mut().zip(buckets.iter_mut()) {
        let tokens = admitted.saturating_mul(*cost);
        if tokens > 0 {
            level.charge(tokens);
        }
        if tokens > 0 || level.cut {
            **tat = level.tat(now_us);
        }
        rules.push(level.standing(*cost));
    }
    Charge { admitted, rules }
}

impl Tat {
    /// How the script stores it.
    pub fn stored(self) -> String {
        let Self {
            us,
            fraction,
            requests,
            full,
        } = self;
        format!("{us}:{fraction}:{requests}:{full}")
    }

    /// Microseconds and the fraction in 1 / `requests`, rounded up where it was counted in other
    /// fractions.
    const fn counted_in(self, requests: u64) -> (u64, u64) {
        if self.fraction == 0 || self.requests == requests {
            (self.us, self.fraction)
        } else {
            (self.us.saturating_add(1), 0)
        }
    }

    /// True once the bucket is full again, when there is nothing left to remember.
    pub const fn is_past(self, now_us: u64) -> bool {
        self.us < now_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PER_MINUTE: TokenBucket = TokenBucket {
        requests: 100,
        per: Micros::from_secs(60),
        burst: 7,
    };

    fn charge(bucket: TokenBucket, tat: &mut Tat, count: u64, cost: u64, now: u64) -> Charge {
        charge_all(&mut [(bucket, tat, cost)], count, now)
    }

    #[test]
    fn a_full_bucket_admits_its_burst_and_names_the_instant_of_the_next_token() {
        let mut tat = Tat::default();
        let reply = charge(PER_MINUTE, &mut tat, 9, 1, 1_000_000);
        assert_eq!(reply.admitted, 7);
        let [standing] = reply.rules.as_slice() else {
            panic!("one rule")
        };
        assert_eq!(standing.remaining, 0);
        assert_eq!(standing.retry, Micros(600_000));
        assert_eq!(standing.reset, Micros(4_200_000));
        let early = charge(PER_MINUTE, &mut tat, 1, 1, 1_599_999);
        assert_eq!(early.admitted, 0);
        let honest = charge(PER_MINUTE, &mut tat, 1, 1, 1_600_000);
        assert_eq!(honest.admitted, 1);
    }

    #[test]
    fn a_request_that_one_bucket_refuses_charges_none() {
        let narrow = TokenBucket {
            burst: 1,
            ..PER_MINUTE
        };
        let (mut wide_tat, mut narrow_tat) = (Tat::default(), Tat::default());
        for expected in [1, 0] {
            let mut both = [(PER_MINUTE, &mut wide_tat, 1), (narrow, &mut narrow_tat, 1)];
            assert_eq!(charge_all(&mut both, 1, 1_000).admitted, expected);
        }
        let look = charge(PER_MINUTE, &mut wide_tat, 1, 0, 1_000);
        assert_eq!(
            look.rules.first().map(|standing| standing.remaining),
            Some(6)
        );
    }

    #[test]
    fn a_clock_that_was_set_back_refuses_no_longer_than_an_empty_bucket() {
        let mut tat = Tat::default();
        charge(PER_MINUTE, &mut tat, 7, 1, 3_600_000_000);
        let reply = charge(PER_MINUTE, &mut tat, 1, 1, 0);
        assert_eq!(
            reply.rules.first().map(|standing| standing.retry),
            Some(Micros(600_000))
        );
        assert_eq!(charge(PER_MINUTE, &mut tat, 1, 1, 600_000).admitted, 1);
    }

    #[test]
    fn a_limit_that_was_lowered_waits_until_the_surplus_is_paid_off_and_says_so() {
        let wide = TokenBucket {
            burst: 1_000,
            ..PER_MINUTE
        };
        let mut tat = Tat::default();
        charge(wide, &mut tat, 1_000, 1, 1_000);
        let refused = charge(PER_MINUTE, &mut tat, 1, 1, 1_000);
        let wait = refused.rules[0].retry.0;
        assert_eq!((refused.admitted, wait), (0, 994 * 600_000));
        assert_eq!(charge(PER_MINUTE, &mut tat, 1, 1, 999 + wait).admitted, 0);
        assert_eq!(charge(PER_MINUTE, &mut tat, 1, 1, 1_000 + wait).admitted, 1);
    }

    /// While a lowered limit is rolled out, both are asked for one bucket. Saving what the narrow
    /// one made of the wide one's time once gave the wide one its tokens back, again and again.
    #[test]
    fn i1_two_limits_that_meet_in_one_bucket_admit_no_more_than_the_wider() {
        let wide = TokenBucket {
            requests: 1_000,
            per: Micros::from_secs(3_600),
            burst: 1_000,
        };
        let narrow = TokenBucket {
            requests: 100,
            burst: 10,
            ..wide
        };
        let (mut tat, mut admitted) = (Tat::default(), 0);
        for second in 0..60 {
            let now = 1_000_000_000 + second * 1_000_000;
            admitted += charge(wide, &mut tat, 1_000, 1, now).admitted;
            admitted += charge(narrow, &mut tat, 1, 1, now).admitted;
        }
        assert!(admitted <= 1_000 + 1_000 / 60 + 1, "{admitted}");
    }

    #[test]
    fn a_fraction_of_another_rate_is_rounded_up() {
        let thirds = TokenBucket {
            requests: 3_000_000,
            per: Micros::from_secs(1),
            burst: 1,
        };
        let mut tat = Tat::default();
        charge(thirds, &mut tat, 1, 1, 1_000);
        assert_eq!(tat.stored(), "1000:1000000:3000000:1");
        let whole = TokenBucket {
            requests: 1_000_000,
            per: Micros::from_secs(1),
            burst: 1,
        };
        assert_eq!(charge(whole, &mut tat, 1, 1, 1_000).admitted, 0);
        assert_eq!(charge(whole, &mut tat, 1, 1, 1_001).admitted, 1);
    }

    proptest! {
        /// Invariant I1 for one bucket: no interval admits more than burst + rate x length.
        #[test]
        fn i1_no_interval_admits_more_than_the_limit(
            requests in 1u64..1_000, per_ms in 1u64..100_000, burst in 1u64..50,
            steps in prop::collection::vec((0u64..200_000, 1u64..5, 1u64..4), 1..60),
        ) {
            let bucket = TokenBucket { requests, per: Micros::from_millis(per_ms), burst };
            let (mut tat, mut now) = (Tat::default(), 1_000_000);
            let mut admissions: Vec<(u64, u64)> = Vec::new();
            for (wait, count, cost) in steps {
                now += wait;
                let cost = cost.min(burst);
                let reply = charge(bucket, &mut tat, count, cost, now);
                admissions.push((now, reply.admitted * cost));
                for (i, (start, _)) in admissions.iter().enumerate() {
                    let tokens: u64 = admissions[i..].iter().map(|(_, tokens)| tokens).sum();
                    let allowed = u128::from(burst) * u128::from(bucket.per.0)
                        + u128::from(requests) * u128::from(now - start);
                    prop_assert!(u128::from(tokens) * u128::from(bucket.per.0) <= allowed);
                }
            }
        }

        /// Invariant I6: what the reply says is in range, and the wait it names is exact.
        #[test]
        fn i6_remaining_is_in_range_and_the_named_wait_is_honest(
            requests in 1u64..1_000_000_000, per_ms in 1u64..1_000_000, burst in 1u64..1_000,
            count in 1u64..2_000, now in 0u64..2_000_000_000_000_000,
        ) {
            let bucket = TokenBucket { requests, per: Micros::from_millis(per_ms), burst };
            let mut tat = Tat::default();
            let reply = charge(bucket, &mut tat, count, 1, now);
            prop_assert_eq!(reply.admitted, count.min(burst));
            let standing = reply.rules[0];
            prop_assert!(standing.remaining <= burst);
            let at_the_instant = charge(bucket, &mut tat.clone(), 1, 1, now + standing.retry.0);
            prop_assert_eq!(at_the_instant.admitted, 1);
            if standing.retry > Micros(0) {
                let just_before = charge(bucket, &mut tat, 1, 1, now + standing.retry.0 - 1);
                prop_assert_eq!(just_before.admitted, 0);
            }
        }
    }
}
