//! What the bridge writes back to the caller.

use std::fmt;

use super::FAULT_HEADER;
use crate::resp::{Cause, Malformed};

/// Why bytes from the caller are not a call. The caller is this Envoy's HTTP client, so any of
/// these means that the internal listener is wired to something else, or a bug of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not the head of an HTTP request, or too long or with too many headers for one of ours.
    Head,
    /// Not `POST / HTTP/1.1`.
    RequestLine,
    /// A `transfer-encoding`: calls state their length.
    TransferEncoding,
    /// No `content-length`, two of them, none that is a positive number, or one above
    /// [`MAX_BODY_BYTES`](super::MAX_BODY_BYTES).
    ContentLength,
    /// No `x-velocitygate-replies`, two of them, or none from 1 to
    /// [`MAX_REPLIES`](super::MAX_REPLIES).
    Replies,
    /// The body is not exactly as many whole commands as replies are wanted.
    Commands,
    /// More bytes before the call was answered.
    Pipelined,
}

/// Why the bytes from the store cannot be the answer to the call that waits for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not RESP2.
    Malformed,
    /// More than was asked for.
    Surplus,
    /// Perhaps RESP2, but beyond a limit.
    TooLarge,
}

impl Refusal {
    /// The value of the header [`FAULT_HEADER`].
    pub const fn label(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::RequestLine => "request-line",
            Self::TransferEncoding => "transfer-encoding",
            Self::ContentLength => "content-length",
            Self::Replies => "replies",
            Self::Commands => "commands",
            Self::Pipelined => "pipelined",
        }
    }

    /// The whole HTTP response that says so.
    pub fn response(self) -> Vec<u8> {
        failure("400 Bad Request", self.label())
    }
}

impl Fault {
    /// The value of the header [`FAULT_HEADER`].
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Surplus => "surplus",
            Self::TooLarge => "too-large",
        }
    }

    /// The whole HTTP response that says so.
    pub fn response(self) -> Vec<u8> {
        failure("502 Bad Gateway", self.label())
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        match malformed.cause {
            Cause::Surplus => Self::Surplus,
            cause if cause.is_limit() => Self::TooLarge,
            _ => Self::Malformed,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call refused: {}", self.label())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replies refused: {}", self.label())
    }
}

/// The whole HTTP response that carries `replies`, byte for byte, as its body.
pub(super) fn success(replies: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
        replies.len()
    );
    [head.as_bytes(), replies].concat()
}

fn failure(status: &str, label: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\n{FAULT_HEADER}: {label}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    )
    .into_bytes()
}
