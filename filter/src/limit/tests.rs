//! What holds for all algorithms, and what each one's windows admit.

use proptest::prelude::*;

use super::{Charge, Limit, State, TokenBucket, Window, charge_all};
use crate::units::{Micros, RedisTime};

/// A whole number of all windows used here, so that they begin together.
const START: u64 = 1_700_000_000_000_000;

pub(super) fn charge(limit: Limit, state: &mut State, count: u64, cost: u64, now: u64) -> Charge {
    charge_all(&mut [(limit, state, cost)], count, RedisTime(now))
}

pub(super) fn admitted(limit: Limit, state: &mut State, count: u64, now: u64) -> u64 {
    charge(limit, state, count, 1, now).admitted
}

const fn window(requests: u64, per_ms: u64) -> Window {
    Window {
        requests,
        per: Micros::from_millis(per_ms),
    }
}

pub(super) type Algorithm = fn(u64, u64) -> Limit;

fn token_bucket(requests: u64, per_ms: u64) -> Limit {
    Limit::TokenBucket(TokenBucket {
        requests,
        per: Micros::from_millis(per_ms),
        burst: requests,
    })
}

fn fixed_window(requests: u64, per_ms: u64) -> Limit {
    Limit::FixedWindow(window(requests, per_ms))
}

fn sliding_window(requests: u64, per_ms: u64) -> Limit {
    Limit::SlidingWindow(window(requests, per_ms))
}

fn sliding_log(requests: u64, per_ms: u64) -> Limit {
    Limit::SlidingLog(window(requests, per_ms))
}

pub(super) const WINDOWS: [Algorithm; 3] = [fixed_window, sliding_window, sliding_log];
pub(super) const ALL: [Algorithm; 4] = [token_bucket, fixed_window, sliding_window, sliding_log];

fn any_algorithm() -> impl Strategy<Value = Algorithm> {
    prop::sample::select(ALL.to_vec())
}

/// The longest that nothing but a limit's own charges can count.
fn longest(limit: Limit) -> Micros {
    match limit {
        Limit::SlidingWindow(window) => window.per.saturating_mul(2),
        _ => limit.per(),
    }
}

/// Where a step moves the clock to, in thousandths of the limit's window: seldom back.
fn moves() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0_i64..400, 2 => 400_i64..3_000, 1 => -5_000_i64..0]
}

/// Both waits of a reply, against what happens at their ends and a microsecond before.
fn assert_waits_are_exact(limit: Limit, state: &State, charge: &Charge, cost: u64) {
    let (now, standing) = (charge.now.0, charge.rules[0]);
    let at = |wait: u64, cost| self::charge(limit, &mut state.clone(), 1, cost, now + wait);
    assert!(standing.retry <= standing.reset && standing.remaining <= limit.capacity());
    if cost > 0 {
        assert_eq!(at(standing.retry.0, cost).admitted, 1);
    }
    let fresh = at(standing.reset.0, 0).rules[0];
    assert_eq!(
        (fresh.remaining, fresh.reset),
        (limit.capacity(), Micros::ZERO)
    );
    if let (true, Some(early)) = (cost > 0, standing.retry.0.checked_sub(1)) {
        assert_eq!(at(early, cost).admitted, 0, "{limit:?} after {state:?}");
    }
    if let Some(early) = standing.reset.0.checked_sub(1) {
        assert!(at(early, 0).rules[0].reset > Micros::ZERO);
    }
}

