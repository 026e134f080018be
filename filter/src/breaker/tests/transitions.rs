//! One test for each transition of the record, and for what must not be one.

use super::super::{Reason, Record, State, Transition, Turn};
use super::*;

/// Settles `calls` with permits of the record, and gives the last change of state.
fn run(record: &mut Record, settings: &Settings, calls: &[Call]) -> Option<Transition> {
    let mut last = None;
    for call in calls {
        let permit = record.permit().expect("closed");
        last = record.settle(settings, &permit, *call, at(0)).or(last);
    }
    last
}

/// A breaker that opened at `at(0)`, to wait 250 ms.
fn opened() -> Record {
    let mut record = Record::new(&settings());
    run(&mut record, &settings(), &[call(BAD); 4]).expect("opens");
    record
}

/// A breaker that is half-open since `at(250)`, and its first probe, due by `at(310)`.
fn half_opened() -> (Record, super::super::ProbePermit) {
    let mut record = opened();
    let turn = record.tick(&settings(), at(250));
    (record, turn.probe.expect("a probe"))
}

fn change(from: State, to: State, reason: Reason) -> Option<Transition> {
    Some(Transition { from, to, reason })
}

#[test]
fn closed_opens_when_the_failure_rate_is_reached() {
    let mut record = Record::new(&settings());
    let calls = [call(GOOD), call(GOOD), call(Outcome::Failure(Cause::Oom))];
    assert_eq!(run(&mut record, &settings(), &calls), None);
    let reason = Reason::Failing {
        failed: 2,
        calls: 4,
        last: Cause::Timeout,
    };
    let opened = run(&mut record, &settings(), &[call(BAD)]);
    assert_eq!(opened, change(State::Closed, State::Open, reason));
    assert_eq!(record.permit(), None);
}

#[test]
fn closed_opens_when_the_slow_call_rate_is_reached() {
    let mut record = Record::new(&settings());
    let opened = run(
        &mut record,
        &settings(),
        &[call(GOOD), slow(), slow(), slow(), slow()],
    );
    let reason = Reason::Slow { slow: 4, calls: 5 };
    assert_eq!(opened, change(State::Closed, State::Open, reason));
}

#[test]
fn closed_stays_closed_just_below_both_rates() {
    let mut record = Record::new(&settings());
    let calls = [call(GOOD), call(GOOD), slow(), slow(), slow(), call(BAD)];
    assert_eq!(run(&mut record, &settings(), &calls), None);
    assert_eq!(record.state(), State::Closed);
}

#[test]
fn a_success_that_completes_the_minimum_opens_on_earlier_failures() {
    let mut record = Record::new(&settings());
    let calls = [call(BAD), call(BAD), call(BAD), call(GOOD)];
    let reason = Reason::Failing {
        failed: 3,
        calls: 4,
        last: Cause::Timeout,
    };
    let opened = run(&mut record, &settings(), &calls);
    assert_eq!(opened, change(State::Closed, State::Open, reason));
}

#[test]
fn an_excluded_call_counts_in_neither_rate_however_long_it_took() {
    let mut record = Record::new(&settings());
    let excluded = Call {
        outcome: Outcome::Excluded,
        elapsed: Micros::from_secs(9),
    };
    assert_eq!(run(&mut record, &settings(), &[excluded; 20]), None);
    assert_eq!(record, Record::new(&settings()));
}

#[test]
fn failures_that_left_the_window_are_forgotten() {
    let mut record = Record::new(&settings());
    run(&mut record, &settings(), &[call(GOOD); 3]);
    run(
        &mut record,
        &settings(),
        &[call(GOOD), call(BAD), call(BAD), call(BAD)],
    );
    run(&mut record, &settings(), &[call(GOOD); 10]);
    assert_eq!(run(&mut record, &settings(), &[call(BAD); 4]), None);
    assert!(run(&mut record, &settings(), &[call(BAD)]).is_some());
}

#[test]
fn the_minimum_may_be_the_whole_window_and_the_rates_all_of_it() {
    for window in [1, 2, config::Breaker::WINDOW_MAX] {
        let mut settings = settings();
        settings.breaker.window = window;
        settings.breaker.minimum_calls = window;
        settings.breaker.failure_rate = Ratio(1_000_000);
        settings.breaker.slow_call_rate = Ratio(1_000_000);
        let mut record = Record::new(&settings);
        let calls = vec![call(BAD); usize::from(window) - 1];
        assert_eq!(run(&mut record, &settings, &calls), None);
        let opened = run(&mut record, &settings, &[call(BAD)]);
        let reason = Reason::Failing {
            failed: window,
            calls: window,
            last: Cause::Timeout,
        };
        assert_eq!(opened, change(State::Closed, State::Open, reason));
    }
}

