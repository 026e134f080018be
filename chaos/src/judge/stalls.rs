//! What the machine took: time for which somebody was ready to work on a request and got no
//! processor. A latency that this alone can explain proves nothing about the filter.

use super::evidence::Evidence;
use super::{Finding, Measure, take};
use crate::record::{Environment, Sample, Source, Trial, names};

/// One reading's worth of waiting for a processor, somewhere in a span.
#[derive(Debug, Clone, Copy)]
struct Stall {
    from_s: f64,
    to_s: f64,
    ms: f64,
}

impl Stall {
    /// How much of it may have fallen within another span, milliseconds.
    fn within(&self, from_s: f64, to_s: f64) -> f64 {
        let both_s = self.to_s.min(to_s) - self.from_s.max(from_s);
        self.ms.min(both_s.max(0.0) * 1e3)
    }
}

/// The machine's stalls in a sentence, when bounds were missed that all are of times, and each
/// would have held had the machine kept nobody waiting.
pub(super) fn explain(
    trial: &Trial,
    environment: &Environment,
    findings: &[Finding],
) -> Option<String> {
    let missed = findings.iter().filter(|it| it.held() == Some(false));
    let missed: Vec<&Finding> = missed.collect();
    if missed.is_empty() || !missed.iter().all(|it| is_waiting(it.check.measure)) {
        return None;
    }
    let stalls = stalls(trial);
    let longest = stalls.iter().max_by(|a, b| a.ms.total_cmp(&b.ms))?;
    let spared = spared(trial, &stalls);
    let evidence = Evidence::new(&spared, environment);
    let holds = |finding: &&Finding| {
        let check = &finding.check;
        let measured = take(&evidence, check.measure, check.window);
        measured.is_ok_and(|it| check.op.holds(it, check.bound))
    };
    missed.iter().all(holds).then(|| {
        let Stall { from_s, ms, .. } = longest;
        format!("the machine may be why: from {from_s:.1} s it kept a thread waiting for a processor {ms:.1} ms longer than the stack ran")
    })
}

/// Whether a measure is the time for which a request waited, of which the machine's part can be told.
fn is_waiting(measure: Measure) -> bool {
    super::is_latency(measure) || measure == Measure::LongestWait
}

/// By how much, between two readings, a thread was kept waiting beyond what the stack ran: what a
/// busy Envoy, or a Redis that it keeps busy, takes from others is not the machine's. The kernel
/// counts a wait when it ends, so one may have begun before the first of the two.
fn stalls(trial: &Trial) -> Vec<Stall> {
    let readings = trial.samples.iter();
    let readings: Vec<&Sample> = readings.filter(|it| it.source == Source::Process).collect();
    let pairs = readings.iter().zip(readings.iter().skip(1));
    pairs
        .filter_map(|(before, after)| {
            let kept = after.values.get(names::KEPT_WAITING_MS)?;
            let ran = after.values.get(names::STACK_RAN_MS)?;
            let (from_s, to_s, ms) = (before.at_s - kept / 1e3, after.at_s, kept - ran);
            (ms > 0.0).then_some(Stall { from_s, to_s, ms })
        })
        .collect()
}

/// The trial as it were, had each request been spared the stalls that it lived through.
fn spared(trial: &Trial, stalls: &[Stall]) -> Trial {
    let within =
        |from_s: f64, to_s: f64| -> f64 { stalls.iter().map(|it| it.within(from_s, to_s)).sum() };
    let mut spared = trial.clone();
    for request in &mut spared.requests {
        let met_us = within(request.due_s, request.done_s()) * 1e3;
        request.took_us = request.took_us.saturating_sub(met_us as u64);
    }
    for sample in &mut spared.samples {
        let at_s = sample.values.get(names::WAIT_AT_S).copied();
        let wait_us = sample.values.get_mut(names::WAIT_US);
        if let Some((at_s, wait_us)) = at_s.zip(wait_us) {
            *wait_us -= within(at_s, at_s + *wait_us / 1e6) * 1e3;
        }
    }
    spared
}
