//! Measures over what the observers saw.

use super::{Unmeasured, measured, under_fault};
use crate::fault::Fault;
use crate::record::made::{fault, request, sample, trial};
use crate::record::{Action, Outcome, Phase, Request, Source, Trial, names};
use crate::scenario::{Measure, Scenario, Window};

#[test]
fn a_counter_begins_again_when_redis_is_another_process() {
    let mut trial = trial();
    let evals = |at_s, instance, calls| {
        let values = [(names::INSTANCE, instance), (names::EVAL_CALLS, calls)];
        sample(at_s, Source::Redis, &values)
    };
    trial.samples = vec![
        evals(1.9, 1.0, 2.0),
        evals(2.5, 1.0, 3.0),
        evals(3.0, 2.0, 3.0),
    ];
    // One by the old process since the window began, three by the new one.
    assert_eq!(under_fault(&trial, Measure::EvalCalls), Ok(4.0));
    assert_eq!(trial.samples.len(), 3);
    trial.samples.truncate(1);
    assert!(under_fault(&trial, Measure::EvalCalls).is_err());
}

#[test]
fn memory_fits_a_line_only_where_it_grows_with_the_keys() {
    let fit = |points: &[(f64, f64)]| {
        let mut trial = trial();
        let redis = |at_s, keys, memory| {
            let values = [
                (names::INSTANCE, 2.0),
                (names::KEYS, keys),
                (names::USED_MEMORY, memory),
            ];
            sample(at_s, Source::Redis, &values)
        };
        // A process that is gone does not count, however far from the line it was.
        let mut old = redis(1.5, 9e9, 0.0);
        old.values.insert(names::INSTANCE.to_owned(), 1.0);
        trial.samples.push(old);
        let times = (0_u32..).map(|index| 2.0 + f64::from(index) * 0.1);
        trial.samples.extend(
            times
                .zip(points)
                .map(|(at_s, (keys, memory))| redis(at_s, *keys, *memory)),
        );
        under_fault(&trial, Measure::MemoryFit)
    };
    // Before the first key there is no script in it and nobody has connected.
    let growing = [
        (0.0, 1.0),
        (0.0, 9.0),
        (5.0, 150.0),
        (10.0, 200.0),
        (20.0, 300.0),
    ];
    assert_eq!(fit(&growing), Ok(1.0));
    assert!(fit(&[(5.0, 100.0), (10.0, 900.0), (20.0, 150.0)]).unwrap() < 0.1);
    assert!(
        fit(&[(5.0, 1.0), (10.0, 2.0), (10.0, 2.0)]).is_err(),
        "two points make any line"
    );
}

#[test]
fn what_is_left_in_redis_is_read_at_the_end() {
    let mut trial = trial();
    let redis = |at_s, keys, memory| {
        sample(
            at_s,
            Source::Redis,
            &[(names::KEYS, keys), (names::USED_MEMORY, memory)],
        )
    };
    trial.samples = vec![
        redis(1.9, 9.0, 1024.0),
        redis(3.0, 99.0, 99_999.0),
        redis(5.9, 7.0, 4096.0),
    ];
    assert_eq!(
        measured(&trial, Measure::KeysLeft, Window::Recovery),
        Ok(7.0)
    );
    assert_eq!(
        measured(&trial, Measure::MemoryLeft, Window::Recovery),
        Ok(3.0)
    );
}

#[test]
fn cpu_is_a_share_of_the_whole_machine_and_survives_a_restart_of_redis() {
    let mut trial = trial();
    let process = |at_s, envoy, redis, threads| {
        let values = [
            (names::ENVOY_CPU_S, envoy),
            (names::REDIS_CPU_S, redis),
            (names::ENVOY_THREADS, threads),
        ];
        sample(at_s, Source::Process, &values)
    };
    trial.samples = vec![
        process(2.0, 1.0, 5.0, 9.0),
        process(3.0, 1.5, 0.25, 11.0),
        process(4.0, 2.0, 0.5, 9.0),
    ];
    // 1 s of Envoy and 0.5 s of Redis, in 2 s on 2 processors.
    assert_eq!(under_fault(&trial, Measure::CpuShare), Ok(37.5));
    assert_eq!(under_fault(&trial, Measure::ThreadsAdded), Ok(2.0));
}

