//! Replies as values that borrow the bytes they came in.

use super::lexer::{Span, Token};
use super::scanner::Scanner;
use super::{Cause, Malformed};

/// One RESP2 reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `+`: a status such as `OK`.
    Simple(&'a [u8]),
    /// `-`: an error, whose first word [`ErrorClass::of`](super::ErrorClass::of) sorts.
    Error(&'a [u8]),
    /// `:`: a signed 64-bit integer.
    Integer(i64),
    /// `$`: bytes of any kind; `None` is the null that stands for a missing value.
    Bulk(Option<&'a [u8]>),
    /// `*`: replies in order; `None` is the null array.
    Array(Option<Vec<Self>>),
}

/// Exactly `expected` replies that fill `bytes` to the last.
///
/// # Errors
/// [`Cause::Truncated`] or [`Cause::Surplus`] when the count does not fit the bytes, otherwise
/// what [`Scanner::feed`] says of them. Nothing is decoded unless all is.
pub fn decode_all(bytes: &[u8], expected: usize) -> Result<Vec<Reply<'_>>, Malformed> {
    decode(bytes, Scanner::new(expected))
}

/// Exactly `expected` commands that fill `bytes`, as a store reads them: each an array of words.
///
/// # Errors
/// As [`decode_all`], with the limits of commands.
pub fn decode_commands(bytes: &[u8], expected: usize) -> Result<Vec<Reply<'_>>, Malformed> {
    decode(bytes, Scanner::of_commands(expected))
}

fn decode(bytes: &[u8], mut scanner: Scanner) -> Result<Vec<Reply<'_>>, Malformed> {
    let mut rest = bytes;
    let mut replies = Vec::new();
    // The arrays that are open, each with the elements it has so far, the innermost last. They
    // grow as elements come, whatever length was claimed.
    let mut open: Vec<Vec<Reply<'_>>> = Vec::new();
    while let Some(step) = scanner.step(&mut rest)? {
        let mut value = match step.token {
            Token::Array(Some(elements)) if elements > 0 => {
                open.push(Vec::new());
                continue;
            }
            Token::Array(elements) => Reply::Array(elements.map(|_| Vec::new())),
            Token::Simple(span) => Reply::Simple(content(bytes, span)?),
            Token::Error(span) => Reply::Error(content(bytes, span)?),
            Token::Integer(value) => Reply::Integer(value),
            Token::Bulk(span) => Reply::Bulk(span.map(|span| content(bytes, span)).transpose()?),
        };
        for _ in 0..step.closed {
            let mut array = open.pop().unwrap_or_default();
            array.push(value);
            value = Reply::Array(Some(array));
        }
        open.last_mut().unwrap_or(&mut replies).push(value);
    }
    scanner.finish()?;
    Ok(replies)
}

/// True when `bytes` are exactly `expected` commands, each a non-empty array of bulk strings as
/// [`command`](super::encode::command) writes it: then a store answers with as many replies.
pub fn are_commands(bytes: &[u8], expected: usize) -> bool {
    let mut scanner = Scanner::of_commands(expected);
    let mut rest = bytes;
    let mut inside = false;
    while let Ok(step) = scanner.step(&mut rest) {
        inside = match step {
            None => return scanner.missing() == 0,
            Some(step) => match step.token {
                Token::Array(Some(1..)) if !inside => true,
                Token::Bulk(Some(_)) if inside => step.closed == 0,
                _ => return false,
            },
        };
    }
    false
}

/// The bytes of a token. The lexer has passed them, so they are there; if a bug of ours ever says
/// otherwise, the reply is refused rather than the process ended.
fn content(bytes: &[u8], span: Span) -> Result<&[u8], Malformed> {
    bytes.get(span.start..span.end).ok_or(Malformed {
        offset: span.start,
        cause: Cause::Truncated,
    })
}
