//! What a request is counted by: the text of a key, and the Redis key that holds its counter.
//!
//! Distinct tuples of parts must give distinct texts, or a client could spend another's limit. So:
//! - parts are joined by `|`;
//! - in a part every byte but letters, digits and `-._~:/@+=,` is written `%XX`, upper-case hex, so
//!   that neither `|` nor a brace (which would cut Redis's hash tag short) occurs in it;
//! - a part that is absent is `%-`, one that has several values is `%*`, and one longer than
//!   [`VALUE_BYTES_MAX`] is `%#` and the first 128 bits of its SHA-256. `-`, `*` and `#` are not hex
//!   digits, so no value can spell a marker.
//!
//! The text can be read back part by part; only two long values whose digests collide (2^64 tries,
//! both values chosen by the same client) share one.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::pairs::Pair;
use super::{Request, address};
use crate::config::{KEY_PARTS_MAX, KEY_PREFIX_BYTES_MAX, RULE_NAME_BYTES_MAX};

/// The longest value, in bytes, that stands in a key as it is; longer ones are hashed.
pub const VALUE_BYTES_MAX: usize = 128;

/// The most values of one name that are held against a list of refused keys; a request with more
/// may be any of them.
const VALUES_MAX: usize = 64;

/// The longest Redis key, in bytes, that any configuration and any request can produce: every byte
/// of every part escaped to three.
pub const REDIS_KEY_BYTES_MAX: usize = KEY_PREFIX_BYTES_MAX
    + ":{".len()
    + RULE_NAME_BYTES_MAX
    + ":".len()
    + KEY_PARTS_MAX * (3 * VALUE_BYTES_MAX + "|".len())
    + "}:tb".len();

const SEPARATOR: char = '|';
const MISSING: &str = "%-";
const HASHED: &str = "%#";
/// One counter for all requests that give a header, a parameter or a cookie different values: which
/// of them the upstream takes is not known here, and a client must not gain a counter by adding one.
const SEVERAL: &str = "%*";
/// Bytes of the digest that are kept: 128 bits.
const DIGEST_BYTES: usize = 16;
const HEX: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
];

/// The parts of a rule's key, in order. Without parts the rule has one counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRecipe {
    /// At most [`KEY_PARTS_MAX`].
    pub parts: Vec<Part>,
}

/// One part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The value of the header of this lower-case name; an empty value is present.
    Header(String),
    /// The client's address cut to a network of this many bits.
    ClientIp {
        /// Bits kept of an IPv4 address, or of one mapped into IPv6; 1 to 32.
        v4: u8,
        /// Bits kept of an IPv6 address; 1 to 128.
        v6: u8,
    },
    /// The method.
    Method,
    /// The host, see [`Request::host`].
    Host,
    /// The path without its query.
    Path,
    /// The parameter of this name in the query.
    Query(String),
    /// The cookie of this name.
    Cookie(String),
    /// Metadata: that of the request when it has this, else that of its route.
    Metadata(MetadataPaths),
    /// The property of this path.
    Property(Vec<String>),
    /// A fixed text.
    Value(String),
}

/// Where the host keeps one entry of metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataPaths {
    dynamic: Vec<String>,
    route: Vec<String>,
}

impl MetadataPaths {
    /// The entry below these keys, of which the first is the filter's name.
    pub fn new(keys: &[String]) -> Self {
        let below = |root: &[&str]| {
            let root = root.iter().map(|key| (*key).to_owned());
            root.chain(keys.iter().cloned()).collect()
        };
        Self {
            dynamic: below(&["metadata", "filter_metadata"]),
            route: below(&["xds", "route_metadata", "filter_metadata"]),
        }
    }
}

/// What a request is counted by under one rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key {
    /// The parts, encoded as the module's head says; printable ASCII.
    pub text: String,
    /// Whether a part was absent.
    pub missing: bool,
}

impl Key {
    /// The key of a request whose parts have these values.
    pub fn of(values: &[&str]) -> Self {
        let mut key = Self::default();
        for (index, value) in values.iter().enumerate() {
            key.separate(index);
            write_value(value.as_bytes(), &mut key.text);
        }
        key
    }

    /// Whether a part had several values, so that the counter is that of all such requests.
    pub fn has_several(&self) -> bool {
        self.text.contains(SEVERAL)
    }

    fn separate(&mut self, index: usize) {
        if index > 0 {
            self.text.push(SEPARATOR);
        }
    }
}

