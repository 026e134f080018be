//! What the log says of calls that fail. The breaker tells of its changes alone: without this, an
//! outage that it is not told of, or not yet, would be a number in a metric and nothing else.

use super::reading::Reading;
use crate::metrics::CallResult;
use crate::resp::ErrorClass;
use crate::units::{Instant, Micros};

/// A worker complains of one kind of failure no more often; the metrics count every one.
const EVERY: Micros = Micros::from_secs(60);

/// The most bytes that are quoted of what Redis said.
const QUOTED_MAX: usize = 120;

/// How a call failed, and by which error.
type Kind = (CallResult, Option<ErrorClass>);

/// When a worker last complained of each kind, of which there are few.
#[derive(Debug, Default)]
pub(super) struct Complaints(Vec<(Kind, Instant)>);

impl Complaints {
    /// The line for a call that was read so, if there is to be one.
    pub(super) fn about(&mut self, reading: &Reading<'_>, now: Instant) -> Option<String> {
        if reading.result == CallResult::Ok {
            return None;
        }
        let said = reading.said;
        let kind = (reading.result, said.map(|(class, _)| class));
        match self.0.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, last)) if now.since(*last) < EVERY => return None,
            Some((_, last)) => *last = now,
            None => self.0.push((kind, now)),
        }
        let said = said.map_or_else(String::new, |(_, said)| format!(", {:?}", quoted(said)));
        Some(format!(
            "redis call failed: {}{said}",
            reading.result.label()
        ))
    }
}

/// The beginning of what Redis said, fit for a log: without the arguments that it repeats where it
/// does not know a command, since keys are among them.
fn quoted(error: &[u8]) -> String {
    let arguments = b", with args";
    let end = error
        .windows(arguments.len())
        .position(|it| it == arguments);
    let bytes = error.iter().take(end.unwrap_or(QUOTED_MAX).min(QUOTED_MAX));
    let printable = |byte: u8| matches!(byte, b' '..=b'~');
    bytes
        .map(|&byte| {
            if printable(byte) {
                char::from(byte)
            } else {
                '?'
            }
        })
        .collect()
}
