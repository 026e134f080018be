//! What a refund gives back, and that it is never more than is safe.

use proptest::prelude::*;

use super::tests::{ALL, WINDOWS, admitted, charge};
use super::{Demand, Limit, Refund, State, TokenBucket, refund_all};
use crate::units::{Micros, RedisTime};

const START: u64 = 1_700_000_000_000_000;
const SECOND: Micros = Micros::from_secs(1);

fn refund(limit: Limit, state: &mut State, count: u64, times: [u64; 2]) -> u64 {
    let [taken_at, now] = times;
    let refund = Refund {
        demand: Demand {
            count,
            buckets: vec![(b"key", limit, 1)],
        },
        taken_at: RedisTime(taken_at),
    };
    refund_all(&refund, &mut [state], RedisTime(now))[0]
}

fn remaining(limit: Limit, state: &State, now: u64) -> u64 {
    charge(limit, &mut state.clone(), 1, 0, now).rules[0].remaining
}

#[test]
fn what_is_given_back_can_be_had_again() {
    for algorithm in ALL {
        let (limit, mut state) = (algorithm(10, 60_000), State::default());
        assert_eq!(admitted(limit, &mut state, 6, START), 6);
        assert_eq!(admitted(limit, &mut state, 4, START + 10), 4);
        let given = refund(limit, &mut state, 5, [START, START + 20]);
        assert_eq!((given, remaining(limit, &state, START + 20)), (5, 5));
    }
}

#[test]
fn a_charge_that_lies_ahead_gives_nothing_back() {
    for algorithm in ALL {
        let (limit, mut state) = (algorithm(10, 60_000), State::default());
        admitted(limit, &mut state, 6, START);
        let times = [START, START - 1];
        assert_eq!(refund(limit, &mut state, 6, times), 0);
    }
}

#[test]
fn a_bucket_keeps_what_it_gained_since_the_charge() {
    for (seconds, expected) in [(0, 6), (6, 5), (12, 4), (35, 1), (36, 0)] {
        let (limit, mut state) = (ALL[0](10, 60_000), State::default());
        assert_eq!(admitted(limit, &mut state, 6, START), 6);
        assert_eq!(admitted(limit, &mut state, 4, START), 4);
        let times = [START, START + seconds * SECOND.0];
        let given = refund(limit, &mut state, 6, times);
        assert_eq!(given, expected, "after {seconds} s");
    }
}

/// A refund once gave back all of a lease, and what the bucket had gained meanwhile was there a
/// second time: taken and returned in turns, the tokens out of Redis grew without end.
#[test]
fn i1_leases_that_are_returned_and_taken_again_never_pile_up() {
    let limit = Limit::TokenBucket(TokenBucket {
        requests: 100,
        per: SECOND,
        burst: 100,
    });
    let ttl = Micros::from_millis(100);
    let leased = limit.leased(ttl).expect("it fits");
    let (mut state, mut now, mut small) = (State::default(), START, (START, 0));
    let mut large = (now, admitted(leased, &mut state, 1_000, now));
    for _ in 0..20 {
        now = large.0 + ttl.0 - 1;
        refund(leased, &mut state, small.1, [small.0, now]);
        small = (now, admitted(leased, &mut state, 1_000, now));
        now += 1;
        refund(leased, &mut state, large.1, [large.0, now]);
        large = (now, admitted(leased, &mut state, 1_000, now));
        assert!(large.1 + small.1 <= 100, "{large:?} and {small:?} are out");
    }
}

#[test]
fn a_window_gives_back_only_where_the_charge_was_counted() {
    let edge = (START / 60_000_000 + 1) * 60_000_000;
    for (algorithm, still) in WINDOWS.iter().zip([0, 6, 6]) {
        let (limit, mut state) = (algorithm(10, 60_000), State::default());
        admitted(limit, &mut state, 6, edge - 1);
        admitted(limit, &mut state, 2, edge);
        let times = [edge - 1, edge + 1];
        assert_eq!(refund(limit, &mut state, 9, times), still);
    }
}

/// A bucket that has regained a lease owes it to nobody. When its rate was cut since, the lease
/// came back at what it was worth at the new one: ten tokens of others were given back.
#[test]
fn i4_a_refund_after_the_rate_was_cut_gives_back_nothing_that_others_used() {
    let of_rate = |requests| {
        Limit::TokenBucket(TokenBucket {
            requests,
            per: SECOND,
            burst: 100,
        })
    };
    let (old, new) = (of_rate(100), of_rate(1));
    let (mut state, now) = (State::default(), START + 200_000);
    assert_eq!(admitted(old, &mut state, 10, START), 10);
    assert_eq!(admitted(new, &mut state, 90, now), 90);
    assert_eq!(refund(old, &mut state, 10, [START, now + 1]), 0);
    assert_eq!(admitted(new, &mut state, 100, now + 1), 10);
}

