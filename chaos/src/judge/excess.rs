//! Invariant I1 from the client's log alone: no interval admits more of a key than its limit.

use super::evidence::{Evidence, Unmeasured};
use super::instrument;
use crate::fault::Fault;
use crate::record::{Action, Outcome, Phase, Request, Trial};
use crate::scenario::{Limit, Window};

/// How much faster than the client's clock Redis's may run: the kernel slews a clock that time
/// synchronisation corrects by at most 500 parts in a million.
const SLEW_MAX: f64 = 500e-6;
/// The record keeps whole microseconds, so an answer may have been there this much later, seconds.
const RESOLUTION_S: f64 = 1e-6;

/// An admitted request: when it was sent and when its answer was there, seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// When it was sent.
    pub sent_s: f64,
    /// When its answer was complete.
    pub done_s: f64,
}

/// The interval that admitted the most above the limit, by how many requests; negative when all
/// stayed below it, and minus infinity without requests.
///
/// Redis charged an admitted request at some instant between its sending and its answer. So those
/// sent no earlier than `a` and answered no later than `b` were surely charged in `[a, b]`:
/// counting only them can hide an excess of a latency's length, and can invent none. The worst
/// interval begins with a sending and ends with an answer. No other tolerance is needed than that
/// of the clocks.
#[must_use]
pub fn worst_excess(admitted: &[Span], limit: &Limit) -> f64 {
    let mut latest_first = admitted.to_vec();
    latest_first.sort_by(|a, b| b.sent_s.total_cmp(&a.sent_s));
    let mut ends: Vec<f64> = Vec::with_capacity(admitted.len());
    let mut worst = f64::NEG_INFINITY;
    for span in latest_first {
        ends.insert(
            ends.partition_point(|end_s| *end_s <= span.done_s),
            span.done_s,
        );
        let mut charged = 0.0;
        for end_s in &ends {
            charged += 1.0;
            let length_s = (end_s - span.sent_s + RESOLUTION_S) * (1.0 + SLEW_MAX);
            worst = f64::max(worst, charged - limit.burst - limit.rate * length_s);
        }
    }
    worst
}

/// Requests of the hot key that were admitted by count beyond its limit, in the worst interval.
///
/// An answer without a count was not Redis's: it is left out, wherever it is, and whatever Redis
/// did admit meanwhile must still be within the limit. Only a Redis that lost its data begins
/// anew, so no interval reaches over that.
pub(super) fn over_admitted(evidence: &Evidence<'_>) -> Result<f64, Unmeasured> {
    let trial = evidence.trial();
    let hot = trial.scenario.load.hot.ok_or(Unmeasured::NoHotKey)?;
    for (window, phase) in [
        (Window::Baseline, Phase::Baseline),
        (Window::Recovery, Phase::Recovery),
    ] {
        let mut requests = evidence.requests(window)?.into_iter();
        if !requests.any(|it| it.hot && it.outcome == Outcome::Refused) {
            return Err(Unmeasured::LimitNotMet(phase));
        }
    }
    let admitted: Vec<Span> = admitted(trial.requests.iter()).collect();
    let excess = lives(trial).into_iter().map(|(born_s, died_s)| {
        let within = |it: &&Span| it.sent_s >= born_s && it.done_s <= died_s;
        let within: Vec<Span> = admitted.iter().filter(within).copied().collect();
        worst_excess(&within, &hot.limit)
    });
    Ok(excess.fold(0.0, f64::max))
}

/// Admitted requests of the hot key as a share of what its limit refills in the window.
pub(super) fn limit_used(evidence: &Evidence<'_>, window: Window) -> Result<f64, Unmeasured> {
    let hot = evidence.trial().scenario.load.hot;
    let hot = hot.ok_or(Unmeasured::NoHotKey)?;
    let (from_s, to_s) = evidence.span(window)?;
    let requests = evidence.requests(window)?;
    let count: f64 = admitted(requests.into_iter()).map(|_| 1.0).sum();
    Ok(count / (hot.limit.rate * (to_s - from_s)))
}

fn admitted<'t>(requests: impl Iterator<Item = &'t Request>) -> impl Iterator<Item = Span> {
    let admitted = requests.filter(|it| it.hot && it.outcome == Outcome::Counted);
    admitted.map(|it| Span {
        sent_s: it.sent_s(),
        done_s: it.done_s(),
    })
}

/// Between which times Redis kept its data.
fn lives(trial: &Trial) -> Vec<(f64, f64)> {
    let mut lives = Vec::new();
    let mut born_s = f64::NEG_INFINITY;
    for injection in &trial.scenario.timeline {
        let (Fault::RedisKill | Fault::RedisRestart) = injection.fault else {
            continue;
        };
        let killed = instrument::done(trial, Action::Inject, injection.at_s);
        let healed = instrument::done(trial, Action::Heal, injection.heal_at_s);
        // Without either the judge calls the whole trial inconclusive.
        if let (Some(killed), Some(healed)) = (killed, healed) {
            lives.push((born_s, killed.at_s));
            born_s = healed.at_s;
        }
    }
    lives.push((born_s, f64::INFINITY));
    lives
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        rate: 100.0,
        burst: 100.0,
    };

    fn excess(count: usize, span: Span) -> f64 {
        worst_excess(&vec![span; count], &LIMIT)
    }

    #[test]
    fn the_worst_interval_is_found_and_doubt_counts_for_the_filter() {
        let (sent_s, done_s) = (1.0, 1.0);
        assert!((excess(102, Span { sent_s, done_s }) - 2.0).abs() < 1e-3);
        assert!(
            excess(100, Span { sent_s, done_s }) <= 0.0,
            "the burst itself"
        );
        // Any of these may have been charged 1 s later than another, when 100 more were due.
        let done_s = 2.0;
        assert!((excess(102, Span { sent_s, done_s }) + 98.0).abs() < 0.1);
        assert_eq!(worst_excess(&[], &LIMIT), f64::NEG_INFINITY);
    }

    #[test]
    fn an_excess_between_calm_times_is_found_whatever_the_order() {
        let at = |sent_s: f64| Span {
            sent_s,
            done_s: sent_s + 0.001,
        };
        let calm = (0..50_u32).map(|it| at(f64::from(it) / 10.0));
        let burst = (0..120_u32).map(|it| at(2.0 + f64::from(it) / 10_000.0));
        let mut spans: Vec<Span> = calm.chain(burst).collect();
        // 121 from 2 s on, less 100 at once and what is refilled in about 13 ms.
        let found = worst_excess(&spans, &LIMIT);
        assert!((19.0..20.0).contains(&found), "{found}");
        spans.reverse();
        assert_eq!(worst_excess(&spans, &LIMIT), found);
    }
}
