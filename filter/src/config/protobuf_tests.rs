//! A Struct is the same configuration as the JSON that it stands for, with the same problems.

use std::path::Path;

use proptest::prelude::*;
use serde_json::Value as Json;

use super::super::tests::{any_json, parse as parse_json};
use super::*;
use crate::config::Config;

fn varint(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 & 0x7f | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    varint(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn encoded_value(json: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    match json {
        Json::Null => out.extend([1 << 3, 0]),
        Json::Bool(flag) => out.extend([4 << 3, u8::from(*flag)]),
        Json::Number(number) => {
            out.push(2 << 3 | 1);
            out.extend(number.as_f64().unwrap().to_le_bytes());
        }
        Json::String(text) => field(3, text.as_bytes(), &mut out),
        Json::Object(_) => field(5, &encoded(json), &mut out),
        Json::Array(items) => {
            let mut list = Vec::new();
            for item in items {
                field(1, &encoded_value(item), &mut list);
            }
            field(6, &list, &mut out);
        }
    }
    out
}

/// The Struct of a JSON object.
fn encoded(json: &Json) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in json.as_object().unwrap() {
        let mut entry = Vec::new();
        field(1, name.as_bytes(), &mut entry);
        field(2, &encoded_value(value), &mut entry);
        field(1, &entry, &mut out);
    }
    out
}

/// The same document with each number as a double would have it, and with few digits: serde_json
/// reads long ones inexactly.
fn as_doubles(json: Json) -> Json {
    match json {
        Json::Number(number) => {
            match self::number((number.as_f64().unwrap() % 1e6 * 8.0).trunc() / 8.0) {
                Node::Whole(whole) => whole.into(),
                Node::Real(real) => real.into(),
                other => panic!("{other:?}"),
            }
        }
        Json::Array(items) => items.into_iter().map(as_doubles).collect(),
        Json::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, as_doubles(value)))
            .collect(),
        other => other,
    }
}

#[test]
fn every_valid_file_is_the_same_configuration_as_a_struct() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config/valid");
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let json: Json = serde_json::from_str(&text).unwrap();
        let config = Config::parse(&encoded(&json)).unwrap();
        assert_eq!(config, Config::parse(text.as_bytes()).unwrap(), "{text}");
    }
}

#[test]
fn whole_doubles_are_whole_and_others_are_not() {
    for (double, node) in [
        (0.0, Node::Whole(0)),
        (1e9, Node::Whole(1_000_000_000)),
        (WHOLE_MAX - 1.0, Node::Whole((1 << 53) - 1)),
        (WHOLE_MAX, Node::Real(WHOLE_MAX)),
        (0.5, Node::Real(0.5)),
        (-1.0, Node::Real(-1.0)),
        (f64::INFINITY, Node::Real(f64::INFINITY)),
    ] {
        assert_eq!(number(double), node);
    }
    assert!(matches!(number(f64::NAN), Node::Real(nan) if nan.is_nan()));
}

#[test]
fn what_is_no_struct_is_refused_with_the_reason() {
    let key = |value: &[u8]| {
        let (mut entry, mut out) = (Vec::new(), Vec::new());
        field(2, value, &mut entry);
        field(1, &entry, &mut out);
        out
    };
    for (bytes, reason) in [
        (b"\x0a\x05\x12".to_vec(), CUT_SHORT),
        (b"\x12\x00".to_vec(), UNKNOWN),
        (b"\x08\x12".to_vec(), UNKNOWN),
        (key(b"\x1a\x01\xff"), NOT_UTF8),
        (key(b"\x11\x00"), CUT_SHORT),
        (key(b"\x15\x00\x00\x00\x00"), UNKNOWN),
        (
            key(b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
            LONG_NUMBER,
        ),
        (
            key(b"\x20\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
            LONG_NUMBER,
        ),
    ] {
        assert_eq!(parse(&bytes), Err(reason), "{bytes:?}");
        let problems = Config::parse(&bytes).unwrap_err().to_string();
        assert!(problems.contains(reason), "{problems}");
    }
    assert!(parse(&key(b"\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")).is_ok());
}

#[test]
fn a_struct_has_a_deepest() {
    let nested = |lists: usize| {
        let mut value = Json::Null;
        for _ in 0..lists {
            value = Json::Array(vec![value]);
        }
        parse(&encoded(&serde_json::json!({ "a": value })))
    };
    assert!(nested(DEPTH_MAX - 1).is_ok());
    assert_eq!(nested(DEPTH_MAX), Err(TOO_DEEP));
}

proptest! {
    #[test]
    fn a_struct_has_the_configuration_or_the_problems_of_its_json(
        redis in any_json(), rules in any_json(),
    ) {
        let json = as_doubles(serde_json::json!({ "redis": redis, "rules": rules }));
        prop_assert_eq!(Config::parse(&encoded(&json)), parse_json(&json));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>, tail: Vec<u8>) {
        let _ = parse(&bytes);
        let mut entry = Vec::new();
        field(2, &[bytes, tail].concat(), &mut entry);
        let _ = parse(&entry);
    }
}
