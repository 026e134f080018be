//! The metric table: the only place where metric names exist.
//!
//! Envoy's wasm metrics are flat names; `stats_tags` in Envoy's configuration turn the parts
//! `.rule.<rule>` and the like into Prometheus labels. Label values come from the configuration,
//! never from a request.

use crate::breaker::State;
use crate::decision::Decision;
use crate::resp::ErrorClass;

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Takes any value.
    Gauge,
    /// A distribution of recorded values.
    Histogram,
}

/// How a call to Redis ended; one for each batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallResult {
    /// Every reply was usable.
    Ok,
    /// No answer in time.
    Timeout,
    /// No connection, or one that was cut.
    Unreachable,
    /// Bytes that are no answer to what was asked.
    Malformed,
    /// Redis answered with an error that concerns the whole store.
    Error,
}

/// A metric of the module, labels included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Decisions, by rule (its number in the configuration) and decision.
    Requests(u16, Decision),
    /// Microseconds a request was paused.
    WaitUs,
    /// Calls to Redis, one per batch.
    RedisCalls(CallResult),
    /// Error replies of Redis, one per reply.
    RedisErrors(ErrorClass),
    /// Microseconds from sending a call to its end.
    RedisCallUs,
    /// Requests in one call.
    BatchSize,
    /// 1 for the state the breaker is in, 0 for the others.
    BreakerState(State),
    /// Breaker changes, by the new state.
    BreakerTransitions(State),
    /// Probes of an open breaker, by whether Redis answered them.
    BreakerProbes(bool),
    /// Requests paused now, in all workers, as of their last ticks.
    Waiting,
    /// Requests that met `redis.max_waiting` others.
    WaitingFull,
    /// Keys for which a table had no room: they shared a local bucket, or asked Redis although
    /// they were known to be over their limit.
    Evictions,
    /// Requests refused by one rule whose tokens of another could not be given back.
    RefundsDropped,
    /// Refusals known without asking Redis.
    DenyCacheHits,
    /// Configurations refused, once by each VM that was asked to take them.
    ConfigRejected,
    /// Requests that passed on tokens taken from Redis before they came.
    LeaseHits,
    /// Outcomes of calls that the shared breaker record had no room to take: too many workers
    /// wrote at once.
    BreakerConflicts,
}

const CALL_RESULTS: [CallResult; 5] = [
    CallResult::Ok,
    CallResult::Timeout,
    CallResult::Unreachable,
    CallResult::Malformed,
    CallResult::Error,
];
const STATES: [State; 3] = [State::Closed, State::Open, State::HalfOpen];

impl Metric {
    /// Every metric of a configuration with these rules, in a fixed order.
    pub fn all(rules: u16) -> Vec<Self> {
        let mut all = vec![
            Self::WaitUs,
            Self::RedisCallUs,
            Self::BatchSize,
            Self::Waiting,
            Self::WaitingFull,
            Self::Evictions,
            Self::DenyCacheHits,
            Self::LeaseHits,
            Self::RefundsDropped,
            Self::ConfigRejected,
            Self::BreakerConflicts,
            Self::BreakerProbes(true),
            Self::BreakerProbes(false),
        ];
        all.extend(CALL_RESULTS.map(Self::RedisCalls));
        all.extend(ErrorClass::ALL.map(Self::RedisErrors));
        all.extend(STATES.map(Self::BreakerState));
        all.extend(STATES.map(Self::BreakerTransitions));
        for rule in 0..rules {
            all.extend(Decision::ALL.map(|decision| Self::Requests(rule, decision)));
        }
        all
    }

    /// Counter, gauge or histogram.
    pub const fn kind(self) -> Kind {
        match self {
            Self::WaitUs | Self::RedisCallUs | Self::BatchSize => Kind::Histogram,
            Self::BreakerState(_) | Self::Waiting => Kind::Gauge,
            _ => Kind::Counter,
        }
    }

    /// The flat name that Envoy knows it by. `rule_name` gives the name of a rule by its number.
    pub fn name<'a>(self, rule_name: impl Fn(u16) -> &'a str) -> String {
        match self {
            Self::Requests(rule, decision) => format!(
                "velocitygate_requests_total.rule.{}.decision.{decision}",
                rule_name(rule)
            ),
            Self::WaitUs => "velocitygate_wait_us".into(),
            Self::RedisCalls(result) => {
                format!("velocitygate_redis_calls_total.result.{}", result.label())
            }
            Self::RedisErrors(class) => {
                format!("velocitygate_redis_errors_total.class.{}", class.metric())
            }
            Self::RedisCallUs => "velocitygate_redis_call_us".into(),
            Self::BatchSize => "velocitygate_batch_size".into(),
            Self::BreakerState(state) => {
                format!("velocitygate_breaker_state.state.{}", state.label())
            }
            Self::BreakerTransitions(to) => {
                format!("velocitygate_breaker_transitions_total.to.{}", to.label())
            }
            Self::BreakerProbes(answered) => format!(
                "velocitygate_breaker_probes_total.result.{}",
                if answered { "ok" } else { "failed" }
            ),
            Self::Waiting => "velocitygate_waiting".into(),
            Self::WaitingFull => "velocitygate_waiting_full_total".into(),
            Self::Evictions => "velocitygate_evictions_total".into(),
            Self::RefundsDropped => "velocitygate_refunds_dropped_total".into(),
            Self::LeaseHits => "velocitygate_lease_hits_total".into(),
            Self::DenyCacheHits => "velocitygate_deny_cache_hits_total".into(),
            Self::ConfigRejected => "velocitygate_config_rejected_total".into(),
            Self::BreakerConflicts => "velocitygate_breaker_conflicts_total".into(),
        }
    }
}

impl CallResult {
    /// The `result` label of `velocitygate_redis_calls_total`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Malformed => "malformed",
            Self::Error => "error",
        }
    }
}
