//! Small trials that never happened, for unit tests.

use super::{
    Action, BreakerMove, BreakerState, FaultAction, Outcome, Phase, Request, Sample, Source, Trial,
};
use crate::scenario::Scenario;

/// Phases: warm-up 0 to 1 s, baseline to 2 s, fault to 4 s, recovery to 6 s.
pub(crate) fn trial() -> Trial {
    let text = include_str!("../../scenarios/c-01-redis-unavailable.toml");
    let mut trial = Trial::new(Scenario::parse(text).unwrap(), String::new(), String::new());
    let phases = [
        Phase::Warmup,
        Phase::Baseline,
        Phase::Fault,
        Phase::Recovery,
    ];
    trial.phases = [0.0, 1.0, 2.0, 4.0].into_iter().zip(phases).collect();
    trial.end = Some((6.0, None));
    trial
}

/// A request that was sent when it was due, of no hot key.
pub(crate) fn request(due_s: f64, took_us: u64, outcome: Outcome) -> Request {
    Request {
        due_s,
        late_us: 0,
        took_us,
        hot: false,
        outcome,
    }
}

/// One reading.
pub(crate) fn sample(at_s: f64, source: Source, values: &[(&str, f64)]) -> Sample {
    let values = values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect();
    Sample {
        at_s,
        source,
        values,
    }
}

/// A fault without a name.
pub(crate) fn fault(at_s: f64, action: Action) -> FaultAction {
    FaultAction {
        at_s,
        action,
        fault: String::new(),
        read_back: serde_json::Value::Null,
    }
}

/// Changes of the breaker: when, from, to.
pub(crate) fn moves(list: &[(f64, BreakerState, BreakerState)]) -> Vec<BreakerMove> {
    let moved = |(at_s, from, to): &(f64, BreakerState, BreakerState)| BreakerMove {
        at_s: *at_s,
        from: *from,
        to: *to,
        reason: String::new(),
    };
    list.iter().map(moved).collect()
}
