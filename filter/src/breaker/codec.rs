//! The record as bytes, little endian:
//!
//! ```text
//! version u8 (1) | state u8 | generation u64 | then by state
//!   0 closed     last failure u8 (0 none, else cause + 1) | calls u16 | 2 bits a call, newest first
//!   1 open       until u64 | failed probes u32
//!   2 half-open  failed probes u32 | successes u16 | issued u64 | under way u8 | deadline u64
//! ```
//!
//! Settings are not part of it: whoever reads a record judges it by its own. A window of another
//! size keeps the newest calls that fit; waits and deadlines are cut by [`Record::tick`].

use std::fmt;

use super::record::Phase;
use super::window::Window;
use super::{Cause, Record, Settings};
use crate::units::Instant;

/// The version of the layout; also part of [`super::shared_key`].
pub(super) const VERSION: u8 = 1;

const CLOSED: u8 = 0;
const OPEN: u8 = 1;
const HALF_OPEN: u8 = 2;

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Written by another version of the filter.
    Version(u8),
    /// Shorter or longer than its state asks for.
    Length,
    /// A field holds what no record can hold.
    Field(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(found) => write!(f, "read breaker record of version {found}"),
            Self::Length => f.write_str("read breaker record of this length"),
            Self::Field(name) => write!(f, "read field {name} of breaker record"),
        }
    }
}

impl std::error::Error for DecodeError {}

impl Record {
    /// The record as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        match &self.phase {
            Phase::Closed {
                window,
                last_failure,
            } => {
                bytes.push(CLOSED);
                bytes.extend(self.generation.to_le_bytes());
                bytes.push(code(*last_failure));
                window.encode(&mut bytes);
            }
            Phase::Open {
                until,
                failed_probes,
            } => {
                bytes.push(OPEN);
                bytes.extend(self.generation.to_le_bytes());
                bytes.extend(until.0.to_le_bytes());
                bytes.extend(failed_probes.to_le_bytes());
            }
            Phase::HalfOpen {
                failed_probes,
                successes,
                issued,
                deadline,
            } => {
                bytes.push(HALF_OPEN);
                bytes.extend(self.generation.to_le_bytes());
                bytes.extend(failed_probes.to_le_bytes());
                bytes.extend(successes.to_le_bytes());
                bytes.extend(issued.to_le_bytes());
                bytes.push(u8::from(deadline.is_some()));
                bytes.extend(deadline.unwrap_or_default().0.to_le_bytes());
            }
        }
        bytes
    }

    /// The record that `bytes` hold, for a breaker with these settings.
    ///
    /// # Errors
    /// When the bytes are not exactly what [`Record::encode`] of this version writes.
    pub fn decode(bytes: &[u8], settings: &Settings) -> Result<Self, DecodeError> {
        let mut reader = Reader { rest: bytes };
        let version = reader.u8()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let state = reader.u8()?;
        let generation = reader.u64()?;
        let phase = match state {
            CLOSED => reader.closed(settings)?,
            OPEN => Phase::Open {
                until: Instant(reader.u64()?),
                failed_probes: reader.u32()?,
            },
            HALF_OPEN => Phase::HalfOpen {
                failed_probes: reader.u32()?,
                successes: reader.u16()?,
                issued: reader.u64()?,
                deadline: reader.deadline()?,
            },
            _ => return Err(DecodeError::Field("state")),
        };
        if !reader.rest.is_empty() {
            return Err(DecodeError::Length);
        }
        Ok(Self { generation, phase })
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn closed(&mut self, settings: &Settings) -> Result<Phase, DecodeError> {
        let last_failure = cause(self.u8()?)?;
        let calls = self.u16()?;
        let bits = std::mem::take(&mut self.rest);
        let window = Window::decode(calls, bits, settings.breaker.window)?;
        if window.failed() > 0 && last_failure.is_none() {
            return Err(DecodeError::Field("last failure"));
        }
        Ok(Phase::Closed {
            window,
            last_failure,
        })
    }

    fn deadline(&mut self) -> Result<Option<Instant>, DecodeError> {
        match (self.u8()?, Instant(self.u64()?)) {
            (0, Instant(0)) => Ok(None),
            (1, deadline) => Ok(Some(deadline)),
            _ => Err(DecodeError::Field("deadline")),
        }
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.take().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.take().map(u64::from_le_bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Length)?;
        self.rest = rest;
        Ok(*head)
    }
}

