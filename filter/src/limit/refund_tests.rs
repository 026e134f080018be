//! What a refund gives back, and that it is never more than is safe.

use proptest::prelude::*;

use super::tests::{ALL, WINDOWS, admitted, charge};
use super::{Demand, Limit, Refund, State, refund_all};
use crate::units::{Micros, RedisTime};

const START: u64 = 1_700_000_000_000_000;
const SECOND: Micros = Micros::from_secs(1);

fn refund(limit: Limit, state: &mut State, count: u64, times: [u64; 2], max_age: Micros) -> u64 {
    let [taken_at, now] = times;
    let refund = Refund {
        demand: Demand {
            count,
            buckets: vec![(b"key", limit, 1)],
        },
        taken_at: RedisTime(taken_at),
        max_age,
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
        let given = refund(limit, &mut state, 5, [START, START + 20], SECOND);
        assert_eq!((given, remaining(limit, &state, START + 20)), (5, 5));
    }
}

#[test]
fn a_refund_that_is_too_old_or_of_the_future_gives_nothing() {
    for algorithm in ALL {
        let (limit, mut state) = (algorithm(10, 60_000), State::default());
        admitted(limit, &mut state, 6, START);
        let edge = START + SECOND.0;
        assert_eq!(refund(limit, &mut state, 6, [START, edge + 1], SECOND), 0);
        let mut set_back = state.clone();
        assert_eq!(
            refund(limit, &mut set_back, 6, [START, START - 1], SECOND),
            0
        );
        assert_eq!(refund(limit, &mut state, 6, [START, edge], SECOND), 6);
        assert_eq!(refund(limit, &mut state, 6, [START, edge], SECOND), 0);
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
        assert_eq!(refund(limit, &mut state, 9, times, SECOND), still);
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
fn run(limit: Limit, state: &mut State, max_age: Micros, steps: &[Step]) -> (Vec<Charged>, bool) {
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
        all &= refund(limit, state, unused, times, max_age) == unused;
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
        max_age in 0_u64..10_000, steps in steps(),
    ) {
        let limit = ALL[which](requests, per_ms);
        let (mut state, mut without) = (State::default(), State::default());
        let (used, all) = run(limit, &mut state, Micros(max_age), &steps);
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