proptest! {
    /// Invariant I6, for limits that change and clocks that are set back, too.
    #[test]
    fn i6_every_named_wait_is_exact(
        algorithm in any_algorithm(),
        requests in prop::array::uniform2(1_u64..50),
        per_ms in prop::array::uniform2(1_u64..50),
        steps in prop::collection::vec((moves(), 0_usize..2, 1_u64..60, 0_u64..50), 1..40),
    ) {
        let (mut state, mut now) = (State::default(), START);
        for (thousandths, which, count, cost) in steps {
            let limit = algorithm(requests[which], per_ms[which]);
            now = now.saturating_add_signed(limit.per().0 as i64 / 1_000 * thousandths);
            let cost = cost % (limit.capacity() + 1);
            let charge = charge(limit, &mut state, count, cost, now);
            assert_waits_are_exact(limit, &state, &charge, cost);
        }
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait_longer_than_the_limit_ever_does(
        algorithm in any_algorithm(), requests in 1_u64..50, per_ms in 1_u64..50,
        steps in prop::collection::vec((moves(), 1_u64..60), 1..40),
    ) {
        let limit = algorithm(requests, per_ms);
        let (mut state, mut now) = (State::default(), START);
        for (thousandths, count) in steps {
            now = now.saturating_add_signed(limit.per().0 as i64 / 1_000 * thousandths);
            let charge = charge(limit, &mut state, count, 1, now);
            prop_assert!(charge.rules[0].reset <= longest(limit));
        }
    }

    /// Invariant I1: what each algorithm promises of any interval that the clock ran through.
    #[test]
    fn i1_no_interval_holds_more_than_the_algorithm_promises(
        which in 0_usize..3, requests in 1_u64..50, per_ms in 1_u64..20,
        steps in prop::collection::vec((0_u64..700, 1_u64..60), 1..60),
    ) {
        let limit = WINDOWS[which](requests, per_ms);
        let per = limit.per().0;
        let (mut state, mut now) = (State::default(), START);
        let mut passed: Vec<(u64, u64)> = Vec::new();
        for (thousandths, count) in steps {
            now += per * thousandths / 1_000;
            passed.push((now, admitted(limit, &mut state, count, now)));
            for (i, (begin, _)) in passed.iter().enumerate() {
                let tokens: u64 = passed[i..].iter().map(|(_, tokens)| tokens).sum();
                let length = now - begin;
                let within = match limit {
                    Limit::FixedWindow(_) => begin / per != now / per || tokens <= requests,
                    Limit::SlidingLog(_) => length >= per || tokens <= requests,
                    _ => (tokens - tokens.min(requests)) * per <= requests * length,
                };
                prop_assert!(within, "{tokens} in {length} us");
            }
        }
    }

    /// While a changed limit is rolled out both are asked for one key.
    #[test]
    fn i1_two_limits_that_meet_admit_no_more_than_the_wider(
        which in 0_usize..3, narrow in 1_u64..20, wide in 20_u64..200,
        narrow_ms in 1_u64..50, longer_ms in 0_u64..50,
        steps in prop::collection::vec((0_u64..400, any::<bool>(), 1_u64..300), 1..60),
    ) {
        let algorithm = WINDOWS[which];
        let (narrow, wide) = (
            algorithm(narrow, narrow_ms),
            algorithm(wide, narrow_ms + longer_ms),
        );
        let per = wide.per().0;
        let (mut state, mut now) = (State::default(), START);
        let mut since: Option<(u64, u64)> = None;
        for (thousandths, is_wide, count) in steps {
            now += per * thousandths / 1_000;
            let limit = if is_wide { wide } else { narrow };
            let tokens = admitted(limit, &mut state, count, now);
            since = since.filter(|(end, _)| now < *end);
            if let Some((_, total)) = &mut since {
                *total += tokens;
                prop_assert!(*total <= wide.requests(), "{}", total);
            } else if is_wide && tokens > 0 {
                let end = match limit {
                    Limit::SlidingLog(_) => now + per,
                    _ => (now / per + 1) * per,
                };
                since = Some((end, tokens));
            }
        }
    }
}

#[test]
fn every_algorithm_admits_its_requests_at_once_and_the_next_when_it_says() {
    for algorithm in ALL {
        let (limit, mut state) = (algorithm(10, 60_000), State::default());
        let first = charge(limit, &mut state, 12, 1, START + 1_000);
        assert_eq!((first.admitted, first.rules[0].remaining), (10, 0));
        let again = START + 1_000 + first.rules[0].retry.0;
        assert_eq!(admitted(limit, &mut state, 1, again - 1), 0, "{limit:?}");
        assert_eq!(admitted(limit, &mut state, 1, again), 1, "{limit:?}");
    }
}

#[test]
fn rules_of_different_algorithms_are_charged_all_or_nothing() {
    let limits = ALL.map(|algorithm| algorithm(5, 60_000));
    let mut states = ALL.map(|_| State::default());
    admitted(limits[2], &mut states[2], 3, START);
    let mut rules: Vec<_> = limits
        .iter()
        .zip(&mut states)
        .map(|(limit, state)| (*limit, state, 1))
        .collect();
    let charge = charge_all(&mut rules, 9, RedisTime(START));
    assert_eq!(charge.admitted, 2);
    let remaining: Vec<u64> = charge.rules.iter().map(|rule| rule.remaining).collect();
    assert_eq!(remaining, [3, 3, 0, 3]);
}

#[test]
fn a_fixed_window_admits_twice_its_requests_across_a_boundary_and_never_within_one() {
    let (limit, mut state) = (fixed_window(10, 1_000), State::default());
    let boundary = START + 1_000_000;
    assert_eq!(admitted(limit, &mut state, 99, boundary - 1), 10);
    assert_eq!(admitted(limit, &mut state, 99, boundary), 10);
    assert_eq!(admitted(limit, &mut state, 99, boundary + 999_999), 0);
    let refused = charge(limit, &mut state, 1, 1, boundary + 999_000).rules[0];
    assert_eq!(
        (refused.retry, refused.reset),
        (Micros(1_000), Micros(1_000))
    );
}

/// The worst that ARCHITECTURE derives, to the last token: all of a window at its end, then all
/// that has faded of it before the window that ends then is over.
#[test]
fn i1_a_sliding_window_comes_within_one_token_of_its_bound() {
    let (limit, mut state) = (sliding_window(1_000, 1_000), State::default());
    let last = START + 999_999;
    assert_eq!(admitted(limit, &mut state, 9_999, last), 1_000);
    assert_eq!(admitted(limit, &mut state, 9_999, last + 1), 0);
    let half = admitted(limit, &mut state, 9_999, last + 500_001);
    let rest = admitted(limit, &mut state, 9_999, last + 999_999);
    assert_eq!((half, rest), (500, 499));
}

#[test]
fn a_sliding_log_forgets_each_charge_when_its_own_window_is_over() {
    let (limit, mut state) = (sliding_log(3, 1_000), State::default());
    for at in [0, 300_000, 300_001] {
        assert_eq!(admitted(limit, &mut state, 1, START + at), 1);
    }
    let two = charge(limit, &mut state, 1, 2, START + 400_000).rules[0];
    assert_eq!(
        two.retry,
        Micros(900_000),
        "the second of the three has to end"
    );
    assert_eq!(admitted(limit, &mut state, 9, START + 1_000_000), 1);
    assert_eq!(admitted(limit, &mut state, 9, START + 1_300_000), 1);
}

#[test]
fn what_one_instant_charges_a_sliding_log_is_one_entry() {
    let (limit, mut state) = (sliding_log(100, 1_000), State::default());
    for _ in 0..3 {
        admitted(limit, &mut state, 20, START);
    }
    admitted(limit, &mut state, 5, START + 1);
    let ends = START + 1_000_000;
    let expected = format!("{ends}:60:60:1000000 {}:5:65:1000000", ends + 1);
    assert_eq!(state.stored(), Some(expected));
}

#[test]
fn a_look_always_finds_room_also_where_a_lower_limit_counts_more_than_it_admits() {
    for algorithm in ALL {
        let mut state = State::default();
        charge(algorithm(9, 1_000), &mut state, 9, 1, START);
        let look = charge(algorithm(3, 1_000), &mut state, 1, 0, START + 1);
        assert_eq!(look.admitted, 1);
        assert_eq!(look.rules[0].remaining, 0);
        assert_eq!(
            look.rules[0].retry,
            Micros::ZERO,
            "{:?}",
            algorithm(3, 1_000)
        );
    }
}