impl KeyRecipe {
    /// The key of a request. An absent part is marked as such, so the text is the counter that
    /// requests lacking it share; each further part still counts apart.
    pub fn key(&self, request: &Request<'_>) -> Key {
        let mut key = Key::default();
        for (index, part) in self.parts.iter().enumerate() {
            key.separate(index);
            match part.pair(request) {
                Pair::One(value) => write_value(&value, &mut key.text),
                Pair::Several => key.text.push_str(SEVERAL),
                Pair::Absent => {
                    key.missing = true;
                    key.text.push_str(MISSING);
                }
            }
        }
        key
    }

    /// The keys that a request may have; for one whose key [has several](Key::has_several) values.
    pub fn readings(&self, request: &Request<'_>) -> Readings {
        Readings(self.parts.iter().map(|it| it.texts(request)).collect())
    }
}

/// What a request with several values of one name may be for its upstream: any of these texts in
/// each part, where `None` is any text.
#[derive(Debug)]
pub struct Readings(Vec<Option<Vec<String>>>);

impl Readings {
    /// Whether the request may be one of this key.
    pub fn include(&self, text: &str) -> bool {
        let mut parts = text.split(SEPARATOR).zip(&self.0);
        parts.all(|(part, texts)| match texts {
            Some(texts) => texts.iter().any(|text| text == part),
            None => true,
        })
    }
}

impl Part {
    /// What the values of a request amount to.
    fn pair<'r>(&'r self, request: &'r Request<'_>) -> Pair<'r> {
        let mut pair = Pair::Absent;
        self.for_each(request, &mut |value| pair.add(value));
        pair
    }

    /// The texts of its values, or `None` when they are too many.
    fn texts(&self, request: &Request<'_>) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        self.for_each(request, &mut |value| {
            if texts.len() <= VALUES_MAX {
                let mut text = String::new();
                write_value(&value, &mut text);
                texts.push(text);
            }
        });
        (texts.len() <= VALUES_MAX).then_some(texts)
    }

    /// Shows each value of a request, in their order.
    fn for_each<'r>(&'r self, request: &'r Request<'_>, see: &mut dyn FnMut(Cow<'r, [u8]>)) {
        let value = match self {
            Self::Header(name) => {
                return request
                    .header_values(name)
                    .for_each(|value| see(value.into()));
            }
            Self::Query(name) => return request.parameters(name).for_each(see),
            Self::Cookie(name) => return request.cookies(name).for_each(see),
            Self::ClientIp { v4, v6 } => request.client_ip().map(|ip| {
                address::network(ip, *v4, *v6)
                    .to_string()
                    .into_bytes()
                    .into()
            }),
            Self::Method => request.method(),
            Self::Host => request.host(),
            Self::Path => request.path().map(Into::into),
            Self::Metadata(MetadataPaths { dynamic, route }) => {
                let found = request.property(dynamic);
                found.or_else(|| request.property(route)).map(Into::into)
            }
            Self::Property(path) => request.property(path).map(Into::into),
            Self::Value(fixed) => Some(fixed.as_bytes().into()),
        };
        value.into_iter().for_each(see);
    }
}

/// The key in Redis of what an algorithm counts: `<prefix>:{<rule>:<key>}:<tag>`, with the tag of
/// the algorithm. The braces make rule and key the hash tag, so all that belongs to one counter
/// lives in one slot of a cluster.
///
/// Printable ASCII, at most [`REDIS_KEY_BYTES_MAX`] bytes for arguments of a validated
/// configuration. Unambiguous because neither `prefix` nor `rule` can hold a colon or a brace.
pub fn redis_key(prefix: &str, rule: &str, key: &Key, tag: &str) -> String {
    format!("{prefix}:{{{rule}:{}}}:{tag}", key.text)
}

fn write_value(value: &[u8], text: &mut String) {
    if value.len() <= VALUE_BYTES_MAX {
        value.iter().for_each(|&byte| write_byte(byte, text));
    } else {
        text.push_str(HASHED);
        let digest = Sha256::digest(value);
        digest
            .iter()
            .take(DIGEST_BYTES)
            .for_each(|&byte| write_hex(byte, text));
    }
}

fn write_byte(byte: u8, text: &mut String) {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => text.push(byte.into()),
        b'-' | b'.' | b'_' | b'~' | b':' | b'/' | b'@' | b'+' | b'=' | b',' => {
            text.push(byte.into());
        }
        _ => {
            text.push('%');
            write_hex(byte, text);
        }
    }
}

fn write_hex(byte: u8, text: &mut String) {
    text.extend(
        [byte >> 4, byte & 0x0f]
            .iter()
            .filter_map(|&nibble| HEX.get(usize::from(nibble))),
    );
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
