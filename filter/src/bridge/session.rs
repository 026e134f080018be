//! One connection from the caller, with one call after another on it.

use std::mem;

use super::MAX_ANSWER_BYTES;
use super::answer::{self, Fault, Refusal};
use super::call::Call;
use crate::resp::{Scanner, are_commands};

/// The two byte streams of one connection.
///
/// The host's buffers are drained at every callback, so what is not finished lives here: at most
/// one call's head and body before it is forwarded, then at most one call's replies.
#[derive(Debug)]
pub struct Session {
    state: State,
}

/// What to do with bytes that came from the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Downstream {
    /// Nothing: the call is not all there.
    Wait,
    /// Hand these RESP bytes on to the store.
    Forward(Vec<u8>),
    /// Answer with [`Refusal::response`], then close.
    Refuse(Refusal),
    /// Close: the session was over before these bytes came.
    Close,
}

/// What to do with bytes that came from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// Nothing: some reply is not all there.
    Wait,
    /// Write this whole HTTP response to the caller.
    Answer(Vec<u8>),
    /// Answer with [`Fault::response`], then close.
    Fail(Fault),
    /// Close: no call waits for these bytes, so there is nothing to answer.
    Close,
}

#[derive(Debug)]
enum State {
    /// A call is coming in, or none has begun. `call` is what its head said, once that is whole.
    Receiving { input: Vec<u8>, call: Option<Call> },
    /// A call is with the store.
    Waiting { scanner: Scanner, replies: Vec<u8> },
    /// The two sides can no longer be matched.
    Over,
}

impl State {
    const IDLE: Self = Self::Receiving {
        input: Vec::new(),
        call: None,
    };
}

impl Default for Session {
    fn default() -> Self {
        Self { state: State::IDLE }
    }
}

impl Session {
    /// Takes bytes from the caller, in pieces cut anywhere. An empty piece changes nothing.
    pub fn on_downstream(&mut self, bytes: &[u8]) -> Downstream {
        let outcome = match &mut self.state {
            State::Over => return Downstream::Close,
            _ if bytes.is_empty() => return Downstream::Wait,
            State::Waiting { .. } => Err(Refusal::Pipelined),
            State::Receiving { input, call } => receive(input, call, bytes),
        };
        match outcome {
            Ok(None) => Downstream::Wait,
            Ok(Some((call, body))) => {
                let scanner = Scanner::new(call.replies);
                self.state = State::Waiting {
                    scanner,
                    replies: Vec::new(),
                };
                Downstream::Forward(body)
            }
            Err(refusal) => {
                self.state = State::Over;
                Downstream::Refuse(refusal)
            }
        }
    }

    /// Takes bytes from the store, in pieces cut anywhere. An empty piece changes nothing.
    pub fn on_upstream(&mut self, bytes: &[u8]) -> Upstream {
        let outcome = match &mut self.state {
            State::Over => return Upstream::Close,
            _ if bytes.is_empty() => return Upstream::Wait,
            State::Receiving { .. } => {
                self.state = State::Over;
                return Upstream::Close;
            }
            State::Waiting { scanner, replies } => collect(scanner, replies, bytes),
        };
        match outcome {
            Ok(None) => Upstream::Wait,
            Ok(Some(replies)) => {
                self.state = State::IDLE;
                Upstream::Answer(answer::success(&replies))
            }
            Err(fault) => {
                self.state = State::Over;
                Upstream::Fail(fault)
            }
        }
    }

    /// Bytes held at the moment.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        match &self.state {
            State::Receiving { input, .. } => input.len(),
            State::Waiting { replies, .. } => replies.len(),
            State::Over => 0,
        }
    }
}

/// Adds `bytes` to the call that is coming in; the call and its body once all is there.
fn receive(
    input: &mut Vec<u8>,
    call: &mut Option<Call>,
    bytes: &[u8],
) -> Result<Option<(Call, Vec<u8>)>, Refusal> {
    input.extend_from_slice(bytes);
    if call.is_none() {
        *call = Call::read(input)?;
    }
    let Some(call) = *call else { return Ok(None) };
    let body = input.get(call.head_bytes..).unwrap_or_default();
    if body.len() > call.body_bytes {
        return Err(Refusal::Pipelined);
    }
    if body.len() < call.body_bytes {
        return Ok(None);
    }
    if !are_commands(body, call.replies) {
        return Err(Refusal::Commands);
    }
    Ok(Some((call, body.to_vec())))
}

/// Adds `bytes` to the replies of the call under way; all of them once they are there.
fn collect(
    scanner: &mut Scanner,
    replies: &mut Vec<u8>,
    bytes: &[u8],
) -> Result<Option<Vec<u8>>, Fault> {
    // What does not fit is not looked at, so that the verdict does not depend on the pieces.
    let room = MAX_ANSWER_BYTES.saturating_sub(replies.len());
    let (fitting, beyond) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
    let missing = scanner.feed(fitting)?;
    match (missing, beyond.is_empty()) {
        (0, false) => Err(Fault::Surplus),
        (_, false) => Err(Fault::TooLarge),
        (missing, true) => {
            replies.extend_from_slice(fitting);
            Ok((missing == 0).then(|| mem::take(replies)))
        }
    }
}