#[test]
fn one_good_call_keeps_a_breaker_with_rates_of_one_closed() {
    let mut settings = settings();
    settings.breaker.failure_rate = Ratio(1_000_000);
    settings.breaker.slow_call_rate = Ratio(1_000_000);
    let mut calls = vec![call(GOOD)];
    calls.extend([call(BAD); 9]);
    assert_eq!(run(&mut Record::new(&settings), &settings, &calls), None);
}

#[test]
fn open_stays_open_until_its_wait_is_over_and_then_probes() {
    let mut record = opened();
    let early = Moment {
        now: Instant(at(250).now.0 - 1),
        random: 0,
    };
    assert_eq!(record.tick(&settings(), early), Turn::default());
    let turn = record.tick(&settings(), at(250));
    assert_eq!(
        turn.transition,
        change(State::Open, State::HalfOpen, Reason::WaitOver)
    );
    assert!(turn.probe.is_some());
    assert_eq!(record.permit(), None);
}

#[test]
fn half_open_gives_one_probe_at_a_time() {
    let (mut record, probe) = half_opened();
    assert_eq!(record.tick(&settings(), at(251)), Turn::default());
    let turn = record.settle_probe(&settings(), &probe, call(GOOD), at(252));
    assert_eq!(turn.transition, None);
    assert!(turn.probe.is_some_and(|next| next != probe));
}

#[test]
fn half_open_closes_with_an_empty_window_after_enough_probes() {
    let (mut record, mut probe) = half_opened();
    for _ in 1..settings().breaker.probes {
        let turn = record.settle_probe(&settings(), &probe, call(GOOD), at(252));
        probe = turn.probe.expect("the next probe");
    }
    let turn = record.settle_probe(&settings(), &probe, call(GOOD), at(253));
    let reason = Reason::ProbesSucceeded(3);
    assert_eq!(
        turn.transition,
        change(State::HalfOpen, State::Closed, reason)
    );
    assert_eq!(turn.probe, None);
    assert_eq!(run(&mut record, &settings(), &[call(BAD); 3]), None);
}

#[test]
fn half_open_opens_for_longer_with_each_failed_probe_until_it_closes() {
    let (mut record, mut probe) = half_opened();
    for (from, wait) in [(300, 500), (1_000, 1_000), (3_000, 1_000)] {
        let turn = record.settle_probe(&settings(), &probe, call(BAD), at(from));
        let reason = Reason::ProbeFailed(Cause::Timeout);
        assert_eq!(
            turn.transition,
            change(State::HalfOpen, State::Open, reason)
        );
        assert_eq!(turn.probe, None);
        assert_eq!(
            record.tick(&settings(), at(from + wait - 1)),
            Turn::default()
        );
        probe = record
            .tick(&settings(), at(from + wait))
            .probe
            .expect("due");
    }
    for _ in 0..2 {
        probe = record
            .settle_probe(&settings(), &probe, call(GOOD), at(4_000))
            .probe
            .expect("next");
    }
    record
        .settle_probe(&settings(), &probe, call(GOOD), at(4_000))
        .transition
        .expect("closes");
    run(&mut record, &settings(), &[call(BAD); 4]).expect("opens");
    assert!(
        record.tick(&settings(), at(250)).probe.is_some(),
        "the first wait is 250 ms again"
    );
}

#[test]
fn a_failed_probe_begins_the_next_round_and_a_good_one_does_not() {
    let (mut record, first) = half_opened();
    let turn = record.settle_probe(&settings(), &first, call(GOOD), at(251));
    let second = turn.probe.expect("the next probe");
    assert_eq!(second.round(), first.round());
    record.settle_probe(&settings(), &second, call(BAD), at(252));
    let third = record.tick(&settings(), at(2_000)).probe.expect("due");
    assert_eq!(third.round(), first.round() + 1);
}

