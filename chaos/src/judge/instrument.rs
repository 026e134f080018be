//! What is wrong with the suite's own instruments: faults that were not as planned, observers
//! that were silent. Neither proves anything about the filter.

use super::evidence::Evidence;
use crate::fault::Fault;
use crate::record::{Action, FaultAction, Source, Trial};
use crate::scenario::Injection;
use crate::words::counted;

/// Furthest an injection or a healing may be from its planned time, seconds.
pub const OFF_PLAN_S_MAX: f64 = 0.25;
/// Least share of a flap's planned toggles.
pub const TOGGLES_MIN: f64 = 0.9;
/// Longest that an observer may be silent, seconds; also how long Redis may take to be seen again
/// after its healing.
pub const SILENCE_S_MAX: f64 = 1.0;

/// What of the timeline did not come to pass as planned.
pub(super) fn faults(trial: &Trial) -> Vec<String> {
    let mut reasons = Vec::new();
    for injection in &trial.scenario.timeline {
        let inject = done(trial, Action::Inject, injection.at_s);
        let heal = done(trial, Action::Heal, injection.heal_at_s);
        let (Some(inject), Some(heal)) = (inject, heal) else {
            reasons.push(format!(
                "the fault planned from {} s to {} s was not injected and healed within {OFF_PLAN_S_MAX} s of it",
                injection.at_s, injection.heal_at_s
            ));
            continue;
        };
        reasons.extend(toggles(injection, inject, heal));
    }
    reasons
}

pub(super) fn done(trial: &Trial, action: Action, planned_s: f64) -> Option<&FaultAction> {
    let mut faults = trial.faults.iter();
    faults.find(|it| it.action == action && (it.at_s - planned_s).abs() <= OFF_PLAN_S_MAX)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a run has far fewer than 2^53 toggles"
)]
fn toggles(injection: &Injection, inject: &FaultAction, heal: &FaultAction) -> Option<String> {
    let Fault::Flap { every_ms } = injection.fault else {
        return None;
    };
    let planned = (heal.at_s - inject.at_s) * 1e3 / every_ms as f64;
    let toggled = heal.read_back["toggles"].as_array().map_or(0, Vec::len);
    ((toggled as f64) < planned * TOGGLES_MIN).then(|| {
        let toggled = counted(toggled, "time");
        format!("Redis flapped {toggled}, planned were {planned:.0}")
    })
}

/// Observers that were silent between the baseline's start and the recovery's planned end, or the
/// trial's own where that came first: after it nobody observes.
pub(super) fn observers(evidence: &Evidence<'_>) -> Vec<String> {
    let trial = evidence.trial();
    let phases = &trial.scenario.phases;
    let from_s = phases.baseline_at_s();
    let to_s = phases.end_at_s().min(trial.last_s());
    let observers = [
        Source::Envoy,
        Source::Redis,
        Source::Upstream,
        Source::Process,
    ];
    let silent = observers.into_iter().filter_map(|source| {
        let (at_s, length_s) = longest_silence(trial, source, from_s, to_s);
        (length_s > SILENCE_S_MAX)
            .then(|| format!("{source:?} gave no readings for {length_s:.1} s from {at_s:.1} s"))
    });
    silent.collect()
}

/// The longest silence within a span: its start and its length, less what is excused.
fn longest_silence(trial: &Trial, source: Source, from_s: f64, to_s: f64) -> (f64, f64) {
    let readings = trial.samples.iter().filter(|it| it.source == source);
    let within = readings
        .map(|it| it.at_s)
        .filter(|at_s| (from_s..to_s).contains(at_s));
    let mut last_s = from_s;
    let mut longest = (from_s, 0.0);
    for at_s in within.chain([to_s]) {
        let length_s = at_s - last_s - excused(trial, source, last_s, at_s);
        if length_s > longest.1 {
            longest = (last_s, length_s);
        }
        last_s = at_s;
    }
    longest
}

/// How much of a silence is because a fault took Redis away.
fn excused(trial: &Trial, source: Source, from_s: f64, to_s: f64) -> f64 {
    let away = trial.scenario.timeline.iter().filter(|it| {
        let gone = matches!(
            it.fault,
            Fault::RedisKill | Fault::RedisRestart | Fault::RedisFreeze
        );
        gone && source == Source::Redis
    });
    away.map(|it| (to_s.min(it.heal_at_s + SILENCE_S_MAX) - from_s.max(it.at_s)).max(0.0))
        .sum()
}
