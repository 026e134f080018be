//! All that the core may ask of the shell.

use crate::answer::Answer;
use crate::breaker::Transition;
use crate::decision::Decision;
use crate::metrics::Metric;
use crate::units::Micros;

/// A request's context in the host, as Envoy numbers them.
pub type StreamId = u32;

/// A call to Redis. Never used twice, so that a late answer to one call meets no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// One thing for the shell to do.
#[derive(Debug)]
pub enum Effect {
    /// Come back with [`super::Engine::turn`] in the next turn of the event loop.
    Wake,
    /// Send this body to the bridge, and report what comes of it.
    Call(OutgoingCall),
    /// End the wait of a paused request.
    Finish(StreamId, Verdict),
    /// Add to a counter or a gauge.
    Add(Metric, i64),
    /// Set a gauge or record a value in a histogram.
    Record(Metric, u64),
    /// Log a change of the breaker: a warning when it opens.
    Moved(Transition),
    /// Log a warning.
    Warn(String),
}

/// One HTTP call to the bridge.
#[derive(Debug, PartialEq, Eq)]
pub struct OutgoingCall {
    /// What to report the answer under.
    pub id: CallId,
    /// Pipelined RESP commands.
    pub body: Vec<u8>,
    /// How many replies they get.
    pub replies: usize,
    /// Whole milliseconds, at least 1: the host would read 0 as no timeout at all.
    pub timeout: Micros,
}

/// What becomes of a request, and what to note of it in Envoy's filter state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The decision of the rule that decided.
    pub decision: Decision,
    /// The number of that rule.
    pub rule: u16,
    /// How long the request was paused.
    pub waited: Micros,
    /// Pass or refuse.
    pub action: Action,
}

/// Pass or refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Let it through, and add these fields to the response.
    Pass(Vec<(&'static str, String)>),
    /// Answer it here.
    Refuse(Answer),
}

/// What to do with a request that just arrived.
#[derive(Debug)]
pub enum Step {
    /// No rule applies: let it through, untouched.
    Pass,
    /// Pause it; an [`Effect::Finish`] will come.
    Wait,
    /// Decided at once.
    Done(Verdict),
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd<'a> {
    /// The bridge passed on this many bytes of replies.
    Replied(&'a [u8]),
    /// No answer in time.
    TimedOut,
    /// No connection to Redis, or one that was cut.
    Unreachable,
    /// The bridge saw bytes that are no answer to what was asked.
    Malformed,
}
