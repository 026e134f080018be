//! `match`: which requests a rule counts.

use super::scalar::TEST_VALUE_BYTES_MAX;
use super::value::{Value, Variant};
use crate::matching::{
    HostPattern, Matcher, NamedTest, Pattern, PropertyTest, TextTest, ValueTest,
};

/// The most methods of one rule.
pub const METHODS_MAX: usize = 32;
/// The most hosts of one rule.
pub const HOSTS_MAX: usize = 64;
/// The most tests of one rule among headers, and as many among query parameters and properties.
pub const TESTS_MAX: usize = 16;
/// The longest host, in bytes: the longest name that DNS can hold.
pub const HOST_BYTES_MAX: usize = 253;
/// The longest path that a test compares with, in bytes.
pub const PATH_BYTES_MAX: usize = 4_096;
/// The longest method, in bytes.
pub const METHOD_BYTES_MAX: usize = 32;
/// The longest regular expression, in bytes.
pub const PATTERN_BYTES_MAX: usize = 384;

const PATH_TESTS: [Variant<TextTest>; 3] = [
    ("exact", |value| path(value).map(TextTest::Exact)),
    ("prefix", |value| path(value).map(TextTest::Prefix)),
    ("regex", |value| pattern(value).map(TextTest::Regex)),
];
const HEADER_TESTS: [Variant<ValueTest>; 4] = [
    ("exact", |value| header_value(value).map(exact)),
    ("prefix", |value| header_value(value).map(prefix)),
    ("regex", regex),
    ("present", present),
];
/// Of values that may be anything, such as a decoded parameter.
const VALUE_TESTS: [Variant<ValueTest>; 4] = [
    ("exact", |value| any_value(value).map(exact)),
    ("prefix", |value| any_value(value).map(prefix)),
    ("regex", regex),
    ("present", present),
];

pub(super) fn read(value: &Value<'_>) -> Option<Matcher> {
    value.object(|fields| {
        let methods = fields.or("methods", Vec::new(), |value| {
            value.list((1, METHODS_MAX), method)
        });
        let hosts = fields.or("hosts", Vec::new(), |value| {
            value.list((1, HOSTS_MAX), host)
        });
        let path = fields.or("path", Some(None), |value| {
            value.object(|fields| fields.one_of(&PATH_TESTS)).map(Some)
        });
        let headers = fields.or("headers", Vec::new(), |value| {
            value.list((1, TESTS_MAX), header)
        });
        let query = fields.or("query", Vec::new(), |value| {
            value.list((1, TESTS_MAX), parameter)
        });
        let properties = fields.or("property", Vec::new(), |value| {
            value.list((1, TESTS_MAX), property)
        });
        Some(Matcher {
            methods: methods?,
            hosts: hosts?,
            path: path?,
            headers: headers?,
            query: query?,
            properties: properties?,
        })
    })
}

/// Methods are compared in their case, so a lower-case one is a mistake, not a method.
pub(super) fn method(value: &Value<'_>) -> Option<String> {
    let allowed =
        |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    value
        .text(
            "a method in upper case such as \"GET\"",
            METHOD_BYTES_MAX,
            allowed,
        )
        .map(Into::into)
}

/// A name, `*.` and a name, or an IPv6 address in brackets; never with a port, which would not
/// match any host.
fn host(value: &Value<'_>) -> Option<HostPattern> {
    const WHAT: &str = "a host such as \"api.example.com\" or \"*.example.org\", without a port";
    let text = value.text(WHAT, HOST_BYTES_MAX, |byte| byte.is_ascii_graphic())?;
    let host = text.to_ascii_lowercase();
    let pattern = match host.strip_prefix('*') {
        Some(suffix) => suffix
            .strip_prefix('.')
            .is_some_and(is_name)
            .then(|| HostPattern::Suffix(suffix.to_owned())),
        None => is_host(&host).then_some(HostPattern::Exact(host)),
    };
    pattern.or_else(|| value.expected(WHAT))
}

/// One host as requests are taken to have it: in lower case, without the dot that may end it.
pub(super) fn name_of_host(value: &Value<'_>, text: &str) -> Option<String> {
    let host = text.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    if is_host(host) {
        Some(host.to_owned())
    } else {
        value.expected("a host such as \"api.example.com\", without a port")
    }
}

fn is_host(host: &str) -> bool {
    is_name(host) || is_bracketed_v6(host)
}

fn is_name(host: &str) -> bool {
    host.split('.').all(|label| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    })
}

fn is_bracketed_v6(host: &str) -> bool {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

/// A query or a fragment would never match, since tests see the path without them.
pub(super) const A_PATH: &str = "a path that begins with \"/\", without \"?\" or \"#\"";

fn path(value: &Value<'_>) -> Option<String> {
    let path = value.text(A_PATH, PATH_BYTES_MAX, in_path)?;
    if is_path(path) {
        Some(path.to_owned())
    } else {
        value.expected(A_PATH)
    }
}

pub(super) fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(in_path)
}

fn in_path(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"?#".contains(&byte)
}

fn header(value: &Value<'_>) -> Option<NamedTest> {
    value.object(|fields| {
        let name = fields.required("name", Value::header_name);
        let test = fields.one_of(&HEADER_TESTS);
        Some(NamedTest {
            name: name?,
            test: test?,
        })
    })
}

fn parameter(value: &Value<'_>) -> Option<NamedTest> {
    value.object(|fields| {
        let name = fields.required("name", Value::parameter_name);
        let test = fields.one_of(&VALUE_TESTS);
        Some(NamedTest {
            name: name?,
            test: test?,
        })
    })
}

fn property(value: &Value<'_>) -> Option<PropertyTest> {
    value.object(|fields| {
        let path = fields.required("path", Value::property_path);
        let test = fields.one_of(&VALUE_TESTS);
        Some(PropertyTest {
            path: path?,
            test: test?,
        })
    })
}

fn header_value(value: &Value<'_>) -> Option<String> {
    const WHAT: &str = "a header's value without control characters";
    let allowed = |byte: u8| !byte.is_ascii_control();
    value
        .text(WHAT, TEST_VALUE_BYTES_MAX, allowed)
        .map(Into::into)
}

fn any_value(value: &Value<'_>) -> Option<String> {
    value
        .text("a text", TEST_VALUE_BYTES_MAX, |_| true)
        .map(Into::into)
}

const fn exact(text: String) -> ValueTest {
    ValueTest::Is(TextTest::Exact(text))
}

const fn prefix(text: String) -> ValueTest {
    ValueTest::Is(TextTest::Prefix(text))
}

fn regex(value: &Value<'_>) -> Option<ValueTest> {
    pattern(value).map(|pattern| ValueTest::Is(TextTest::Regex(pattern)))
}

fn present(value: &Value<'_>) -> Option<ValueTest> {
    value.flag().map(ValueTest::Present)
}

fn pattern(value: &Value<'_>) -> Option<Pattern> {
    let source = value.text("a regular expression", PATTERN_BYTES_MAX, |_| true)?;
    match Pattern::new(source) {
        Ok(pattern) => Some(pattern),
        Err(problem) => value.expected(format_args!("a regular expression ({problem})")),
    }
}
