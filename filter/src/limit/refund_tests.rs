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

#[derive(Clone, Copy, Debug)]
struct Charged {
    at: u64,
    requests: u64,
}

/// Microseconds to wait, requests to charge, and which charge before, so many ago, gives back up to
/// how many.
type Step = (u64, u64, Option<(usize, u64)>);

/// Charges, and of some of them a part given back later. Returns what was used, and whether all
/// that was not used was given back.
fn run(limit: Limit, state: &mut State, steps: &[Step]) -> (Vec<Charged>, bool) {
    let (mut now, mut used, mut all) = (START, Vec::new(), true);
    for (us, count, back) in steps {
        now += us;
        let requests = admitted(limit, state, *count, now);
        used.push(Charged { at: now, requests });
        let Some((ago, most)) = back else { continue };
        let index = used.len().saturating_sub(1 + ago);
        let unused = used[index].requests.min(*most);
        used[index].requests -= unused;
        let times = [used[index].at, now];
        all &= refund(limit, state, unused, times) == unused;
    }
    (used, all)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let back = prop::option::weighted(0.4, (0_usize..6, 1_u64..40));
    prop::collection::vec((0_u64..2_000, 1_u64..40, back), 1..50)
}

proptest! {
    /// Invariant I4: no rule has more room than if what was given back had never been charged; a
    /// window has as much when all was.
    #[test]
    fn i4_nothing_that_was_used_is_given_back(
        which in 0_usize..4, requests in 1_u64..50, per_ms in 1_u64..20,
        steps in steps(),
    ) {
        let limit = ALL[which](requests, per_ms);
        let (mut state, mut without) = (State::default(), State::default());
        let (used, all) = run(limit, &mut state, &steps);
        for Charged { at, requests } in &used {
            prop_assert_eq!(admitted(limit, &mut without, *requests, *at), *requests);
        }
        let exact = all && !matches!(limit, Limit::TokenBucket(_));
        let now = used.last().unwrap().at;
        for later in [0, 1, limit.per().0 / 3, limit.per().0] {
            let at = now + later;
            let (with, without) = (remaining(limit, &state, at), remaining(limit, &without, at));
            prop_assert!(with <= without, "{} of {}", with, without);
            prop_assert!(!exact || with == without, "{} of {}", with, without);
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
