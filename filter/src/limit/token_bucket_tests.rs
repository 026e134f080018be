//! One token bucket.

use super::*;
use crate::limit::{Charge, Limit, charge_all};
use crate::units::RedisTime;
use proptest::prelude::*;

const PER_MINUTE: TokenBucket = TokenBucket {
    requests: 100,
    per: Micros::from_secs(60),
    burst: 7,
};

fn charge(bucket: TokenBucket, state: &mut State, count: u64, cost: u64, now: u64) -> Charge {
    let mut rule = [(Limit::TokenBucket(bucket), state, cost)];
    charge_all(&mut rule, count, RedisTime(now))
}

#[test]
fn a_full_bucket_admits_its_burst_and_names_the_instant_of_the_next_token() {
    let mut state = State::default();
    let reply = charge(PER_MINUTE, &mut state, 9, 1, 1_000_000);
    assert_eq!(reply.admitted, 7);
    let [standing] = reply.rules.as_slice() else {
        panic!("one rule")
    };
    assert_eq!(standing.remaining, 0);
    assert_eq!(standing.retry, Micros(600_000));
    assert_eq!(standing.reset, Micros(4_200_000));
    let early = charge(PER_MINUTE, &mut state, 1, 1, 1_599_999);
    assert_eq!(early.admitted, 0);
    let honest = charge(PER_MINUTE, &mut state, 1, 1, 1_600_000);
    assert_eq!(honest.admitted, 1);
}

#[test]
fn a_request_that_one_bucket_refuses_charges_none() {
    let narrow = TokenBucket {
        burst: 1,
        ..PER_MINUTE
    };
    let (mut wide_state, mut narrow_state) = (State::default(), State::default());
    for expected in [1, 0] {
        let mut both = [
            (Limit::TokenBucket(PER_MINUTE), &mut wide_state, 1),
            (Limit::TokenBucket(narrow), &mut narrow_state, 1),
        ];
        let charge = charge_all(&mut both, 1, RedisTime(1_000));
        assert_eq!(charge.admitted, expected);
    }
    let look = charge(PER_MINUTE, &mut wide_state, 1, 0, 1_000);
    assert_eq!(
        look.rules.first().map(|standing| standing.remaining),
        Some(6)
    );
}

#[test]
fn a_clock_that_was_set_back_refuses_no_longer_than_an_empty_bucket() {
    let mut state = State::default();
    charge(PER_MINUTE, &mut state, 7, 1, 3_600_000_000);
    let reply = charge(PER_MINUTE, &mut state, 1, 1, 0);
    assert_eq!(
        reply.rules.first().map(|standing| standing.retry),
        Some(Micros(600_000))
    );
    assert_eq!(charge(PER_MINUTE, &mut state, 1, 1, 600_000).admitted, 1);
}

#[test]
fn a_limit_that_was_lowered_waits_until_the_surplus_is_paid_off_and_says_so() {
    let wide = TokenBucket {
        burst: 1_000,
        ..PER_MINUTE
    };
    let mut state = State::default();
    charge(wide, &mut state, 1_000, 1, 1_000);
    let refused = charge(PER_MINUTE, &mut state, 1, 1, 1_000);
    let wait = refused.rules[0].retry.0;
    assert_eq!((refused.admitted, wait), (0, 994 * 600_000));
    assert_eq!(charge(PER_MINUTE, &mut state, 1, 1, 999 + wait).admitted, 0);
    assert_eq!(
        charge(PER_MINUTE, &mut state, 1, 1, 1_000 + wait).admitted,
        1
    );
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
    let (mut state, mut admitted) = (State::default(), 0);
    for second in 0..60 {
        let now = 1_000_000_000 + second * 1_000_000;
        admitted += charge(wide, &mut state, 1_000, 1, now).admitted;
        admitted += charge(narrow, &mut state, 1, 1, now).admitted;
    }
    assert!(admitted <= 1_000 + 1_000 / 60 + 1, "{admitted}");
}

/// A rate that was lowered once gave a spent bucket nearly all its tokens anew.
#[test]
fn i1_tokens_that_are_taken_stay_taken_when_the_rate_changes() {
    let fast = TokenBucket {
        requests: 600,
        burst: 100,
        ..PER_MINUTE
    };
    let slow = TokenBucket {
        requests: 60,
        ..fast
    };
    for (before, after, wait) in [(fast, slow, 100_000), (slow, fast, 1_000_000)] {
        let mut state = State::default();
        charge(before, &mut state, 99, 1, 1_000);
        let charged = charge(after, &mut state, 9, 1, 1_000);
        assert_eq!(charged.admitted, 1);
        // From the next charge on they come back at the new rate.
        let rounding = charged.rules[0].retry - after.refill_time(1);
        assert_eq!(rounding, Micros(1));
        let mut state = State::default();
        charge(before, &mut state, 100, 1, 1_000);
        let refused = charge(after, &mut state, 1, 1, 1_000);
        assert_eq!((refused.admitted, refused.rules[0].retry.0), (0, wait));
        assert_eq!(charge(after, &mut state, 1, 1, 1_000 + wait).admitted, 1);
    }
}

#[test]
fn a_wider_burst_gives_its_room_at_once() {
    let wide = TokenBucket {
        burst: 10,
        requests: 1_000,
        ..PER_MINUTE
    };
    let mut state = State::default();
    charge(PER_MINUTE, &mut state, 7, 1, 1_000);
    assert_eq!(charge(wide, &mut state, 9, 1, 1_000).admitted, 3);
}

#[test]
fn a_fraction_of_another_rate_is_rounded_up() {
    let thirds = TokenBucket {
        requests: 3_000_000,
        per: Micros::from_secs(1),
        burst: 1,
    };
    let mut state = State::default();
    charge(thirds, &mut state, 1, 1, 1_000);
    assert_eq!(
        state.stored().as_deref(),
        Some("1000:1000000:3000000:1000000:1")
    );
    let whole = TokenBucket {
        requests: 1_000_000,
        per: Micros::from_secs(1),
        burst: 1,
    };
    assert_eq!(charge(whole, &mut state, 1, 1, 1_000).admitted, 0);
    assert_eq!(charge(whole, &mut state, 1, 1, 1_001).admitted, 1);
}

proptest! {
    /// Invariant I1 for one bucket: no interval admits more than burst + rate x length.
    #[test]
    fn i1_no_interval_admits_more_than_the_limit(
        requests in 1u64..1_000, per_ms in 1u64..100_000, burst in 1u64..50,
        steps in prop::collection::vec((0u64..200_000, 1u64..5, 1u64..4), 1..60),
    ) {
        let bucket = TokenBucket { requests, per: Micros::from_millis(per_ms), burst };
        let (mut state, mut now) = (State::default(), 1_000_000);
        let mut admissions: Vec<(u64, u64)> = Vec::new();
        for (wait, count, cost) in steps {
            now += wait;
            let cost = cost.min(burst);
            let reply = charge(bucket, &mut state, count, cost, now);
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
        let mut state = State::default();
        let reply = charge(bucket, &mut state, count, 1, now);
        prop_assert_eq!(reply.admitted, count.min(burst));
        let standing = reply.rules[0];
        prop_assert!(standing.remaining <= burst);
        let at_the_instant = charge(bucket, &mut state.clone(), 1, 1, now + standing.retry.0);
        prop_assert_eq!(at_the_instant.admitted, 1);
        if standing.retry > Micros(0) {
            let just_before = charge(bucket, &mut state, 1, 1, now + standing.retry.0 - 1);
            prop_assert_eq!(just_before.admitted, 0);
        }
    }
}
