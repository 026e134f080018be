//! RESP2, the protocol Redis speaks: commands out, replies in.
//!
//! The grammar exists once. [`Scanner`] walks it over bytes in any pieces, keeps none of them and
//! counts whole replies; [`decode_all`] is the same walk over bytes that are all there, building
//! the values as it goes. Neither recurses, and neither reserves what a peer merely claims.
//!
//! Source: Redis serialization protocol specification, RESP2 types
//! (<https://redis.io/docs/latest/develop/reference/protocol-spec/>). Inline commands and the
//! types of RESP3 are refused: no script of ours returns them, and we never say `HELLO 3`.

use crate::config::RULES_MAX;
use crate::matching::REDIS_KEY_BYTES_MAX;

mod decode;
pub mod encode;
mod error_class;
mod lexer;
mod malformed;
mod scanner;
#[cfg(test)]
mod tests;

pub use decode::{Reply, are_commands, decode_all, decode_commands};
pub use error_class::ErrorClass;
pub use malformed::{Cause, Malformed};
pub use scanner::Scanner;

/// Bytes of the longest reply with all its parts. A script answers with three integers of at most
/// 23 bytes for each rule.
pub const MAX_REPLY_BYTES: usize = 64 * 1024;

/// Elements of the longest array in a reply.
pub const MAX_ELEMENTS: usize = 1024;

/// Bytes of the longest command: room for the longest key of every rule there can be.
pub const MAX_COMMAND_BYTES: usize = 1024 * 1024;

/// Words of the longest command: a key and four numbers for every rule there can be.
pub const MAX_COMMAND_WORDS: usize = 2048;

// What the configuration allows must fit, or requests that it accepts could never be counted.
const _: () = {
    assert!(3 * RULES_MAX < MAX_ELEMENTS);
    assert!(4 + 5 * RULES_MAX <= MAX_COMMAND_WORDS);
    assert!(RULES_MAX * (REDIS_KEY_BYTES_MAX + 5 * MAX_WORD_OVERHEAD) <= MAX_COMMAND_BYTES);
};

/// Bytes of a number, or of what surrounds a key, in a command.
const MAX_WORD_OVERHEAD: usize = 32;

/// What a stream of values may hold at most.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Bytes of one whole value.
    bytes: usize,
    /// Elements of one array.
    elements: usize,
}

impl Limits {
    const REPLY: Self = Self {
        bytes: MAX_REPLY_BYTES,
        elements: MAX_ELEMENTS,
    };
    const COMMAND: Self = Self {
        bytes: MAX_COMMAND_BYTES,
        elements: MAX_COMMAND_WORDS,
    };
}

/// Arrays inside one another; 1 is an array of plain values.
pub const MAX_DEPTH: usize = 4;

/// Bytes of the longest line, without its type byte and its CR LF. Only error texts come near.
pub const MAX_LINE_BYTES: usize = 8 * 1024;