#[test]
fn half_open_opens_when_a_probe_is_answered_slowly() {
    let (mut record, probe) = half_opened();
    let turn = record.settle_probe(&settings(), &probe, slow(), at(290));
    let reason = Reason::ProbeSlow(settings().breaker.slow_call);
    assert_eq!(
        turn.transition,
        change(State::HalfOpen, State::Open, reason)
    );
}

#[test]
fn half_open_opens_when_its_probe_is_overdue() {
    let (mut record, probe) = half_opened();
    assert_eq!(record.tick(&settings(), at(309)), Turn::default());
    let turn = record.tick(&settings(), at(310));
    assert_eq!(
        turn.transition,
        change(State::HalfOpen, State::Open, Reason::ProbeLost)
    );
    let before = record.clone();
    assert_eq!(
        record.settle_probe(&settings(), &probe, call(GOOD), at(311)),
        Turn::default()
    );
    assert_eq!(record, before, "the late answer changes nothing");
    assert_eq!(record.tick(&settings(), at(310 + 499)), Turn::default());
    assert!(record.tick(&settings(), at(310 + 500)).probe.is_some());
}

#[test]
fn an_excluded_probe_leaves_the_next_one_to_any_tick() {
    let (mut record, probe) = half_opened();
    let excluded = call(Outcome::Excluded);
    assert_eq!(
        record.settle_probe(&settings(), &probe, excluded, at(251)),
        Turn::default()
    );
    let turn = record.tick(&settings(), at(252));
    assert_eq!(turn.transition, None);
    assert!(turn.probe.is_some_and(|next| next != probe));
}

#[test]
fn the_doubled_end_of_a_probe_changes_nothing() {
    let (mut record, probe) = half_opened();
    let next = record
        .settle_probe(&settings(), &probe, call(GOOD), at(251))
        .probe;
    let before = record.clone();
    for outcome in [GOOD, BAD, Outcome::Excluded] {
        let turn = record.settle_probe(&settings(), &probe, call(outcome), at(252));
        assert_eq!((turn, &record), (Turn::default(), &before));
    }
    assert!(next.is_some());
}

#[test]
fn the_end_of_a_call_from_an_earlier_generation_changes_nothing() {
    let mut record = Record::new(&settings());
    let late = record.permit().expect("closed");
    run(&mut record, &settings(), &[call(BAD); 4]);
    let open = record.clone();
    assert_eq!(record.settle(&settings(), &late, call(BAD), at(1)), None);
    assert_eq!(record, open);
    let mut probe = record.tick(&settings(), at(250)).probe.expect("due");
    for _ in 0..2 {
        probe = record
            .settle_probe(&settings(), &probe, call(GOOD), at(250))
            .probe
            .expect("next");
    }
    record.settle_probe(&settings(), &probe, call(GOOD), at(250));
    let closed = record.clone();
    assert_eq!(closed.state(), State::Closed);
    assert_eq!(record.settle(&settings(), &late, call(BAD), at(251)), None);
    assert_eq!(record, closed);
}

#[test]
fn a_clock_that_steps_back_an_hour_delays_probing_by_at_most_max_open() {
    let mut record = opened();
    let hour = 3_600_000_000;
    let stepped = Moment {
        now: Instant(START.0 - hour),
        random: 0,
    };
    assert_eq!(record.tick(&settings(), stepped), Turn::default());
    let later = Moment {
        now: stepped.now + settings().breaker.max_open,
        random: 0,
    };
    assert!(record.tick(&settings(), later).probe.is_some());
    let again = Moment {
        now: Instant(START.0 - 2 * hour),
        random: 0,
    };
    assert_eq!(record.tick(&settings(), again), Turn::default());
    let overdue = Moment {
        now: again.now + settings().probe_timeout,
        random: 0,
    };
    let lost = record.tick(&settings(), overdue).transition.expect("lost");
    assert_eq!(lost.reason, Reason::ProbeLost);
}

#[test]
fn a_record_read_with_fewer_probes_asked_for_closes_at_the_next_success() {
    let (mut record, probe) = half_opened();
    let probe = record
        .settle_probe(&settings(), &probe, call(GOOD), at(251))
        .probe
        .expect("next");
    let mut fewer = settings();
    fewer.breaker.probes = 1;
    let mut record = Record::decode(&record.encode(), &fewer).expect("decodes");
    let turn = record.settle_probe(&fewer, &probe, call(GOOD), at(252));
    assert_eq!(turn.transition.map(|change| change.to), Some(State::Closed));
}
