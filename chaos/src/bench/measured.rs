//! What one turn measured, and the medians over rounds.

use serde::Serialize;

use super::closed::Tally;
use super::cost::Cost;
use super::open::Latency;
use super::stats::Spread;

/// Of one turn, or medians of several.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Measured {
    /// Requests per second under full load.
    pub(super) rps: f64,
    /// CPU microseconds per request: of Envoy.
    pub(super) envoy_us: f64,
    /// Of the limiter service.
    pub(super) service_us: f64,
    /// Of Redis.
    pub(super) redis_us: f64,
    /// Of the load and the upstream together.
    pub(super) own_us: f64,
    /// Cores that Envoy kept busy; its worker has one.
    pub(super) envoy_cores: f64,
    /// Calls of scripts in Redis under full load.
    pub(super) calls: f64,
    /// The same per request.
    pub(super) calls_per_request: f64,
    /// Length of the full load.
    pub(super) seconds: f64,
    /// Milliseconds at the fixed rate from when a request was due: the median.
    pub(super) p50_ms: f64,
    /// The 99th percentile.
    pub(super) p99_ms: f64,
    /// The generator's own lateness in it, 99th percentile.
    pub(super) late_p99_ms: f64,
}

impl Measured {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a turn has far fewer than 2^53 requests"
    )]
    pub(super) fn new(tally: &Tally, cost: &Cost, latency: &Latency) -> Self {
        let answers = tally.right() as f64;
        let seconds = tally.took.as_secs_f64();
        let us = |cpu_s: f64| cpu_s * 1e6 / answers;
        Self {
            rps: answers / seconds,
            envoy_us: us(cost.envoy_s),
            service_us: us(cost.service_s),
            redis_us: us(cost.redis_s),
            own_us: us(cost.own_s),
            envoy_cores: cost.envoy_s / seconds,
            calls: cost.calls as f64,
            calls_per_request: cost.calls as f64 / answers,
            seconds,
            p50_ms: latency.p50_ms,
            p99_ms: latency.p99_ms,
            late_p99_ms: latency.late_p99_ms,
        }
    }

    /// What a request costs where it is limited: Envoy and the limiter service, without Redis.
    #[must_use]
    pub(super) fn limiting_us(&self) -> f64 {
        self.envoy_us + self.service_us
    }

    /// The median of each number; `None` of nothing.
    #[must_use]
    pub(super) fn median(of: &[Self]) -> Option<Self> {
        let middle = |field: fn(&Self) -> f64| Spread::of(of.iter().map(field)).map(|it| it.median);
        Some(Self {
            rps: middle(|it| it.rps)?,
            envoy_us: middle(|it| it.envoy_us)?,
            service_us: middle(|it| it.service_us)?,
            redis_us: middle(|it| it.redis_us)?,
            own_us: middle(|it| it.own_us)?,
            envoy_cores: middle(|it| it.envoy_cores)?,
            calls: middle(|it| it.calls)?,
            calls_per_request: middle(|it| it.calls_per_request)?,
            seconds: middle(|it| it.seconds)?,
            p50_ms: middle(|it| it.p50_ms)?,
            p99_ms: middle(|it| it.p99_ms)?,
            late_p99_ms: middle(|it| it.late_p99_ms)?,
        })
    }
}

#[cfg(test)]
impl Measured {
    /// A turn that never happened.
    pub(super) fn sample() -> Self {
        Self {
            rps: 1000.0,
            envoy_us: 50.0,
            service_us: 0.0,
            redis_us: 5.0,
            own_us: 20.0,
            envoy_cores: 1.0,
            calls: 0.0,
            calls_per_request: 0.0,
            seconds: 2.0,
            p50_ms: 1.0,
            p99_ms: 2.0,
            late_p99_ms: 0.1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn turn(answers: u64) -> Measured {
        let tally = Tally {
            admitted: answers,
            took: Duration::from_secs(2),
            ..Tally::default()
        };
        let cost = Cost {
            envoy_s: 1.0,
            service_s: 0.5,
            redis_s: 0.25,
            own_s: 0.125,
            calls: answers / 4,
            upstream: answers,
        };
        let latency = Latency {
            p50_ms: 1.0,
            p99_ms: 2.0,
            late_p99_ms: 0.5,
        };
        Measured::new(&tally, &cost, &latency)
    }

    #[test]
    fn cost_is_told_per_request() {
        let turn = turn(10_000);
        assert_eq!(
            (turn.rps, turn.envoy_us, turn.redis_us),
            (5000.0, 100.0, 25.0)
        );
        assert_eq!((turn.limiting_us(), turn.own_us), (150.0, 12.5));
        assert_eq!((turn.envoy_cores, turn.calls_per_request), (0.5, 0.25));
    }

    #[test]
    fn each_number_has_its_own_median() {
        let median = Measured::median(&[turn(1000), turn(4000), turn(2000)]).unwrap();
        assert_eq!((median.rps, median.calls), (1000.0, 500.0));
        assert_eq!(median.p99_ms, 2.0);
        assert_eq!(Measured::median(&[]), None);
    }
}
