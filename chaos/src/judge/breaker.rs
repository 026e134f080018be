//! Measures over the breaker's changes.

use super::evidence::{Evidence, Unmeasured};
use super::resources::starting_with;
use crate::record::{BreakerState, Source, names};
use crate::scenario::Window;

/// How long requests must go on succeeding before the system counts as recovered, seconds.
const SUSTAINED_S: f64 = 0.5;
/// Calls that were under way when the breaker opened are counted until this much later, seconds:
/// the longest call (`redis.timeout` of 50 ms) and some slack for the count to show.
const SETTLED_S: f64 = 0.1;

/// From the first injection to the first opening after it; infinite when it never opened.
pub(super) fn time_to_open_s(evidence: &Evidence<'_>) -> Result<f64, Unmeasured> {
    let (injected_s, _) = evidence.fault_span()?;
    Ok(evidence
        .opened_after(injected_s)
        .map_or(f64::INFINITY, |at_s| at_s - injected_s))
}

/// How often it opened in the window.
pub(super) fn openings(evidence: &Evidence<'_>, window: Window) -> Result<f64, Unmeasured> {
    let (from_s, to_s) = evidence.span(window)?;
    let moves = evidence.trial().moves.iter();
    let opened = moves.filter(|it| it.to == BreakerState::Open);
    Ok(opened
        .filter(|it| it.at_s >= from_s && it.at_s <= to_s)
        .map(|_| 1.0)
        .sum())
}

/// Changes that the breaker's state machine does not have, or that do not follow each other.
pub(super) fn illegal_moves(evidence: &Evidence<'_>) -> f64 {
    use BreakerState::{Closed, HalfOpen, Open};
    let mut state = Closed;
    let illegal = evidence.trial().moves.iter().filter(|it| {
        let known = matches!(
            (it.from, it.to),
            (Closed | HalfOpen, Open) | (Open, HalfOpen) | (HalfOpen, Closed)
        );
        let follows = it.from == state;
        state = it.to;
        !(known && follows)
    });
    illegal.map(|_| 1.0).sum()
}

/// From the last healing until the breaker is closed and, for [`SUSTAINED_S`] on, every request
/// succeeds with a known count: a fallback's refusals say 429 too. Infinite when that never came.
pub(super) fn full_recovery_s(evidence: &Evidence<'_>) -> Result<f64, Unmeasured> {
    let (_, healed_s) = evidence.fault_span()?;
    let trial = evidence.trial();
    let from_s = match trial.moves.last() {
        None => healed_s,
        Some(last) if last.to == BreakerState::Closed => last.at_s.max(healed_s),
        Some(_) => return Ok(f64::INFINITY),
    };
    let mut good_since_s = from_s;
    for request in trial.requests.iter().filter(|it| it.due_s >= from_s) {
        if !(request.is_success() && request.outcome.is_counted()) {
            good_since_s = good_since_s.max(request.done_s());
        } else if request.due_s - good_since_s >= SUSTAINED_S {
            return Ok(good_since_s - healed_s);
        }
    }
    Ok(f64::INFINITY)
}

/// The filter's calls to Redis between an opening and the half-open that follows it.
pub(super) fn calls_while_open(evidence: &Evidence<'_>) -> Result<f64, Unmeasured> {
    let samples = evidence.samples(Source::Envoy, Window::Whole)?;
    let mut calls: Option<f64> = None;
    for (opened, next) in evidence
        .trial()
        .moves
        .iter()
        .zip(evidence.trial().moves.iter().skip(1))
    {
        if opened.to != BreakerState::Open {
            continue;
        }
        let open = |at_s: f64| at_s >= opened.at_s + SETTLED_S && at_s <= next.at_s;
        let mut totals = samples
            .iter()
            .filter(|it| open(it.at_s))
            .map(|it| starting_with(it, names::REDIS_CALLS));
        if let (Some(first), Some(last)) = (totals.next(), totals.next_back()) {
            calls = Some(calls.unwrap_or(0.0) + (last - first));
        }
    }
    calls.ok_or(Unmeasured::TooFewReadings(
        Source::Envoy,
        names::REDIS_CALLS,
    ))
}