fn code(cause: Option<Cause>) -> u8 {
    let position = cause.and_then(|cause| Cause::ALL.iter().position(|known| *known == cause));
    position.map_or(0, |position| {
        u8::try_from(position).unwrap_or(u8::MAX).saturating_add(1)
    })
}

fn cause(code: u8) -> Result<Option<Cause>, DecodeError> {
    let Some(position) = code.checked_sub(1) else {
        return Ok(None);
    };
    let known = Cause::ALL.get(usize::from(position)).copied();
    known.map(Some).ok_or(DecodeError::Field("last failure"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::breaker::tests::settings;

    fn phase() -> impl Strategy<Value = Phase> {
        let open = any::<(u64, u32)>().prop_map(|(until, failed_probes)| Phase::Open {
            until: Instant(until),
            failed_probes,
        });
        let half_open = any::<(u32, u16, u64, Option<u64>)>().prop_map(
            |(failed_probes, successes, issued, deadline)| Phase::HalfOpen {
                failed_probes,
                successes,
                issued,
                deadline: deadline.map(Instant),
            },
        );
        let causes = prop::sample::select(Cause::ALL.to_vec());
        let marks = prop::collection::vec(any::<(bool, bool)>(), 0..30);
        let closed = (causes, marks).prop_map(|(cause, marks)| {
            let mut window = Window::new(settings().breaker.window);
            for (failed, slow) in marks {
                window.push(crate::breaker::window::Mark { failed, slow });
            }
            Phase::Closed {
                window,
                last_failure: Some(cause),
            }
        });
        prop_oneof![open, half_open, closed]
    }

    fn record() -> impl Strategy<Value = Record> {
        (any::<u64>(), phase()).prop_map(|(generation, phase)| Record { generation, phase })
    }

    proptest! {
        #[test]
        fn a_record_read_back_is_the_one_written(record in record()) {
            prop_assert_eq!(Record::decode(&record.encode(), &settings()), Ok(record));
        }

        #[test]
        fn a_record_cut_short_or_padded_is_refused(record in record(), cut in any::<prop::sample::Index>()) {
            let mut bytes = record.encode();
            prop_assert_eq!(
                Record::decode(&bytes[..cut.index(bytes.len())], &settings()),
                Err(DecodeError::Length)
            );
            bytes.push(0);
            prop_assert_eq!(Record::decode(&bytes, &settings()), Err(DecodeError::Length));
        }

        #[test]
        fn arbitrary_bytes_are_an_error_or_a_record_that_reads_back(
            mut bytes in prop::collection::vec(any::<u8>(), 0..64),
            state in 0u8..4,
            valid_start in any::<bool>(),
        ) {
            if valid_start && bytes.len() > 1 {
                bytes[0] = VERSION;
                bytes[1] = state;
            }
            if let Ok(record) = Record::decode(&bytes, &settings()) {
                prop_assert_eq!(Record::decode(&record.encode(), &settings()), Ok(record));
            }
        }
    }

    #[test]
    fn each_kind_of_damage_is_named() {
        let closed = Record::new(&settings()).encode();
        let damaged = |at: usize, byte: u8| {
            let mut bytes = closed.clone();
            bytes[at] = byte;
            Record::decode(&bytes, &settings())
        };
        assert_eq!(damaged(0, 2), Err(DecodeError::Version(2)));
        assert_eq!(damaged(1, 3), Err(DecodeError::Field("state")));
        assert_eq!(damaged(10, 12), Err(DecodeError::Field("last failure")));
        assert_eq!(damaged(11, 1), Err(DecodeError::Length));
    }

    #[test]
    fn a_window_with_failures_must_say_why_the_last_failed() {
        let mut bytes = Record::new(&settings()).encode();
        bytes[11] = 1;
        bytes.push(0b01);
        let error = Record::decode(&bytes, &settings()).unwrap_err();
        assert_eq!(error, DecodeError::Field("last failure"));
    }

    #[test]
    fn every_cause_has_a_code_of_its_own_and_a_word_of_its_own() {
        for known in Cause::ALL {
            assert_eq!(cause(code(Some(known))), Ok(Some(known)));
        }
        let mut words = Cause::ALL.map(Cause::as_str);
        words.sort_unstable();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
