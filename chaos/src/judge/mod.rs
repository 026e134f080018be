//! The judgement of a trial, from its record alone.
//!
//! The first of these that applies decides, so that nothing doubtful is ever called upheld and
//! nothing is refuted by a broken suite (after Jepsen's `merge-valid`, which lets invalid win;
//! here doubt about the instrument itself comes first):
//!
//! 1. the suite broke, or its load was not the planned one: *inconclusive*;
//! 2. the baseline missed its steady state: *inconclusive*, and void;
//! 3. checks of latencies missed their bounds, and all would have held had the machine kept nobody
//!    waiting for a processor: *inconclusive*;
//! 4. a check missed its bound: *refuted*;
//! 5. a check could not be measured: *inconclusive*;
//! 6. otherwise *upheld*.

mod breaker;
mod commands;
mod conservation;
mod evidence;
mod excess;
mod instrument;
mod measure;
mod requests;
mod resources;
mod stalls;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub(crate) use requests::percentile;

pub use evidence::{Evidence, Unmeasured};
pub use excess::{Span, worst_excess};
pub use instrument::{OFF_PLAN_S_MAX, SILENCE_S_MAX, TOGGLES_MIN};
pub use measure::take;

use crate::record::{Environment, Outcome, Trial};
use crate::scenario::{Check, Measure, Window};
use crate::words::counted;

/// The generator's 99th percentile of lateness must stay within this, in the whole run and in each
/// phase whose latencies are judged, or they prove nothing. Well below the plan's tightest latency bound of 50 ms.
pub const LATENESS_P99_MS_MAX: f64 = 10.0;

/// What a trial proves about its hypothesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything was measured and every bound held.
    Upheld,
    /// At least one bound was missed.
    Refuted,
    /// The run proves nothing, either way.
    Inconclusive,
}

impl Verdict {
    /// As people read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Upheld => "upheld",
            Self::Refuted => "refuted",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// Why a trial proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The suite failed, or its record lacks something.
    Suite,
    /// The machine did not send the load on time, or kept the stack waiting.
    Machine,
    /// Before the fault, requests were slow and nothing else was wrong.
    SlowBaseline,
    /// Before the fault, something other than the latency was wrong.
    UnsteadyBaseline,
    /// A check could not be measured.
    Unmeasured,
}

impl Cause {
    /// Did the machine spoil it, so that another trial may prove something? All else would be
    /// hidden by trying again.
    #[must_use]
    pub fn is_machine(self) -> bool {
        matches!(self, Self::Machine | Self::SlowBaseline)
    }
}

/// A check and its number.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What was asked.
    pub check: Check,
    /// What was measured; infinite when what was waited for never came.
    pub measured: Result<f64, Unmeasured>,
}

impl Finding {
    /// Did the bound hold? `None` when nothing was measured.
    #[must_use]
    pub fn held(&self) -> Option<bool> {
        let measured = self.measured.as_ref().ok()?;
        Some(self.check.op.holds(*measured, self.check.bound))
    }
}

/// What is to be said about one trial.
#[derive(Debug)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is inconclusive; `None` when it is not.
    pub cause: Option<Cause>,
    /// The steady state failed before any fault.
    pub void: bool,
    /// Why it is not upheld, each a sentence.
    pub reasons: Vec<String>,
    /// Every check, in the scenario's order.
    pub findings: Vec<Finding>,
}

