//! `key`: what a rule counts by.

use super::value::{Fields, Value, Variant};
use crate::matching::{KeyRecipe, MetadataPaths, Part, VALUE_BYTES_MAX};

/// The most parts of a key.
pub const KEY_PARTS_MAX: usize = 8;
/// The longest fixed value of a key, in bytes: it never needs to be hashed.
pub const VALUE_MAX: usize = VALUE_BYTES_MAX;

/// Bits of an IPv4 address that count when the document names no number: all.
const V4_BITS: u8 = 32;
/// Bits of an IPv6 address that count when the document names no number: the network that one
/// customer gets.
const V6_BITS: u8 = 64;

const PARTS: [Variant<Part>; 10] = [
    ("header", |value| value.header_name().map(Part::Header)),
    ("client_ip", |value| value.object(client_ip)),
    ("method", |value| yes(value, Part::Method)),
    ("host", |value| yes(value, Part::Host)),
    ("path", |value| yes(value, Part::Path)),
    ("query", |value| value.parameter_name().map(Part::Query)),
    ("cookie", |value| value.cookie_name().map(Part::Cookie)),
    ("metadata", metadata),
    ("property", |value| {
        value.property_path().map(Part::Property)
    }),
    ("value", fixed),
];

pub(super) fn read(value: &Value<'_>) -> Option<KeyRecipe> {
    let part = |value: &Value<'_>| value.object(|fields| fields.one_of(&PARTS));
    Some(KeyRecipe {
        parts: value.list((1, KEY_PARTS_MAX), part)?,
    })
}

fn client_ip(fields: &mut Fields<'_, '_>) -> Option<Part> {
    let v4 = fields.or("v4", V4_BITS, |value| bits(value, 32));
    let v6 = fields.or("v6", V6_BITS, |value| bits(value, 128));
    Some(Part::ClientIp { v4: v4?, v6: v6? })
}

fn bits(value: &Value<'_>, max: u8) -> Option<u8> {
    value
        .whole(1..=u64::from(max))
        .and_then(|n| u8::try_from(n).ok())
}

/// `{"method": false}` would be a part that is no part.
fn yes(value: &Value<'_>, part: Part) -> Option<Part> {
    value.yes().map(|()| part)
}

fn metadata(value: &Value<'_>) -> Option<Part> {
    let keys = value.metadata_keys()?;
    Some(Part::Metadata(MetadataPaths::new(&keys)))
}

fn fixed(value: &Value<'_>) -> Option<Part> {
    let text = value.text("a text", VALUE_MAX, |_| true)?;
    Some(Part::Value(text.to_owned()))
}
