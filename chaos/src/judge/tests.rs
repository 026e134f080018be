//! Each measure on the smallest trial that moves it.

mod commands;
mod observed;

use super::{Evidence, Unmeasured, percentile, take};
use crate::record::made::{fault, moves, request, sample, trial};
use crate::record::{Action, BreakerState, Environment, Outcome, Source, Trial};
use crate::scenario::{Measure, Window};

fn measured(trial: &Trial, measure: Measure, window: Window) -> Result<f64, Unmeasured> {
    let environment = Environment {
        commit: String::new(),
        stack: String::new(),
        cores: 2,
        versions: std::collections::BTreeMap::new(),
    };
    take(&Evidence::new(trial, &environment), measure, window)
}

fn under_fault(trial: &Trial, measure: Measure) -> Result<f64, Unmeasured> {
    measured(trial, measure, Window::Fault)
}

#[test]
fn shares_count_what_was_due_in_the_window() {
    use Outcome::{Broken, Counted, Other, Refused, RefusedUncounted, Unavailable, Uncounted};
    let mut trial = trial();
    let outcomes = [
        Counted,
        Uncounted,
        Refused,
        RefusedUncounted,
        Unavailable,
        Broken,
        Other(500),
        Counted,
    ];
    trial.requests = outcomes
        .map(|outcome| request(2.0, 1_000, outcome))
        .to_vec();
    trial
        .requests
        .extend([request(1.999, 1_000, Broken), request(4.0, 1_000, Broken)]);
    let share = |measure| under_fault(&trial, measure).unwrap();
    assert_eq!(share(Measure::SuccessShare), 3.0 / 8.0);
    assert_eq!(share(Measure::AnsweredShare), 6.0 / 8.0);
    assert_eq!(share(Measure::ErrorShare), 3.0 / 8.0);
    assert_eq!(share(Measure::CountedShare), 3.0 / 8.0);
}

#[test]
fn a_window_without_requests_is_not_measured() {
    let result = under_fault(&trial(), Measure::SuccessShare);
    assert_eq!(result, Err(Unmeasured::NoRequests));
}

#[test]
fn a_percentile_is_one_of_the_values() {
    assert_eq!(percentile((1..=200).rev(), 99.0), 0.198);
    assert_eq!(percentile((1..=200).rev(), 50.0), 0.1);
    assert_eq!(percentile([5].into_iter(), 99.0), 0.005);
    assert_eq!(percentile([].into_iter(), 99.0), 0.0);
}

#[test]
fn percentiles_count_from_the_plan_and_compare_with_the_baseline() {
    let mut trial = trial();
    let at = |from_s: f64, index: u32| from_s + f64::from(index) / 1_000.0;
    for index in 0..100 {
        let took_us = u64::from(index + 1) * 1_000;
        trial
            .requests
            .push(request(at(1.0, index), 2_000, Outcome::Counted));
        trial
            .requests
            .push(request(at(2.0, index), took_us, Outcome::Counted));
    }
    let near = |measure, expected: f64| {
        let found = under_fault(&trial, measure).unwrap();
        assert!(
            (found - expected).abs() <= expected / 500.0,
            "{measure:?} {found}"
        );
    };
    near(Measure::P50, 50.0);
    near(Measure::P95, 95.0);
    near(Measure::P99, 99.0);
    near(Measure::Longest, 100.0);
    near(Measure::P99OverBaseline, 97.0);
}

#[test]
fn in_flight_is_exact_and_an_answer_makes_room_first() {
    let mut trial = trial();
    let ok = Outcome::Counted;
    trial.requests = vec![
        request(2.0, 500_000, ok),
        request(2.25, 250_000, ok),
        request(2.5, 500_000, ok),
        request(2.6, 0, Outcome::NotSent),
    ];
    assert_eq!(under_fault(&trial, Measure::InFlight), Ok(2.0));
}

#[test]
fn the_time_to_open_runs_from_the_first_injection_or_never_ends() {
    use BreakerState::{Closed, Open};
    let mut trial = trial();
    assert_eq!(
        under_fault(&trial, Measure::TimeToOpen),
        Err(Unmeasured::NoFault)
    );
    trial.faults = vec![fault(2.25, Action::Inject), fault(4.0, Action::Heal)];
    assert_eq!(under_fault(&trial, Measure::TimeToOpen), Ok(f64::INFINITY));
    assert_eq!(under_fault(&trial, Measure::Openings), Ok(0.0));
    trial.moves = moves(&[
        (1.5, Closed, Open),
        (2.75, Closed, Open),
        (3.0, Closed, Open),
    ]);
    assert_eq!(under_fault(&trial, Measure::TimeToOpen), Ok(0.5));
    assert_eq!(under_fault(&trial, Measure::Openings), Ok(2.0));
}

