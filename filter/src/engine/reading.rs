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
pub(super) struct Reading<'a> {
    /// One answer for each group, in their order.
    pub(super) answers: Vec<GroupAnswer>,
    pub(super) result: CallResult,
    pub(super) outcome: Outcome,
    pub(super) errors: Vec<ErrorClass>,
    /// The error that `result` is of.
    pub(super) said: Option<(ErrorClass, &'a [u8])>,
}

/// Reads how a call ended; its first `texts` commands carried the script's text. A reply that does
/// not fit its question makes all of them unknown: after it, no reply can be matched to a
/// question with certainty.
pub(super) fn read<'a>(groups: &[Group], texts: usize, end: CallEnd<'a>) -> Reading<'a> {
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

fn read_replies<'a>(groups: &[Group], texts: usize, replies: &[Reply<'a>]) -> Reading<'a> {
    let mut reading = Reading {
        answers: Vec::with_capacity(groups.len()),
        result: CallResult::Ok,
        outcome: Outcome::Excluded,
        errors: Vec::new(),
        said: None,
    };
    for (number, (group, reply)) in groups.iter().zip(replies).enumerate() {
        let answer = match reply {
            Reply::Error(text) => reading.error(text, group, number < texts),
            _ => match group.read(reply) {
                Ok(done) => GroupAnswer::Done(done),
                Err(_) => return malformed(groups),
            },
        };
        reading.answers.push(answer);
    }
    if reading.has_count() {
        reading.outcome = Outcome::Success;
    }
    reading
}

impl<'a> Reading<'a> {
    /// Redis does not know the script.
    pub(super) fn lacks_script(&self) -> bool {
        self.answers.contains(&GroupAnswer::Unscripted)
    }

    /// Some shard did its work: what others said is their own trouble, and no failure of the store.
    fn has_count(&self) -> bool {
        let mut answers = self.answers.iter();
        answers.any(|answer| matches!(answer, GroupAnswer::Done(_) | GroupAnswer::Scattered))
    }

    /// An error reply to a group; `loaded` when its command carried the script's text.
    fn error(&mut self, text: &'a [u8], group: &Group, loaded: bool) -> GroupAnswer {
        let class = ErrorClass::of(text);
        self.errors.push(class);
        match class {
            ErrorClass::Crossslot if group.buckets.len() > 1 => return GroupAnswer::Scattered,
            ErrorClass::Noscript if !loaded => return GroupAnswer::Unscripted,
            _ => {}
        }
        // A store that says what is wrong may hang up then, as before a login: the end of the
        // connection says less.
        if class == ErrorClass::Unreachable && matches!(self.outcome, Outcome::Failure(_)) {
            return GroupAnswer::Unknown;
        }
        self.said = Some((class, text));
        match cause(class) {
            Some(cause) => self.outcome = Outcome::Failure(cause),
            // Redis answered; what is wrong is this key alone.
            None if self.outcome == Outcome::Excluded => self.outcome = Outcome::Success,
            None => {}
        }
        self.result = match class {
            ErrorClass::Unreachable => CallResult::Unreachable,
            _ => CallResult::Error,
        };
        GroupAnswer::Unknown
    }
}

/// The cause that an error feeds to the breaker; `None` for those that are known to concern one key
/// alone. Any other is a failure of the store, however new: a store that only says what nobody
/// understands serves nobody.
const fn cause(class: ErrorClass) -> Option<Cause> {
    match class {
        ErrorClass::Oom => Some(Cause::Oom),
        ErrorClass::Readonly => Some(Cause::Readonly),
        ErrorClass::Loading => Some(Cause::Loading),
        ErrorClass::Busy => Some(Cause::Busy),
        ErrorClass::Misconf => Some(Cause::Misconf),
        ErrorClass::Auth => Some(Cause::Auth),
        ErrorClass::Cluster | ErrorClass::Crossslot => Some(Cause::Cluster),
        // A store that forgets a script while it runs it, or can run none, serves nobody.
        ErrorClass::MaxClients
        | ErrorClass::Unsupported
        | ErrorClass::Noscript
        | ErrorClass::Other => Some(Cause::Other),
        ErrorClass::Unreachable => Some(Cause::Unreachable),
        ErrorClass::Wrongtype | ErrorClass::Script => None,
    }
}

fn malformed(groups: &[Group]) -> Reading<'static> {
    failed(groups, CallResult::Malformed, Cause::Malformed)
}

fn failed(groups: &[Group], result: CallResult, cause: Cause) -> Reading<'static> {
    Reading {
        answers: groups.iter().map(|_| GroupAnswer::Unknown).collect(),
        result,
        outcome: Outcome::Failure(cause),
        errors: Vec::new(),
        said: None,
    }
}
