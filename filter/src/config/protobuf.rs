//! A `google.protobuf.Struct` in its wire format, which is how Envoy hands one over, read into the
//! same tree as JSON.
//!
//! Messages (`google/protobuf/struct.proto`): a Struct is repeated entries (1) of a key (1) and a
//! Value (2); a ListValue is repeated Values (1); a Value is one of null (1), number (2), string
//! (3), bool (4), Struct (5) and ListValue (6). Numbers are doubles: whole ones are whole here.

use super::document::{DEPTH_MAX, Node};

/// Doubles hold every whole number below this, 2^53, and none of them twice.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Why bytes are no Struct.
pub(super) type Malformed = &'static str;

const CUT_SHORT: Malformed = "it ends too early";
const UNKNOWN: Malformed = "it has a field that a Struct has not";
const NOT_UTF8: Malformed = "it has a text that is not UTF-8";
const TOO_DEEP: Malformed = "it is nested too deep";
const LONG_NUMBER: Malformed = "it has a number of more than 64 bits";

/// Reads a Struct. Takes memory in proportion to its bytes, which the caller bounds.
pub(super) fn parse(bytes: &[u8]) -> Result<Node, Malformed> {
    object(bytes, DEPTH_MAX)
}

fn object(bytes: &[u8], depth: usize) -> Result<Node, Malformed> {
    let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
    let mut members = Vec::new();
    let mut message = Message(bytes);
    while let Some(field) = message.next()? {
        match field {
            (1, Field::Bytes(entry)) => members.push(member(entry, depth)?),
            _ => return Err(UNKNOWN),
        }
    }
    Ok(Node::Object(members))
}

fn member(bytes: &[u8], depth: usize) -> Result<(String, Node), Malformed> {
    let (mut name, mut node) = (String::new(), Node::Null);
    let mut message = Message(bytes);
    while let Some(field) = message.next()? {
        match field {
            (1, Field::Bytes(bytes)) => name = text(bytes)?,
            (2, Field::Bytes(bytes)) => node = value(bytes, depth)?,
            _ => return Err(UNKNOWN),
        }
    }
    Ok((name, node))
}

fn list(bytes: &[u8], depth: usize) -> Result<Node, Malformed> {
    let depth = depth.checked_sub(1).ok_or(TOO_DEEP)?;
    let mut items = Vec::new();
    let mut message = Message(bytes);
    while let Some(field) = message.next()? {
        match field {
            (1, Field::Bytes(item)) => items.push(value(item, depth)?),
            _ => return Err(UNKNOWN),
        }
    }
    Ok(Node::List(items))
}

/// Of several kinds the last one counts, as in every protobuf reader.
fn value(bytes: &[u8], depth: usize) -> Result<Node, Malformed> {
    let mut node = Node::Null;
    let mut message = Message(bytes);
    while let Some(field) = message.next()? {
        node = match field {
            (1, Field::Varint(_)) => Node::Null,
            (2, Field::Fixed(bits)) => number(f64::from_bits(bits)),
            (3, Field::Bytes(bytes)) => Node::Text(text(bytes)?),
            (4, Field::Varint(flag)) => Node::Flag(flag != 0),
            (5, Field::Bytes(bytes)) => object(bytes, depth)?,
            (6, Field::Bytes(bytes)) => list(bytes, depth)?,
            _ => return Err(UNKNOWN),
        };
    }
    Ok(node)
}

fn number(number: f64) -> Node {
    if number.fract() == 0.0 && (0.0..WHOLE_MAX).contains(&number) {
        Node::Whole(number as u64)
    } else {
        Node::Real(number)
    }
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(bytes.to_vec()).map_err(|_| NOT_UTF8)
}

/// The rest of a message.
struct Message<'b>(&'b [u8]);

/// One field's content, by its wire type. The fourth, 32 bits, occurs in no Struct.
enum Field<'b> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'b [u8]),
}

impl<'b> Message<'b> {
    /// The next field and its number; `None` at the end.
    fn next(&mut self) -> Result<Option<(u64, Field<'b>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => {
                let (bits, rest) = self.0.split_first_chunk().ok_or(CUT_SHORT)?;
                self.0 = rest;
                Field::Fixed(u64::from_le_bytes(*bits))
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| CUT_SHORT)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(CUT_SHORT)?;
                self.0 = rest;
                Field::Bytes(bytes)
            }
            _ => return Err(UNKNOWN),
        };
        Ok(Some((tag >> 3, field)))
    }

    /// Seven bits a byte, the lowest first; the last byte has its top bit clear.
    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(CUT_SHORT)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits.checked_shl(shift).unwrap_or_default();
            if shifted >> shift != bits {
                return Err(LONG_NUMBER);
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(LONG_NUMBER)
    }
}

#[cfg(test)]
#[path = "protobuf_tests.rs"]
mod tests;
