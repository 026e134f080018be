//! The lines of RESP2, one byte after another.
//!
//! Assumes nothing about how the bytes are cut into pieces: everything a later piece needs is in
//! the state, which is a few words whatever the peer sends. Bulk contents are skipped, not read.

use super::{Cause, MAX_ELEMENTS, MAX_LINE_BYTES, MAX_REPLY_BYTES, Malformed};

/// Where in the whole stream some content lies: offsets of its first byte and of the byte after.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A value, or the opening of an array whose elements follow.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token {
    Simple(Span),
    Error(Span),
    Integer(i64),
    Bulk(Option<Span>),
    Array(Option<usize>),
}

/// What a line holds, by its type byte.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Simple,
    Error,
    Integer,
    Bulk,
    Array,
}

/// The number on a line as far as it has come.
#[derive(Clone, Copy, Debug)]
enum Number {
    /// Nothing yet; a sign may still come.
    Empty,
    /// A sign, which is not a number by itself.
    Sign { negative: bool },
    /// At least one digit.
    Digits { negative: bool, value: i64 },
}

/// What stands before a CR LF.
#[derive(Clone, Copy, Debug)]
enum Ended {
    Token(Token),
    /// The length line of a bulk string of that many bytes.
    BulkHeader(usize),
}

#[derive(Clone, Copy, Debug)]
enum State {
    Type,
    Text {
        kind: Kind,
        start: usize,
    },
    Number {
        kind: Kind,
        start: usize,
        number: Number,
    },
    Bulk {
        start: usize,
        end: usize,
    },
    LineFeed(Ended),
}

/// A reader of tokens from pieces of a stream.
#[derive(Debug)]
pub(super) struct Lexer {
    state: State,
    offset: usize,
}

impl Lexer {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Type,
            offset: 0,
        }
    }

    /// Bytes taken from the stream so far.
    pub(super) const fn offset(&self) -> usize {
        self.offset
    }

    /// Takes bytes off the front of `rest` up to the end of the next token; `None` when the piece
    /// ends first.
    pub(super) fn next(&mut self, rest: &mut &[u8]) -> Result<Option<Token>, Malformed> {
        while let Some((&byte, after)) = rest.split_first() {
            if let State::Bulk { end, .. } = self.state
                && self.offset < end
            {
                let run = end.saturating_sub(self.offset).min(rest.len());
                self.offset = self.offset.saturating_add(run);
                *rest = rest.get(run..).unwrap_or_default();
                continue;
            }
            let token = self.on_byte(byte).map_err(|cause| Malformed {
                offset: self.offset,
                cause,
            })?;
            self.offset = self.offset.saturating_add(1);
            *rest = after;
            if token.is_some() {
                return Ok(token);
            }
        }
        Ok(None)
    }

    /// One byte of anything but the inside of a bulk string.
    fn on_byte(&mut self, byte: u8) -> Result<Option<Token>, Cause> {
        self.state = match self.state {
            State::Type => self.on_type(byte)?,
            State::Text { kind, start } => match byte {
                b'\r' => {
                    let span = Span {
                        start,
                        end: self.offset,
                    };
                    State::LineFeed(Ended::Token(match kind {
                        Kind::Error => Token::Error(span),
                        _ => Token::Simple(span),
                    }))
                }
                b'\n' => return Err(Cause::BadLineEnd),
                _ => self.within_line(start)?,
            },
            State::Number { kind, number, .. } if byte == b'\r' => {
                State::LineFeed(kind.ended(number)?)
            }
            State::Number {
                kind,
                start,
                number,
            } => {
                self.within_line(start)?;
                State::Number {
                    kind,
                    start,
                    number: number.then(byte).ok_or(Cause::BadNumber)?,
                }
            }
            State::Bulk { start, end } => match byte {
                b'\r' => State::LineFeed(Ended::Token(Token::Bulk(Some(Span { start, end })))),
                _ => return Err(Cause::BulkOverrun),
            },
            State::LineFeed(_) if byte != b'\n' => return Err(Cause::BadLineEnd),
            State::LineFeed(Ended::BulkHeader(length)) => {
                let start = self.offset.saturating_add(1);
                State::Bulk {
                    start,
                    end: start.saturating_add(length),
                }
            }
            State::LineFeed(Ended::Token(token)) => {
                self.state = State::Type;
                return Ok(Some(token));
            }
        };
        Ok(None)
    }

    fn on_type(&self, byte: u8) -> Result<State, Cause> {
        let start = self.offset.saturating_add(1);
        let number = |kind| State::Number {
            kind,
            start,
            number: Number::Empty,
        };
        Ok(match byte {
            b'+' => State::Text {
                kind: Kind::Simple,
                start,
            },
            b'-' => State::Text {
                kind: Kind::Error,
                start,
            },
            b':' => number(Kind::Integer),
            b'$' => number(Kind::Bulk),
            b'*' => number(Kind::Array),
            _ => return Err(Cause::UnknownType(byte)),
        })
    }

    /// The unchanged state, if the line that began at `start` has room for one more byte.
    fn within_line(&self, start: usize) -> Result<State, Cause> {
        if self.offset.saturating_sub(start) < MAX_LINE_BYTES {
            Ok(self.state)
        } else {
            Err(Cause::LineTooLong)
        }
    }
}

impl Kind {
    /// What a line of this kind means once its number is whole.
    fn ended(self, number: Number) -> Result<Ended, Cause> {
        let Number::Digits { value, .. } = number else {
            return Err(Cause::BadNumber);
        };
        let length = match (self, value) {
            (Self::Integer, _) => return Ok(Ended::Token(Token::Integer(value))),
            (Self::Bulk, -1) => return Ok(Ended::Token(Token::Bulk(None))),
            (_, -1) => return Ok(Ended::Token(Token::Array(None))),
            (_, ..0) => return Err(Cause::NegativeLength),
            // A length beyond the address space is beyond every limit too.
            _ => usize::try_from(value).unwrap_or(usize::MAX),
        };
        match self {
            Self::Bulk if length <= MAX_REPLY_BYTES => Ok(Ended::BulkHeader(length)),
            Self::Bulk => Err(Cause::ReplyTooLong),
            _ if length <= MAX_ELEMENTS => Ok(Ended::Token(Token::Array(Some(length)))),
            _ => Err(Cause::TooManyElements),
        }
    }
}

impl Number {
    /// This number with one more byte; `None` when it is then no 64-bit decimal number.
    fn then(self, byte: u8) -> Option<Self> {
        let (negative, value) = match (self, byte) {
            (Self::Empty, b'-') => return Some(Self::Sign { negative: true }),
            (Self::Empty, b'+') => return Some(Self::Sign { negative: false }),
            (Self::Empty, _) => (false, 0),
            (Self::Sign { negative }, _) => (negative, 0),
            (Self::Digits { negative, value }, _) => (negative, value),
        };
        let digit = i64::from(char::from(byte).to_digit(10)?);
        let tens = value.checked_mul(10)?;
        // Counting down from zero reaches i64::MIN, which has no positive counterpart.
        let value = if negative {
            tens.checked_sub(digit)?
        } else {
            tens.checked_add(digit)?
        };
        Some(Self::Digits { negative, value })
    }
}