#[test]
fn a_refund_of_another_burst_is_worth_what_it_was() {
    let of_burst = |burst| {
        Limit::TokenBucket(TokenBucket {
            requests: 1,
            per: SECOND,
            burst,
        })
    };
    for (old, new) in [(20, 100), (100, 20)] {
        let (old, new, mut state) = (of_burst(old), of_burst(new), State::default());
        assert_eq!(admitted(old, &mut state, 10, START), 10);
        assert_eq!(admitted(new, &mut state, 5, START + 1), 5);
        assert_eq!(refund(old, &mut state, 10, [START, START + 2]), 10);
    }
}

/// It once kept the key all the same, as its own limit reads it: when `per` was shortened from a
/// minute to a second, a late refund of the old limit refused the key for up to a minute.
#[test]
fn a_refund_that_gives_nothing_back_changes_nothing() {
    for algorithm in ALL {
        for per_ms in [[60_000, 1_000], [1_000, 60_000]] {
            let [old, new] = per_ms.map(|per_ms| algorithm(10, per_ms));
            let (mut state, now) = (State::default(), START + 180_000_000);
            assert_eq!(admitted(old, &mut state, 5, START), 5);
            assert_eq!(admitted(new, &mut state, 10, now), 10);
            let before = state.clone();
            assert_eq!(refund(old, &mut state, 5, [START, now + 10]), 0);
            assert_eq!(state, before);
        }
    }
}

/// What a clock that was set back left is of no one instant.
#[test]
fn a_clock_that_was_set_back_gives_nothing_back() {
    for algorithm in ALL {
        let (limit, mut state) = (algorithm(10, 1_000), State::default());
        admitted(limit, &mut state, 5, START);
        admitted(limit, &mut state, 5, START + 3_600_000_000);
        let before = state.clone();
        assert_eq!(refund(limit, &mut state, 5, [START, START + 1]), 0);
        assert_eq!(state, before);
    }
}

/// One charge: by which limit, when, and what of it was used.
#[derive(Clone, Copy, Debug)]
struct Charged {
    limit: Limit,
    at: u64,
    used: u64,
}

/// Microseconds to wait, which limit to charge how many requests, and which charge before, so many
/// ago, gives back up to how many.
type Step = (u64, usize, u64, Option<(usize, u64)>);

/// Charges, and of some of them a part given back later. Returns what was used, and whether all
/// that was not used was given back.
fn run(limits: [Limit; 2], state: &mut State, steps: &[Step]) -> (Vec<Charged>, bool) {
    let (mut now, mut charges, mut all) = (START, Vec::<Charged>::new(), true);
    // A charge, and a refund in a window that has just begun, also tell in which windows and at which
    // rate other limits count on. So some of each charge is used, and some charged before a refund.
    let kept = u64::from(limits[0] != limits[1]);
    for (us, which, count, back) in steps {
        now += us;
        let limit = limits[*which];
        let used = admitted(limit, state, *count, now);
        charges.push(Charged {
            limit,
            at: now,
            used,
        });
        let Some((ago, most)) = back else { continue };
        let index = charges.len().saturating_sub(1 + ago);
        if used < kept || is_forgotten(&charges[index..]) {
            continue;
        }
        let Charged { limit, at, used } = &mut charges[index];
        let unused = used.saturating_sub(kept).min(*most);
        *used -= unused;
        all &= refund(*limit, state, unused, [*at, now]) == unused;
    }
    (charges, all)
}

/// What ARCHITECTURE excepts: since the charge, the first of these, a faster bucket was charged.
fn is_forgotten(since: &[Charged]) -> bool {
    let first = since[0].limit;
    let is_faster =
        |it: &Charged| it.limit.requests() * first.per().0 > first.requests() * it.limit.per().0;
    matches!(first, Limit::TokenBucket(_)) && since.iter().any(is_faster)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let back = prop::option::weighted(0.4, (0_usize..6, 1_u64..40));
    prop::collection::vec((0_u64..2_000, 0_usize..2, 1_u64..40, back), 1..50)
}

/// No rule has more room than if what was given back had never been charged; a window of one limit has
/// as much when all was.
fn assert_nothing_used_is_given_back(limits: [Limit; 2], steps: &[Step]) {
    let (mut state, mut without) = (State::default(), State::default());
    let (charges, all) = run(limits, &mut state, steps);
    for Charged { limit, at, used } in &charges {
        assert_eq!(admitted(*limit, &mut without, *used, *at), *used);
    }
    let one = limits[0] == limits[1];
    let exact = all && one && !matches!(limits[0], Limit::TokenBucket(_));
    let now = charges.last().unwrap().at;
    for limit in limits {
        for later in [0, 1, limit.per().0 / 3, limit.per().0] {
            let at = now + later;
            let (with, without) = (remaining(limit, &state, at), remaining(limit, &without, at));
            assert!(with <= without, "{with} of {without}");
            assert!(!exact || with == without, "{with} of {without}");
        }
    }
}