#[test]
fn a_breaker_may_only_move_along_its_state_machine() {
    use BreakerState::{Closed, HalfOpen, Open};
    let legal = [
        (1.0, Closed, Open),
        (2.0, Open, HalfOpen),
        (3.0, HalfOpen, Open),
        (4.0, Open, HalfOpen),
        (5.0, HalfOpen, Closed),
    ];
    let illegal = |list: &[_]| {
        let trial = Trial {
            moves: moves(list),
            ..trial()
        };
        measured(&trial, Measure::IllegalMoves, Window::Whole).unwrap()
    };
    assert_eq!(illegal(&legal), 0.0);
    assert_eq!(illegal(&[(1.0, Closed, HalfOpen)]), 1.0);
    assert_eq!(illegal(&[(1.0, Closed, Open), (2.0, Open, Closed)]), 1.0);
    // The second does not follow the first, though each alone is a move the breaker has.
    assert_eq!(
        illegal(&[(1.0, Closed, Open), (2.0, HalfOpen, Closed)]),
        1.0
    );
}

#[test]
fn recovery_needs_a_closed_breaker_and_half_a_second_of_known_counts() {
    use BreakerState::{Closed, Open};
    let recovery_of = |bad_outcome: Outcome, bad_until: u32, last: BreakerState| {
        let mut trial = trial();
        trial.faults = vec![fault(2.0, Action::Inject), fault(4.0, Action::Heal)];
        trial.moves = moves(&[(2.5, Closed, Open), (4.25, Open, last)]);
        trial.requests = (0..20_u32)
            .map(|index| {
                let bad = index < bad_until;
                let outcome = if bad { bad_outcome } else { Outcome::Counted };
                request(4.0 + f64::from(index) * 0.125, 0, outcome)
            })
            .collect();
        measured(&trial, Measure::FullRecovery, Window::Recovery).unwrap()
    };
    let recovery = |bad_until, last| recovery_of(Outcome::Uncounted, bad_until, last);
    assert_eq!(
        recovery_of(Outcome::Refused, 5, Closed),
        0.5,
        "a refusal is no recovery"
    );
    assert_eq!(
        recovery(0, Closed),
        0.25,
        "the breaker is the last to recover"
    );
    assert_eq!(
        recovery(5, Closed),
        0.5,
        "the fifth request, due at 4.5 s, is the last bad one"
    );
    assert_eq!(
        recovery(17, Closed),
        f64::INFINITY,
        "too short a time of success"
    );
    assert_eq!(recovery(0, Open), f64::INFINITY, "the breaker stays open");
}

#[test]
fn calls_are_counted_only_while_the_breaker_is_open() {
    use BreakerState::{Closed, HalfOpen, Open};
    let mut trial = trial();
    let calls = |at_s, ok, failed| {
        let values = [("redis_calls.ok", ok), ("redis_calls.timeout", failed)];
        sample(at_s, Source::Envoy, &values)
    };
    trial.moves = moves(&[
        (2.0, Closed, Open),
        (3.0, Open, HalfOpen),
        (3.1, HalfOpen, Closed),
    ]);
    // Calls under way at the opening settle until 2.1 s; from 3 s on the probes count.
    trial.samples = vec![
        calls(2.0, 5.0, 0.0),
        calls(2.2, 5.0, 10.0),
        calls(2.9, 5.0, 10.0),
        calls(3.2, 9.0, 10.0),
    ];
    let counted = |trial: &Trial| under_fault(trial, Measure::RedisWhileOpen);
    assert_eq!(counted(&trial), Ok(0.0));
    trial.samples.insert(2, calls(2.8, 8.0, 11.0));
    trial.samples.remove(3);
    assert_eq!(counted(&trial), Ok(4.0));
    trial.moves.clear();
    assert!(
        counted(&trial).is_err(),
        "a breaker that never opened proves nothing"
    );
}
