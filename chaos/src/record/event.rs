//! The events of a record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use crate::observe::BreakerState;

/// Version of the record's format; a reader refuses any other.
pub const VERSION: u32 = 3;

/// One line of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first line.
    Header(Header),
    /// A scenario begins. All that follows, until its end, belongs to it.
    Scenario {
        /// The scenario file's text.
        text: String,
        /// When it began, in UTC, as RFC 3339.
        started: String,
        /// A hash of the filter's configuration, to tell runs apart.
        config_hash: String,
    },
    /// A phase begins.
    Phase {
        /// When.
        at_s: f64,
        /// Which.
        phase: Phase,
    },
    /// One request of the client.
    Request(Request),
    /// One reading of an observer.
    Sample(Sample),
    /// An observer could not read; expected while Redis is down.
    Missed {
        /// When.
        at_s: f64,
        /// Who.
        source: Source,
        /// Why.
        reason: String,
    },
    /// A fault was injected or healed.
    Fault(FaultAction),
    /// The breaker changed, by Envoy's log.
    Breaker(BreakerMove),
    /// The scenario ended.
    End {
        /// When.
        at_s: f64,
        /// What broke in the suite itself, if anything did.
        failure: Option<String>,
    },
}

/// The record's first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`VERSION`].
    pub version: u32,
    /// `CHAOS-YYYYMMDD-NNN`.
    pub run_id: String,
    /// The scenarios that were to run, by id: what is missing proves nothing.
    pub planned: Vec<String>,
    /// What it ran on.
    pub environment: Environment,
}

/// What a run ran on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// The commit of the working tree, `-dirty` when it had changes.
    pub commit: String,
    /// Kind of stack.
    pub stack: String,
    /// Processors the machine offers.
    pub cores: u64,
    /// Version of each tool, as it says itself.
    pub versions: BTreeMap<String, String>,
}

/// The phases of a scenario, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Connections open, scripts load; nothing is judged.
    Warmup,
    /// The steady state.
    Baseline,
    /// The faults happen.
    Fault,
    /// Everything is healed.
    Recovery,
}

/// One request as the client saw it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// When the plan wanted it sent.
    pub due_s: f64,
    /// How much later it was sent, microseconds: the generator's own lateness.
    pub late_us: u64,
    /// From the planned send time to the end of the answer, microseconds.
    pub took_us: u64,
    /// It carried the hot key.
    pub hot: bool,
    /// What came of it.
    pub outcome: Outcome,
}

impl Request {
    /// It was admitted; or refused by a limit that it was meant to meet.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.outcome.is_success() || (self.hot && self.outcome == Outcome::Refused)
    }

    /// When its answer was complete, seconds from the start.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a latency is far below 2^53 microseconds"
    )]
    pub fn done_s(&self) -> f64 {
        self.due_s + self.took_us as f64 / 1e6
    }

    /// When it was sent, seconds from the start.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a lateness is far below 2^53 microseconds"
    )]
    pub fn sent_s(&self) -> f64 {
        self.due_s + self.late_us as f64 / 1e6
    }
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// 200 with a `RateLimit` header: admitted, the count is known.
    Counted,
    /// 200 without: admitted, the count is unknown.
    Uncounted,
    /// 429 with a `RateLimit` header: refused by a limit, the count is known.
    Refused,
    /// 429 without: refused by the fallback.
    RefusedUncounted,
    /// 503 with `x-velocitygate: unavailable`: refused because Redis is away.
    Unavailable,
    /// Any other answer.
    Other(u16),
    /// No answer: the connection failed or broke.
    Broken,
    /// No answer within the client's own patience.
    Silent,
    /// Never sent: too many were in flight, and the run proves nothing.
    NotSent,
}

impl Outcome {
    /// Answered with 200.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Self::Counted | Self::Uncounted)
    }

    /// The count was known.
    #[must_use]
    pub fn is_counted(self) -> bool {
        matches!(self, Self::Counted | Self::Refused)
    }

    /// A client would call it an error: a 5xx, or no answer. Refusals by a limit are none.
    #[must_use]
    pub fn is_error(self) -> bool {
        match self {
            Self::Counted
            | Self::Uncounted
            | Self::Refused
            | Self::RefusedUncounted
            | Self::NotSent => false,
            Self::Other(status) => status >= 500,
            Self::Unavailable | Self::Broken | Self::Silent => true,
        }
    }

    /// Whether anybody behind the client saw it cannot be told.
    #[must_use]
    pub fn is_unknown(self) -> bool {
        matches!(self, Self::Broken | Self::Silent)
    }
}

/// Who observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Envoy's stats, the filter's among them.
    Envoy,
    /// Envoy's access log, read once it is complete.
    AccessLog,
    /// Redis `INFO`.
    Redis,
    /// The upstream's own count.
    Upstream,
    /// The operating system's view of the processes.
    Process,
}

/// One reading of an observer: names to numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// When.
    pub at_s: f64,
    /// Who.
    pub source: Source,
    /// What.
    pub values: BTreeMap<String, f64>,
}

/// Something was done to the path to Redis, or to Redis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultAction {
    /// When it began to be done.
    pub at_s: f64,
    /// Injected or healed.
    pub action: Action,
    /// Which fault.
    pub fault: String,
    /// What the fault's tool said was in force afterwards.
    pub read_back: serde_json::Value,
}

/// Injected or healed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The fault is in force.
    Inject,
    /// The fault is gone.
    Heal,
}

/// One change of the breaker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakerMove {
    /// When, by Envoy's log.
    pub at_s: f64,
    /// Before.
    pub from: BreakerState,
    /// After.
    pub to: BreakerState,
    /// As the filter gave it.
    pub reason: String,
}
