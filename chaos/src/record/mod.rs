//! The record of a run: everything that happened, one JSON object a line, in `record.jsonl`.
//!
//! The judge reads nothing else. Times are seconds since the start of the scenario they belong
//! to; the scenario's own text is part of the record, so a run can be judged again for ever.

mod breaker_log;
mod event;
#[cfg(test)]
pub(crate) mod made;
pub mod names;
mod read;
mod write;

pub use breaker_log::parse_breaker_line;
pub use event::{
    Action, BreakerMove, BreakerState, Environment, Event, FaultAction, Header, Outcome, Phase,
    Request, Sample, Source, VERSION,
};
pub use read::{Record, RecordError, Trial};
pub use write::{RECORD_FILE, Recorder};
