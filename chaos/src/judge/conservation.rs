//! Invariant I10: what the client counted, what reached the upstream, what the filter decided
//! and what Envoy answered are the same requests.
//!
//! A request without an answer may or may not have been seen by the others, and an answer that
//! is neither the upstream's 200 nor the filter's own may have been made anywhere; both widen
//! the band in which the others' counts must lie (after Jepsen's counter checker).

use super::evidence::{Evidence, Unmeasured};
use super::resources::growth_of;
use crate::record::{Outcome, Sample, Source, names};

/// The largest disagreement, in requests.
pub(super) fn unaccounted(evidence: &Evidence<'_>) -> Result<f64, Unmeasured> {
    let client = |wanted: fn(Outcome) -> bool| {
        let requests = evidence.trial().requests.iter();
        requests
            .filter(|it| wanted(it.outcome))
            .map(|_| 1.0)
            .sum::<f64>()
    };
    let counted = client(|it| it == Outcome::Counted);
    let success = client(Outcome::is_success);
    let refused = client(|it| it == Outcome::Refused);
    let fallback = client(|it| it == Outcome::RefusedUncounted);
    let unavailable = client(|it| it == Outcome::Unavailable);
    let other = client(|it| matches!(it, Outcome::Other(_)));
    let silent = client(Outcome::is_unknown);
    let answered = success + refused + fallback + unavailable + other;

    let envoy = all(evidence, Source::Envoy, names::COMPLETED)?;
    let upstream = all(evidence, Source::Upstream, names::HITS)?;
    let decided = |decisions: &[&str]| -> f64 {
        let value = |it: &Sample| {
            let name = |decision: &&str| [names::DECISION, *decision].concat();
            decisions
                .iter()
                .filter_map(|it_is| it.values.get(&name(it_is)))
                .sum()
        };
        growth_of(&envoy, value)
    };
    let total = |samples: &[&Sample], name: &str| {
        growth_of(samples, |it| it.values.get(name).copied().unwrap_or(0.0))
    };
    let admitted = decided(&[
        "allowed",
        "shadow_denied",
        "degraded_allow",
        "degraded_local_allow",
    ]);
    let doubt = other + silent;
    let disagreements = [
        beyond(total(&upstream, names::HITS), success, doubt),
        beyond(admitted, success, doubt),
        beyond(decided(&["allowed", "shadow_denied"]), counted, doubt),
        beyond(decided(&["denied"]), refused, doubt),
        beyond(decided(&["degraded_local_deny"]), fallback, doubt),
        beyond(decided(&["degraded_deny"]), unavailable, doubt),
        beyond(total(&envoy, names::COMPLETED), answered, silent),
    ];
    Ok(disagreements.into_iter().fold(0.0, f64::max))
}

/// All samples of an observer, from before the load to after it.
pub(super) fn all<'t>(
    evidence: &Evidence<'t>,
    source: Source,
    name: &'static str,
) -> Result<Vec<&'t Sample>, Unmeasured> {
    let samples: Vec<&Sample> = evidence
        .trial()
        .samples
        .iter()
        .filter(|it| it.source == source)
        .collect();
    if samples.len() < 2 {
        return Err(Unmeasured::TooFewReadings(source, name));
    }
    Ok(samples)
}

/// How far a count lies outside `certain..=certain + doubt`.
fn beyond(count: f64, certain: f64, doubt: f64) -> f64 {
    (certain - count).max(count - certain - doubt).max(0.0)
}
