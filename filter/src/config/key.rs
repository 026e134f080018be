//! `key`: what a rule counts by, and which values that can have.

use std::borrow::Cow;
use std::net::IpAddr;

use super::matcher;
use super::value::{Fields, Value, Variant};
use crate::matching::{Attribute, KeyRecipe, MetadataPaths, Part, VALUE_BYTES_MAX, network};

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

/// A value of a part in the spelling in which it is counted. One that no request can have is
/// refused: whoever wrote it would take it to be in force. Without a part, any.
#[inline(never)]
pub(super) fn value_of<'d>(value: &Value<'d>, part: Option<&Part>) -> Option<Cow<'d, str>> {
    let text = value.short_text(VALUE_MAX)?;
    match part {
        Some(Part::Header(_)) if text.bytes().any(|byte| b"\0\r\n".contains(&byte)) => {
            value.expected("a header's value, which has no line ends")
        }
        Some(Part::ClientIp { v4, v6 }) => counted_network(value, text, (*v4, *v6)),
        Some(Part::Method) => matcher::method(value).map(Into::into),
        Some(Part::Host) => matcher::name_of_host(value, text).map(Into::into),
        Some(Part::Path) if !matcher::is_path(text) => value.expected(matcher::A_PATH),
        Some(Part::Metadata(_)) => value_of_property(value, text, None),
        Some(Part::Property(path)) => value_of_property(value, text, Attribute::of(path)),
        Some(Part::Value(fixed)) if text != fixed => {
            value.expected(format_args!("{fixed:?}, which this part always is"))
        }
        _ => Some(text.into()),
    }
}

fn value_of_property<'d>(
    value: &Value<'d>,
    text: &'d str,
    attribute: Option<Attribute>,
) -> Option<Cow<'d, str>> {
    let (fits, what) = match attribute {
        Some(Attribute::Number) => (
            text.parse::<u64>().is_ok_and(|it| it.to_string() == text),
            "a whole number, which this attribute is",
        ),
        Some(Attribute::Flag) => (
            ["true", "false"].contains(&text),
            "\"true\" or \"false\", one of which this attribute is",
        ),
        None => (
            !text.is_empty(),
            "a text, since Envoy does not tell an empty value from none",
        ),
    };
    if fits {
        Some(text.into())
    } else {
        value.expected(what)
    }
}

/// The text of a network that is an address as `client_ip` cuts it.
fn counted_network<'d>(value: &Value<'d>, text: &str, (v4, v6): (u8, u8)) -> Option<Cow<'d, str>> {
    let Ok(address) = text.parse::<IpAddr>() else {
        return value.expected("an IP address such as \"203.0.113.7\"");
    };
    let counted = network(address, v4, v6);
    if counted == address.to_canonical() {
        Some(counted.to_string().into())
    } else {
        value.expected(format_args!("the network that is counted, \"{counted}\""))
    }
}
