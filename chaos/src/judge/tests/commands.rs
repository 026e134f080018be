//! Redis's count of commands against the filter's counts.

use super::{Unmeasured, measured};
use crate::record::made::{request, sample, trial};
use crate::record::{Outcome, Sample, Source, Trial, names};
use crate::scenario::{Measure, Window};

fn envoy(at_s: f64, calls: f64, probes: f64, noscript: f64) -> Sample {
    let values = [
        ("redis_calls.ok", calls),
        ("redis_calls.timeout", 7.0),
        ("probes.ok", probes),
        ("probes.failed", probes),
        (names::NOSCRIPT, noscript),
    ];
    sample(at_s, Source::Envoy, &values)
}

fn redis(at_s: f64, instance: f64, evals: f64, evalshas: f64) -> Sample {
    let values = [
        (names::INSTANCE, instance),
        (names::EVAL_CALLS, evals),
        (names::EVALSHA_CALLS, evalshas),
    ];
    sample(at_s, Source::Redis, &values)
}

/// 20 requests paused, 10 calls and 2 probes that ended well, 2 probes that failed, 3 NOSCRIPT.
fn story(ran: f64) -> Trial {
    let mut trial = trial();
    let paused = sample(6.5, Source::AccessLog, &[(names::PAUSED, 20.0)]);
    trial.samples = vec![
        envoy(0.0, 0.0, 0.0, 0.0),
        redis(0.0, 1.0, 0.0, 0.0),
        envoy(6.0, 10.0, 2.0, 3.0),
        redis(6.0, 1.0, 2.0, ran - 2.0),
        paused,
    ];
    trial
}

fn unexplained(trial: &Trial) -> Result<f64, Unmeasured> {
    measured(trial, Measure::UnexplainedCommands, Window::Whole)
}

#[test]
fn redis_ran_at_least_what_ended_well_and_at_most_what_was_asked() {
    for (ran, outside) in [(11.0, 1.0), (12.0, 0.0), (27.0, 0.0), (28.0, 1.0)] {
        assert_eq!(unexplained(&story(ran)), Ok(outside), "{ran}");
    }
}

#[test]
fn a_shadow_rule_asks_for_itself_and_a_client_that_went_may_have_asked() {
    let mut trial = story(28.0);
    trial.requests = vec![request(2.0, 0, Outcome::Broken)];
    assert_eq!(unexplained(&trial), Ok(0.0));
    let mut trial = story(47.0);
    trial.scenario.filter["rules"][0]["shadow"] = true.into();
    assert_eq!(unexplained(&trial), Ok(0.0));
}

#[test]
fn what_a_redis_ran_after_its_last_reading_is_not_missed_and_no_more_is_forgiven() {
    let story = |ran_by_the_next| {
        let mut trial = story(0.0);
        trial.samples = vec![
            envoy(0.0, 0.0, 0.0, 0.0),
            redis(0.0, 1.0, 0.0, 0.0),
            redis(1.0, 1.0, 0.0, 4.0),
            envoy(1.05, 5.0, 0.0, 0.0),
            redis(1.1, 1.0, 0.0, 5.0),
            envoy(1.2, 8.0, 0.0, 0.0),
            redis(2.0, 2.0, 0.0, 0.0),
            envoy(2.1, 8.0, 0.0, 0.0),
            envoy(6.0, 18.0, 0.0, 0.0),
            redis(6.0, 2.0, 0.0, ran_by_the_next),
            sample(6.5, Source::AccessLog, &[(names::PAUSED, 20.0)]),
        ];
        unexplained(&trial)
    };
    // Up to 8 of the first Redis's 18 calls may be those that nobody read.
    assert_eq!(story(5.0), Ok(0.0));
    assert_eq!(story(4.0), Ok(1.0));
}

#[test]
fn without_the_access_log_nothing_is_known() {
    let mut trial = story(20.0);
    trial.samples.pop();
    let missing = Unmeasured::TooFewReadings(Source::AccessLog, names::PAUSED);
    assert_eq!(unexplained(&trial), Err(missing));
}