#[test]
fn the_filters_own_counts_give_failures_waiting_and_restarts() {
    let mut trial = trial();
    let envoy = |at_s, failed, waiting, completed| {
        let values = [
            ("redis_calls.ok", 100.0),
            ("redis_calls.unreachable", failed),
            (names::WAITING, waiting),
            (names::COMPLETED, completed),
            (names::VM_RELOADS, 0.0),
        ];
        sample(at_s, Source::Envoy, &values)
    };
    trial.samples = vec![envoy(2.0, 0.0, 2.0, 50.0), envoy(3.0, 4.0, 8.0, 90.0)];
    assert_eq!(under_fault(&trial, Measure::ConnectionErrors), Ok(4.0));
    assert_eq!(under_fault(&trial, Measure::Waiting), Ok(8.0));
    assert_eq!(
        measured(&trial, Measure::EnvoyRestarts, Window::Whole),
        Ok(0.0)
    );
    trial.samples.push(envoy(3.5, 4.0, 0.0, 10.0));
    assert_eq!(
        measured(&trial, Measure::EnvoyRestarts, Window::Whole),
        Ok(1.0)
    );
}

#[test]
fn the_longest_wait_comes_from_the_access_log_alone() {
    let mut trial = trial();
    assert!(measured(&trial, Measure::LongestWait, Window::Whole).is_err());
    trial.samples = vec![sample(
        6.5,
        Source::AccessLog,
        &[(names::WAIT_US, 51_250.0)],
    )];
    assert_eq!(
        measured(&trial, Measure::LongestWait, Window::Whole),
        Ok(51.25)
    );
}

#[test]
fn i1_a_redis_that_lost_its_data_begins_anew_and_no_other_time_is_excused() {
    let text = include_str!("../../../scenarios/c-04-thundering-herd.toml");
    let mut scenario = Scenario::parse(text).unwrap();
    (scenario.timeline[0].at_s, scenario.timeline[0].heal_at_s) = (2.5, 3.0);
    let mut trial = Trial {
        scenario,
        faults: vec![fault(2.5, Action::Inject), fault(3.0, Action::Heal)],
        ..trial()
    };
    let hot = |due_s, outcome| Request {
        hot: true,
        ..request(due_s, 0, outcome)
    };
    let over = |trial: &Trial| measured(trial, Measure::OverAdmitted, Window::Whole);
    // The limit is 4 at once and 4 a second: it is met before and after.
    trial.requests = vec![hot(1.0, Outcome::Refused), hot(5.0, Outcome::Refused)];
    for burst_at_s in [2.45, 3.01] {
        trial
            .requests
            .extend((0..4).map(|_| hot(burst_at_s, Outcome::Counted)));
    }
    let degraded = (0..99).map(|_| hot(2.7, Outcome::Uncounted));
    trial.requests.extend(degraded);
    assert_eq!(over(&trial), Ok(0.0));
    trial.scenario.timeline[0].fault = Fault::ProxyDown;
    let excess = over(&trial).unwrap();
    assert!((excess - (8.0 - 4.0 - 0.56 * 4.0)).abs() < 0.01, "{excess}");
    trial.requests[1].outcome = Outcome::Counted;
    assert_eq!(over(&trial), Err(Unmeasured::LimitNotMet(Phase::Recovery)));
}

/// Two admitted (one with a known count), one refused, one of unknown outcome.
fn conserved(hits: f64, allowed: f64, denied: f64, completed: f64) -> f64 {
    let mut trial = trial();
    let outcomes = [
        Outcome::Counted,
        Outcome::Uncounted,
        Outcome::Refused,
        Outcome::Broken,
    ];
    trial.requests = outcomes
        .map(|outcome| request(2.0, 1_000, outcome))
        .to_vec();
    let zero = |source| sample(0.0, source, &[]);
    let decisions = [
        ("decision.allowed", allowed),
        ("decision.degraded_allow", 1.0),
        ("decision.denied", denied),
        (names::COMPLETED, completed),
    ];
    trial.samples = vec![
        zero(Source::Envoy),
        zero(Source::Upstream),
        sample(6.0, Source::Envoy, &decisions),
        sample(6.0, Source::Upstream, &[(names::HITS, hits)]),
    ];
    measured(&trial, Measure::Unaccounted, Window::Whole).unwrap()
}

#[test]
fn i10_all_observers_count_the_same_requests() {
    assert_eq!(conserved(2.0, 1.0, 1.0, 3.0), 0.0);
    assert_eq!(
        conserved(3.0, 2.0, 1.0, 4.0),
        0.0,
        "the unknown one may have been admitted"
    );
    assert_eq!(
        conserved(4.0, 1.0, 1.0, 3.0),
        1.0,
        "the upstream saw one too many"
    );
    assert_eq!(
        conserved(2.0, 1.0, 3.0, 3.0),
        1.0,
        "the filter refused one too many"
    );
    assert_eq!(conserved(2.0, 0.0, 1.0, 3.0), 1.0, "the filter forgot one");
    assert_eq!(
        conserved(2.0, 1.0, 1.0, 5.0),
        1.0,
        "Envoy answered one too many"
    );
}
