//! What the log says of calls that fail. The breaker tells of its changes alone: without this, an
//! outage that it is not told of, or not yet, would be a number in a metric and nothing else.

use super::reading::Reading;
use crate::metrics::CallResult;
use crate::units::{Instant, Micros};

/// A worker complains no more often; the metrics count every failure.
const EVERY: Micros = Micros::from_secs(60);

/// The most bytes that are quoted of what Redis said.
const QUOTED_MAX: usize = 120;

/// When a worker complained.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    last: Option<Instant>,
}

impl Complaints {
    /// The line for a call that was read so, if there is to be one.
    pub(super) fn about(&mut self, reading: &Reading, now: Instant) -> Option<String> {
        let is_due = self.last.is_none_or(|last| now.since(last) >= EVERY);
        if reading.result == CallResult::Ok || !is_due {
            return None;
        }
        self.last = Some(now);
        let result = reading.result.label();
        let said = reading.said.as_deref();
        let said = said.map_or_else(String::new, |said| format!(", {said:?}"));
        Some(format!("redis call failed: {result}{said}"))
    }
}

/// The beginning of what Redis said, fit for a log.
pub(super) fn quoted(error: &[u8]) -> String {
    let bytes = error.iter().take(QUOTED_MAX);
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
