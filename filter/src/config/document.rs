//! From bytes to a tree. Unlike `serde_json::Value` the tree keeps duplicate fields, so that they
//! can be refused instead of the last one winning silently.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::protobuf;

/// The longest document, in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// The deepest nesting of lists and objects; serde_json's own limit, which bounds the stack.
pub const DEPTH_MAX: usize = 127;

/// The longest text of a value or a name that a problem quotes, in characters.
const SHOWN_MAX: usize = 60;
/// No JSON text can hold this control character; every `google.protobuf.Struct` with a field does,
/// as the tag of that field's value.
const STRUCT_TAG: u8 = 0x12;

/// One value of a document.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Flag(bool),
    Whole(u64),
    /// A number that is negative or not whole.
    Real(f64),
    Text(String),
    List(Vec<Self>),
    /// Fields in the order of the document, duplicates included.
    Object(Vec<(String, Self)>),
}

/// Reads a document: JSON or a Struct. The error says what was expected, and where it is not.
pub(super) fn parse(document: &[u8]) -> Result<Node, String> {
    const EXPECTED: &str =
        "expected JSON in a google.protobuf.StringValue, or a google.protobuf.Struct";
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(format!(
            "expected at most {DOCUMENT_BYTES_MAX} bytes, found {}",
            document.len()
        ));
    }
    if document.is_empty() {
        return Err(format!("{EXPECTED}, found nothing"));
    }
    if document.contains(&STRUCT_TAG) {
        return protobuf::parse(document).map_err(|problem| {
            format!("{EXPECTED}, found binary data that is no Struct: {problem}")
        });
    }
    serde_json::from_slice(document)
        .map_err(|error| format!("{EXPECTED}, found an error in the JSON: {error}"))
}

/// `text` cut to a length that fits a log line.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

impl fmt::Display for Node {
    /// What a problem says was found. Texts are quoted and escaped: a configuration must not be
    /// able to forge log lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Real(number) => f.write_str(&shortened(&number.to_string())),
            Self::Text(text) => write!(f, "{:?}", shortened(text)),
            Self::List(_) => f.write_str("a list"),
            Self::Object(_) => f.write_str("an object"),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Node, E> {
        Ok(Node::Flag(flag))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Whole(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(u64::try_from(number).map_or(Node::Real(number as f64), Node::Whole))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Real(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = access.next_entry()? {
            fields.push(field);
        }
        Ok(Node::Object(fields))
    }
}
