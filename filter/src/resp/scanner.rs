//! Counting whole replies in a stream that comes in pieces.

use super::lexer::{Lexer, Token};
use super::{Cause, MAX_DEPTH, MAX_REPLY_BYTES, Malformed};

/// Watches for a given number of replies, and not a byte more, in pieces cut anywhere.
///
/// Looks at each byte once, skips the contents of bulk strings, keeps none of the bytes, and
/// holds at most [`MAX_DEPTH`] counters. After a fault it stays at that fault.
#[derive(Debug)]
pub struct Scanner {
    lexer: Lexer,
    /// Elements still to come of each array that is open, the innermost last.
    open: Vec<usize>,
    /// Where the reply that is under way began.
    reply_start: usize,
    missing: usize,
    failed: Option<Malformed>,
}

/// A token, and how many open arrays ended with it.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) token: Token,
    pub(super) closed: usize,
}

impl Scanner {
    /// A scanner for `expected` replies; with none expected, every byte is surplus.
    pub const fn new(expected: usize) -> Self {
        Self {
            lexer: Lexer::new(),
            open: Vec::new(),
            reply_start: 0,
            missing: expected,
            failed: None,
        }
    }

    /// Replies that have not yet come whole.
    pub const fn missing(&self) -> usize {
        self.missing
    }

    /// Looks at the next piece of the stream and says how many replies are missing after it.
    ///
    /// # Errors
    /// The first fault, at an offset from the stream's start that does not depend on how the
    /// stream was cut, and the same again ever after.
    pub fn feed(&mut self, mut piece: &[u8]) -> Result<usize, Malformed> {
        while self.step(&mut piece)?.is_some() {}
        Ok(self.missing)
    }

    /// Takes one token off the front of `rest`; `None` when the piece ends first.
    pub(super) fn step(&mut self, rest: &mut &[u8]) -> Result<Option<Step>, Malformed> {
        match self.failed {
            Some(fault) => Err(fault),
            None => self
                .advance(rest)
                .inspect_err(|&fault| self.failed = Some(fault)),
        }
    }

    /// The fault of a stream that ends here, if it ends too early.
    pub(super) fn finish(&self) -> Result<(), Malformed> {
        if self.missing == 0 {
            Ok(())
        } else {
            Err(self.fault(Cause::Truncated))
        }
    }

    fn advance(&mut self, rest: &mut &[u8]) -> Result<Option<Step>, Malformed> {
        if self.missing == 0 && !rest.is_empty() {
            return Err(self.fault(Cause::Surplus));
        }
        let Some(token) = self.lexer.next(rest)? else {
            return Ok(None);
        };
        // A line or a bulk string is bounded by itself, so looking when one ends is soon enough.
        if self.lexer.offset().saturating_sub(self.reply_start) > MAX_REPLY_BYTES {
            return Err(self.fault(Cause::ReplyTooLong));
        }
        let closed = match token {
            Token::Array(Some(elements)) if elements > 0 => {
                if self.open.len() == MAX_DEPTH {
                    return Err(self.fault(Cause::TooDeep));
                }
                self.open.push(elements);
                0
            }
            _ => self.end_value(),
        };
        Ok(Some(Step { token, closed }))
    }

    /// One value is whole. That may end the array it stands in, which is a value in turn; returns
    /// the number of arrays that ended.
    fn end_value(&mut self) -> usize {
        let mut closed: usize = 0;
        while let Some(elements) = self.open.last_mut() {
            *elements = elements.saturating_sub(1);
            if *elements > 0 {
                return closed;
            }
            self.open.pop();
            closed = closed.saturating_add(1);
        }
        self.missing = self.missing.saturating_sub(1);
        self.reply_start = self.lexer.offset();
        closed
    }

    const fn fault(&self, cause: Cause) -> Malformed {
        Malformed {
            offset: self.lexer.offset(),
            cause,
        }
    }
}
