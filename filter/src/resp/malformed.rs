//! Why bytes are not the replies that were asked for.

use std::fmt;

/// The first fault found in a stream of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Bytes of the stream that were in order before the fault showed.
    pub offset: usize,
    /// What is wrong there.
    pub cause: Cause,
}

/// What is wrong with a stream of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A reply starts with a byte that is none of `+-:$*`.
    UnknownType(u8),
    /// A line ends in something other than CR LF.
    BadLineEnd,
    /// An integer or a length is not decimal, or does not fit 64 bits.
    BadNumber,
    /// A length below zero that is not the -1 of a null.
    NegativeLength,
    /// The bytes of a bulk string run past its stated length.
    BulkOverrun,
    /// A line is longer than [`MAX_LINE_BYTES`](super::MAX_LINE_BYTES).
    LineTooLong,
    /// A reply is longer, or says it will be, than [`MAX_REPLY_BYTES`](super::MAX_REPLY_BYTES).
    ReplyTooLong,
    /// An array claims more than [`MAX_ELEMENTS`](super::MAX_ELEMENTS).
    TooManyElements,
    /// Arrays are nested deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    TooDeep,
    /// Bytes follow the last reply that was asked for.
    Surplus,
    /// The bytes end before the last reply that was asked for does.
    Truncated,
}

impl Cause {
    /// True when the bytes may be good RESP but exceed one of our limits.
    pub const fn is_limit(self) -> bool {
        matches!(
            self,
            Self::LineTooLong | Self::ReplyTooLong | Self::TooManyElements | Self::TooDeep
        )
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownType(byte) => return write!(f, "unknown type byte 0x{byte:02x}"),
            Self::BadLineEnd => "line does not end in cr lf",
            Self::BadNumber => "not a 64-bit decimal number",
            Self::NegativeLength => "negative length",
            Self::BulkOverrun => "bulk string longer than its stated length",
            Self::LineTooLong => "line too long",
            Self::ReplyTooLong => "reply too long",
            Self::TooManyElements => "too many array elements",
            Self::TooDeep => "arrays nested too deep",
            Self::Surplus => "more bytes than the replies asked for",
            Self::Truncated => "fewer bytes than the replies asked for",
        })
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.cause, self.offset)
    }
}

impl std::error::Error for Malformed {}
