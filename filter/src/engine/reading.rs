//! What the end of a call means: for each group of requests, for the breaker and for the metrics.

use super::effect::CallEnd;
use super::group::{Done, Group};
use crate::breaker::{Cause, Outcome};
use crate::metrics::CallResult;
use crate::resp::{self, ErrorClass, Reply};

/// What became of one group.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum GroupAnswer {
    Done(Done),
    /// Redis does not know the script: nothing was charged, the group may be asked again.
    Unscripted,
    /// The keys live in different slots of a Redis Cluster: nothing was charged, each may be asked
    /// for apart.
    Scattered,
    /// The count is unknown.
    Unknown,
}

/// A call, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// One answer for each group, in their order.
    pub(super) answers: Vec<GroupAnswer>,
    pub(super) result: CallResult,
    pub(super) outcome: Outcome,
    pub(super) errors: Vec<ErrorClass>,
}

/// Reads how a call ended; its first `texts` commands carried the script's text. A reply that does
/// not fit its question makes all of them unknown: after it, no reply can be matched to a
/// question with certainty.
pub(super) fn read(groups: &[Group], texts: usize, end: CallEnd<'_>) -> Reading {
    let bytes = match end {
        CallEnd::Replied(bytes) => bytes,
        CallEnd::TimedOut => return failed(groups, CallResult::Timeout, Cause::Timeout),
        CallEnd::Unreachable => {
            return failed(groups, CallResult::Unreachable, Cause::Unreachable);
        }
        CallEnd::Malformed => return malformed(groups),
    };
    match resp::decode_all(bytes, groups.len()) {
        Ok(replies) => read_replies(groups, texts, &replies),
        Err(_) => malformed(groups),
    }
}

fn read_replies(groups: &[Group], texts: usize, replies: &[Reply<'_>]) -> Reading {
    let mut reading = Reading {
        answers: Vec::with_capacity(groups.len()),
        result: CallResult::Ok,
        outcome: Outcome::Excluded,
        errors: Vec::new(),
    };
    let mut away = None;
    for (number, (group, reply)) in groups.iter().zip(replies).enumerate() {
        let answer = match reply {
            Reply::Error(text) => match ErrorClass::of(text) {
                ErrorClass::Crossslot if group.buckets.len() > 1 => reading.scattered(),
                class if class.is_of_a_shard() => {
                    away = away.or_else(|| cause(class));
                    reading.unknown(class)
                }
                class => reading.error(class, number < texts),
            },
            _ => {
                let Ok(done) = group.read(reply) else {
                    return malformed(groups);
                };
                reading.answered();
                GroupAnswer::Done(done)
            }
        };
        reading.answers.push(answer);
    }
    // While other shards of a Redis Cluster answer, the store is not away.
    if let (Some(cause), Outcome::Excluded) = (away, reading.outcome) {
        reading.outcome = Outcome::Failure(cause);
    }
    reading
}

impl Reading {
    /// Redis does not know the script.
    pub(super) fn lacks_script(&self) -> bool {
        self.answers.contains(&GroupAnswer::Unscripted)
    }

    /// Redis did its work for a group: a success, unless another group met a failure.
    fn answered(&mut self) {
        if self.outcome == Outcome::Excluded {
            self.outcome = Outcome::Success;
        }
    }

    /// The store is a Redis Cluster, and well.
    fn scattered(&mut self) -> GroupAnswer {
        self.errors.push(ErrorClass::Crossslot);
        self.answered();
        GroupAnswer::Scattered
    }

    /// An error reply; `loaded` when the command carried the script's text.
    fn error(&mut self, class: ErrorClass, loaded: bool) -> GroupAnswer {
        if class == ErrorClass::Noscript && !loaded {
            self.errors.push(class);
            return GroupAnswer::Unscripted;
        }
        match cause(class) {
            Some(cause) => self.outcome = Outcome::Failure(cause),
            // Redis answered; what is wrong is this key alone.
            None => self.answered(),
        }
        self.unknown(class)
    }

    fn unknown(&mut self, class: ErrorClass) -> GroupAnswer {
        self.errors.push(class);
        self.result = match class {
            ErrorClass::Unreachable => CallResult::Unreachable,
            _ => CallResult::Error,
        };
        GroupAnswer::Unknown
    }
}

/// The cause that an error of the whole store feeds to the breaker; `None` for errors that say
/// nothing about the store.
const fn cause(class: ErrorClass) -> Option<Cause> {
    match class {
        ErrorClass::Oom => Some(Cause::Oom),
        ErrorClass::Readonly => Some(Cause::Readonly),
        ErrorClass::Loading => Some(Cause::Loading),
        ErrorClass::Busy => Some(Cause::Busy),
        ErrorClass::Misconf => Some(Cause::Misconf),
        ErrorClass::Auth => Some(Cause::Auth),
        ErrorClass::Cluster => Some(Cause::Cluster),
        // A store that forgets a script while it runs it, or can run none, serves nobody.
        ErrorClass::MaxClients | ErrorClass::Unsupported | ErrorClass::Noscript => {
            Some(Cause::Other)
        }
        ErrorClass::Unreachable => Some(Cause::Unreachable),
        ErrorClass::Crossslot | ErrorClass::Wrongtype | ErrorClass::Other => None,
    }
}

fn malformed(groups: &[Group]) -> Reading {
    failed(groups, CallResult::Malformed, Cause::Malformed)
}

fn failed(groups: &[Group], result: CallResult, cause: Cause) -> Reading {
    Reading {
        answers: groups.iter().map(|_| GroupAnswer::Unknown).collect(),
        result,
        outcome: Outcome::Failure(cause),
        errors: Vec::new(),
    }
}
