//! RESP2, the protocol Redis speaks: commands out, replies in.
//!
//! The grammar exists once. [`Scanner`] walks it over bytes in any pieces, keeps none of them and
//! counts whole replies; [`decode_all`] is the same walk over bytes that are all there, building
//! the values as it goes. Neither recurses, and neither reserves what a peer merely claims.
//!
//! Source: Redis serialization protocol specification, RESP2 types
//! (<https://redis.io/docs/latest/develop/reference/protocol-spec/>). Inline commands and the
//! types of RESP3 are refused: no script of ours returns them, and we never say `HELLO 3`.

mod decode;
pub mod encode;
mod error_class;
mod lexer;
mod malformed;
mod scanner;
#[cfg(test)]
mod tests;

pub use decode::{Reply, are_commands, decode_all};
pub use error_class::ErrorClass;
pub use malformed::{Cause, Malformed};
pub use scanner::Scanner;

/// Bytes of the longest reply, or command, with all its parts. A script answers with at most a
/// few hundred integers of 23 bytes; a command's longest part is the text of a script.
pub const MAX_REPLY_BYTES: usize = 64 * 1024;

/// Elements of the longest array.
pub const MAX_ELEMENTS: usize = 1024;

/// Arrays inside one another; 1 is an array of plain values.
pub const MAX_DEPTH: usize = 4;

/// Bytes of the longest line, without its type byte and its CR LF. Only error texts come near.
pub const MAX_LINE_BYTES: usize = 8 * 1024;
