//! The three blocks that every scenario reports: before, under and after the fault. A number
//! that could not be had is `None`, never 0.

use serde::{Deserialize, Serialize};

use crate::judge::{Evidence, take};
use crate::record::{BreakerState, Phase};
use crate::scenario::{Measure, Window};

/// The steady state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Requests sent per second.
    pub rps: Option<f64>,
    /// Share answered with 200.
    pub success: Option<f64>,
    /// Median latency, milliseconds.
    pub p50_ms: Option<f64>,
    /// 95th percentile, milliseconds.
    pub p95_ms: Option<f64>,
    /// 99th percentile, milliseconds.
    pub p99_ms: Option<f64>,
}

impl Baseline {
    pub(super) fn of(evidence: &Evidence<'_>) -> Self {
        let measure = |measure| take(evidence, measure, Window::Baseline).ok();
        Self {
            rps: rps(evidence, Window::Baseline),
            success: measure(Measure::SuccessShare),
            p50_ms: measure(Measure::P50),
            p95_ms: measure(Measure::P95),
            p99_ms: measure(Measure::P99),
        }
    }
}

/// Under fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultBlock {
    /// First injection, seconds from the scenario's start.
    pub from_s: Option<f64>,
    /// Last healing, seconds from the scenario's start.
    pub to_s: Option<f64>,
    /// Requests sent per second.
    pub rps: Option<f64>,
    /// Share answered with 200.
    pub success: Option<f64>,
    /// 95th percentile, milliseconds.
    pub p95_ms: Option<f64>,
    /// 99th percentile, milliseconds.
    pub p99_ms: Option<f64>,
    /// From the first injection to the breaker's opening, seconds.
    pub opened_s: Option<f64>,
    /// How often the breaker opened.
    pub openings: Option<f64>,
}

impl FaultBlock {
    pub(super) fn of(evidence: &Evidence<'_>) -> Self {
        let measure = |measure| take(evidence, measure, Window::Fault).ok();
        let span = evidence.fault_span().ok();
        Self {
            from_s: span.map(|(from_s, _)| from_s),
            to_s: span.map(|(_, to_s)| to_s),
            rps: rps(evidence, Window::Fault),
            success: measure(Measure::SuccessShare),
            p95_ms: measure(Measure::P95),
            p99_ms: measure(Measure::P99),
            opened_s: measure(Measure::TimeToOpen).filter(|it| it.is_finite()),
            openings: measure(Measure::Openings),
        }
    }
}

/// After the fault; seconds from the last healing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// Until the breaker probed.
    pub half_open_s: Option<f64>,
    /// Until it closed.
    pub closed_s: Option<f64>,
    /// Until requests succeeded with known counts, steadily.
    pub full_s: Option<f64>,
    /// 95th percentile of the recovery phase, milliseconds.
    pub p95_ms: Option<f64>,
}

impl Recovery {
    pub(super) fn of(evidence: &Evidence<'_>) -> Self {
        let healed_s = evidence.fault_span().ok().map(|(_, healed_s)| healed_s);
        let moved = |to: BreakerState| {
            let healed_s = healed_s?;
            let mut moves = evidence.trial().moves.iter();
            let moved = moves.find(|it| it.to == to && it.at_s >= healed_s)?;
            Some(moved.at_s - healed_s)
        };
        let measure = |measure| take(evidence, measure, Window::Recovery).ok();
        Self {
            half_open_s: moved(BreakerState::HalfOpen),
            closed_s: moved(BreakerState::Closed),
            full_s: measure(Measure::FullRecovery).filter(|it| it.is_finite()),
            p95_ms: measure(Measure::P95),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a run has far fewer than 2^53 requests"
)]
fn rps(evidence: &Evidence<'_>, window: Window) -> Option<f64> {
    let phase = if window == Window::Baseline {
        Phase::Baseline
    } else {
        Phase::Fault
    };
    let (from_s, to_s) = evidence.phase(phase).ok()?;
    let requests = evidence.requests(window).ok()?;
    Some(requests.len() as f64 / (to_s - from_s))
}
