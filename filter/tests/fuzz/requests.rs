//! Requests: headers, queries, cookies and properties of any bytes, and the keys made of them.

use proptest::prelude::*;
use proptest::sample::select;
use velocitygate::config::{Config, PATTERN_BYTES_MAX};
use velocitygate::matching::{
    Host, PATTERN_VALUE_BYTES_MAX, Pattern, REDIS_KEY_BYTES_MAX, Request, VALUE_BYTES_MAX, is_grpc,
    redis_key,
};

use crate::bytes::{edited, edits};
use crate::harness::{fuzz, within};

const RULES: &str = r#"{ "redis": { "key_prefix": "a-prefix.that_is-long" }, "rules": [
    { "name": "headers", "key": [{ "header": "x" }, { "header": "y" }], "limit": { "requests": 1, "per": "1s" } },
    { "name": "all", "limit": { "requests": 1, "per": "1s" },
      "key": [{ "header": "x" }, { "client_ip": { "v4": 24, "v6": 48 } }, { "method": true }, { "host": true },
              { "path": true }, { "query": "q" }, { "cookie": "c" }, { "metadata": ["ns", "a"] }],
      "match": { "methods": ["GET"] } },
    { "name": "some", "limit": { "requests": 1, "per": "1s" },
      "key": [{ "property": ["xds", "route_name"] }, { "value": "|%{}" }],
      "match": { "hosts": ["*.b.test", "[::1]"], "path": { "regex": "/(a|b)*c?.{0,9}" },
                 "headers": [{ "name": "x", "regex": "(\\w+\\s?){0,9}" }, { "name": "y", "present": false }],
                 "query": [{ "name": "q", "prefix": "a" }], "property": [{ "path": ["source", "address"], "regex": ".*1" }] } }
] }"#;

const WORDS: &[&str] = &[
    "%",
    "%-",
    "%*",
    "%#",
    "%41",
    "%zz",
    "|",
    "{",
    "}",
    ":",
    "/",
    "?",
    "#",
    "&",
    "=",
    ";",
    "+",
    ",",
    "\"",
    "q=",
    "c=",
    "q=a&q=b",
    "%71=1",
    "a.b.test:80",
    "[::1]",
    "..",
    "GET",
    "1.2.3.4:5",
    "[::1]:2",
    "\u{0}",
    "\r\n",
    "\u{fffd}",
];

const EXPRESSIONS: &[&str] = &[
    "a",
    ".",
    "*",
    "+",
    "?",
    "|",
    "(",
    ")",
    "(?:",
    "(?i)",
    "[a-z]",
    "[^",
    "]",
    "{1,9}",
    "{99}",
    "\\w",
    "\\z",
    "\\",
    "^",
    "$",
    "\\x{10FFFF}",
    "(a*)*",
    "(a|a)*",
    "((((((((",
    "é",
];

/// Memory of a request's keys: its values a few times over, and the keys.
const KEY_BYTES: usize = 256 << 10;
/// Memory of compiling one expression, and of one match.
const PATTERN_BYTES: usize = 8 << 20;

#[derive(Debug)]
struct Anybody {
    headers: Vec<(String, Vec<u8>)>,
    properties: Vec<Option<Vec<u8>>>,
}

impl Host for Anybody {
    fn headers(&self) -> Vec<(String, Vec<u8>)> {
        self.headers.clone()
    }

    fn property(&self, path: &[String]) -> Option<Vec<u8>> {
        self.properties
            .get(path.len() % self.properties.len().max(1))?
            .clone()
    }
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::collection::vec(select(WORDS), 0..6);
    let words = words.prop_map(|words| words.concat().into_bytes());
    (words, edits(WORDS)).prop_map(|(base, edits)| edited(base, &edits))
}

fn anybody() -> impl Strategy<Value = Anybody> {
    let names = &[
        "x",
        "y",
        ":method",
        ":authority",
        ":path",
        "cookie",
        "content-type",
    ][..];
    let header = (select(names), value()).prop_map(|(name, value)| (name.to_owned(), value));
    let properties = prop::collection::vec(prop::option::of(value()), 0..4);
    (prop::collection::vec(header, 0..12), properties).prop_map(|(headers, properties)| Anybody {
        headers,
        properties,
    })
}

/// What a part of a key says of a value.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    Absent,
    Several,
    Long,
    Is(Vec<u8>),
}

/// The values that a key's text was made of.
fn read_back(text: &str) -> Vec<Read> {
    let part = |part: &str| match part {
        "%-" => Read::Absent,
        "%*" => Read::Several,
        long if long.starts_with("%#") => Read::Long,
        part => {
            let mut rest = part.bytes();
            let mut value = Vec::new();
            while let Some(byte) = rest.next() {
                value.push(match byte {
                    b'%' => {
                        let digits = [rest.next().unwrap(), rest.next().unwrap()];
                        u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap()
                    }
                    byte => byte,
                });
            }
            Read::Is(value)
        }
    };
    text.split('|').map(part).collect()
}

#[test]
fn fuzz_requests() {
    let config = Config::parse(RULES.as_bytes()).unwrap();
    fuzz("requests", 200, &anybody(), |host| {
        let values = host
            .headers
            .iter()
            .map(|(_, value)| value.len())
            .sum::<usize>();
        let properties = host
            .properties
            .iter()
            .flatten()
            .map(Vec::len)
            .sum::<usize>();
        let bound = KEY_BYTES + 8 * (values + properties);
        let request = Request::new(&host);
        within(bound, || {
            for rule in &config.rules {
                let key = rule.key.key(&request);
                let tag = rule.limit.tag();
                let whole = redis_key(&config.redis.key_prefix, &rule.name, &key, tag);
                assert!(whole.len() <= REDIS_KEY_BYTES_MAX, "{}", whole.len());
                assert!(whole.bytes().all(|byte| byte.is_ascii_graphic()), "{whole}");
                assert_eq!(whole.matches(['{', '}']).count(), 2, "{whole}");
                assert_eq!(key.missing, key.text.split('|').any(|part| part == "%-"));
                let _ = rule.matcher.mismatch(&request);
            }
            assert!(config.applicable(&request).count() <= config.rules.len());
        });
        let key = config.rules[0].key.key(&request);
        let expected = ["x", "y"].map(|name| {
            let mut values = request.header_values(name);
            match values.next() {
                None => Read::Absent,
                Some(first) if values.any(|other| other != first) => Read::Several,
                Some(first) if first.len() > VALUE_BYTES_MAX => Read::Long,
                Some(first) => Read::Is(first.to_vec()),
            }
        });
        assert_eq!(read_back(&key.text), expected);
        let content_type = request.header_values("content-type").next();
        let _ = is_grpc(content_type.unwrap_or_default());
    });
}

#[test]
fn fuzz_expressions() {
    let source = prop::collection::vec(select(EXPRESSIONS), 0..30);
    let source = source.prop_map(|words| words.concat()).boxed();
    let source = prop_oneof![3 => source, 1 => ".{0,60}"];
    let input = (source, prop::collection::vec(value(), 1..4));
    fuzz("expressions", 200, &input, |(source, values)| {
        if source.len() > PATTERN_BYTES_MAX {
            return;
        }
        let Ok(pattern) = within(PATTERN_BYTES, || Pattern::new(&source)) else {
            return;
        };
        assert_eq!(pattern.source(), source);
        let mut left = PATTERN_VALUE_BYTES_MAX;
        for value in values {
            let bound = PATTERN_BYTES + 8 * value.len();
            within(bound, || pattern.try_on(&value, &mut left));
        }
    });
}