proptest! {
    /// Invariant I4.
    #[test]
    fn i4_nothing_that_was_used_is_given_back(
        which in 0_usize..4, requests in 1_u64..50, per_ms in 1_u64..20, steps in steps(),
    ) {
        assert_nothing_used_is_given_back([ALL[which](requests, per_ms); 2], &steps);
    }

    /// Invariant I4, also between and after changes of the limit.
    #[test]
    fn i4_nothing_that_was_used_is_given_back_when_limits_change(
        which in 0_usize..4, requests in prop::array::uniform2(1_u64..50),
        per_ms in prop::array::uniform2(1_u64..20), steps in steps(),
    ) {
        let limits = [0, 1].map(|it| ALL[which](requests[it], per_ms[it]));
        assert_nothing_used_is_given_back(limits, &steps);
    }

    /// Invariant I1 for two buckets in one key, as while a change is rolled out.
    #[test]
    fn i1_two_limits_and_their_refunds_admit_no_more_than_the_larger_burst_and_the_faster_rate(
        requests in prop::array::uniform2(1_u64..50), per_ms in prop::array::uniform2(1_u64..20),
        burst in prop::array::uniform2(1_u64..50), steps in steps(),
    ) {
        let bucket = |it: usize| TokenBucket {
            requests: requests[it],
            per: Micros::from_millis(per_ms[it]),
            burst: burst[it],
        };
        let limits = [0, 1].map(|it| Limit::TokenBucket(bucket(it)));
        let (charges, _) = run(limits, &mut State::default(), &steps);
        let gained = |it: usize, us: u64| requests[it] * us / bucket(it).per.0;
        for (first, Charged { at: from, .. }) in charges.iter().enumerate() {
            let mut tokens = 0;
            for Charged { at, used, .. } in &charges[first..] {
                tokens += used;
                let gained = gained(0, at - from).max(gained(1, at - from));
                prop_assert!(tokens <= burst[0].max(burst[1]) + gained, "{tokens}");
            }
        }
    }
}

/// One worker's doings with a leased limit.
#[derive(Clone, Copy, Debug)]
struct Take {
    /// Microseconds since the last one.
    wait: u64,
    tokens: u64,
    /// Of these so many are spent, so long after; and the rest is back in Redis so long after.
    spent: u64,
    spent_after: u64,
    back_after: u64,
}

fn takes(ttl: u64) -> impl Strategy<Value = Vec<Take>> {
    let take = (0..2 * ttl, 1_u64..30, 0_u64..30, 0..=ttl, 0..3 * ttl);
    let take = take.prop_map(|(wait, tokens, spent, spent_after, back)| Take {
        wait,
        tokens,
        spent,
        spent_after,
        back_after: spent_after + back,
    });
    prop::collection::vec(take, 1..40)
}

/// Plays the takes on the limit that Redis counts, with their refunds in the order of time. Returns
/// when how many tokens were spent.
fn spend(limit: Limit, ttl: Micros, takes: &[Take]) -> Vec<(u64, u64)> {
    let leased = limit.leased(ttl).expect("it fits");
    let (mut state, mut spent, mut now) = (State::default(), Vec::new(), START);
    let mut backs: Vec<(u64, u64, u64)> = Vec::new();
    let give_back = |state: &mut State, backs: &mut Vec<(u64, u64, u64)>, until: u64| {
        backs.sort_unstable();
        let due = backs.partition_point(|(at, ..)| *at <= until);
        for (at, taken_at, tokens) in backs.drain(..due) {
            refund(leased, state, tokens, [taken_at, at]);
        }
    };
    for take in takes {
        now += take.wait;
        give_back(&mut state, &mut backs, now);
        let charge = charge(leased, &mut state, take.tokens, 1, now);
        let used = take.spent.min(charge.admitted);
        let span = limit.lease_span(Micros(take.spent_after), charge.rules[0]);
        spent.push((now + span.0.min(take.spent_after), used));
        backs.push((now + take.back_after, now, charge.admitted - used));
    }
    spent
}

proptest! {
    /// Invariant I1 with leases: what is taken early, spent late and given back at any time admits
    /// no more than the limit, in any interval of a bucket and in any window of the others.
    #[test]
    fn i1_leased_tokens_admit_no_more_than_the_limit(
        which in 0_usize..4, requests in 1_u64..40, per_ms in 1_u64..30, takes in takes(5_000),
    ) {
        let limit = match ALL[which](requests, per_ms) {
            Limit::TokenBucket(bucket) => Limit::TokenBucket(TokenBucket {
                burst: bucket.burst + requests * 5 / per_ms + 1,
                ..bucket
            }),
            window => window,
        };
        let mut spent = spend(limit, Micros(5_000), &takes);
        spent.sort_unstable();
        for (first, (from, _)) in spent.iter().enumerate() {
            let mut tokens = 0;
            for (at, more) in &spent[first..] {
                tokens += more;
                prop_assert!(tokens <= most(limit, at - from), "{tokens} in {}", at - from);
            }
        }
    }
}

/// The most that an interval of this length may see, both its ends included.
fn most(limit: Limit, us: u64) -> u64 {
    let (per, requests) = (limit.per().0, limit.requests());
    let refill = requests * us / per;
    match limit {
        Limit::TokenBucket(bucket) => bucket.burst + refill,
        // Of the longer window that is counted.
        Limit::SlidingWindow(_) => requests + requests * (us + 5_000) / (per + 5_000),
        Limit::SlidingLog(_) => requests * (us / per + 1),
        Limit::FixedWindow(_) => requests * (us / per + 2),
    }
}