/// Judges one trial. Pure: the same record gives the same judgement.
#[must_use]
pub fn judge(trial: &Trial, environment: &Environment) -> Judgement {
    let evidence = Evidence::new(trial, environment);
    let find = |check: &Check| Finding {
        check: check.clone(),
        measured: take(&evidence, check.measure, check.window),
    };
    let findings: Vec<Finding> = trial.scenario.checks.iter().map(find).collect();
    let steady: Vec<Finding> = trial.scenario.steady.iter().map(find).collect();
    let (mut verdict, mut cause, mut void) = (Verdict::Inconclusive, None, false);
    let (suite, machine) = (suite(&evidence), machine(&evidence));
    let silences = instrument::observers(&evidence);
    // A machine that was late with the load explains silent observers, too.
    if suite.is_empty() && !machine.is_empty() {
        cause = Some(Cause::Machine);
    } else if !suite.is_empty() || !silences.is_empty() {
        cause = Some(Cause::Suite);
    }
    let mut reasons = [suite, silences, machine].concat();
    if reasons.is_empty() {
        reasons = because(&steady, |held| held != Some(true));
        void = !reasons.is_empty();
        cause = void.then(|| unsteady(&steady));
    }
    if reasons.is_empty() {
        reasons = because(&findings, |held| held == Some(false));
        if let Some(stalls) = stalls::explain(trial, environment, &findings) {
            cause = Some(Cause::Machine);
            reasons.push(stalls);
        } else if !reasons.is_empty() {
            verdict = Verdict::Refuted;
        }
    }
    if reasons.is_empty() {
        reasons = because(&findings, |held| held.is_none());
        cause = (!reasons.is_empty()).then_some(Cause::Unmeasured);
    }
    if reasons.is_empty() {
        verdict = Verdict::Upheld;
    }
    Judgement {
        verdict,
        cause,
        void,
        reasons,
        findings,
    }
}

/// Whether an unsteady baseline was merely slow: a machine that stalls for longer than
/// `redis.timeout` also costs counts. What was not measured was not slow.
fn unsteady(steady: &[Finding]) -> Cause {
    let failed = steady.iter().filter(|it| it.held() != Some(true));
    let missed = |it: &Finding| it.held() == Some(false);
    let slow = |it: &Finding| missed(it) && is_latency(it.check.measure);
    let uncounted = |it: &Finding| missed(it) && it.check.measure == Measure::CountedShare;
    if failed.clone().any(slow) && failed.clone().all(|it| slow(it) || uncounted(it)) {
        Cause::SlowBaseline
    } else {
        Cause::UnsteadyBaseline
    }
}

fn is_latency(measure: Measure) -> bool {
    use Measure::{Longest, P50, P95, P99, P99OverBaseline};
    matches!(measure, P50 | P95 | P99 | Longest | P99OverBaseline)
}

/// What is wrong with the suite's own part of the run.
fn suite(evidence: &Evidence<'_>) -> Vec<String> {
    let trial = evidence.trial();
    let mut reasons = Vec::new();
    match &trial.end {
        None => reasons.push("the record stops before the scenario's end".to_owned()),
        Some((_, Some(failure))) => reasons.push(format!("the suite failed: {failure}")),
        Some((_, None)) => {}
    }
    let planned = trial
        .scenario
        .load
        .plan(trial.scenario.phases.end_at_s())
        .count();
    if trial.requests.len() != planned {
        reasons.push(format!(
            "the record has {} of {}",
            trial.requests.len(),
            counted(planned, "planned request")
        ));
    }
    reasons.extend(instrument::faults(trial));
    reasons
}

/// What the machine did not manage: to send the load when it was due.
fn machine(evidence: &Evidence<'_>) -> Vec<String> {
    let trial = evidence.trial();
    let mut reasons = Vec::new();
    let unsent = trial
        .requests
        .iter()
        .filter(|it| it.outcome == Outcome::NotSent)
        .count();
    if unsent > 0 {
        reasons.push(format!(
            "not sent, as too many were in flight: {}",
            counted(unsent, "request")
        ));
    }
    // A stall that the whole run hides may still be all of a phase's latency.
    let lateness = [Window::Whole, Window::Baseline, Window::Fault]
        .into_iter()
        .filter_map(|window| requests::lateness_p99_ms(evidence, window).ok())
        .fold(0.0, f64::max);
    if lateness > LATENESS_P99_MS_MAX {
        reasons.push(format!(
            "the generator was late: p99 {lateness:.1} ms, at most {LATENESS_P99_MS_MAX} ms"
        ));
    }
    reasons
}

fn because(findings: &[Finding], blamed: impl Fn(Option<bool>) -> bool) -> Vec<String> {
    let blamed = findings.iter().filter(|finding| blamed(finding.held()));
    blamed
        .map(|Finding { check, measured }| match measured {
            Ok(measured) => {
                let measured = check.measure.show(*measured);
                format!(
                    "{}: measured {measured}, bound {}",
                    check.name,
                    check.bound_text()
                )
            }
            Err(unmeasured) => format!("{}: not measured, {unmeasured}", check.name),
        })
        .collect()
}
