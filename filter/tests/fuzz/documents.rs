//! Configurations: JSON, Structs, and what is nearly one of them.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;
use prost::Message as _;
use serde_json::{Value, json};
use velocitygate::config::{Config, PROBLEMS_MAX};

use crate::bytes::{edited, edits};
use crate::harness::{fuzz, within};

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "true",
    "-1",
    "0",
    "1.5",
    "1e999",
    "1000000001",
    "18446744073709551616",
    "9007199254740993",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"%\"",
    "\"1us\"",
    "\"366d\"",
    "\"99999999999999999999d\"",
    "\"off\"",
    "\"regex\": \"(a*)*\",",
    "\"([a-z]{9}){9}\"",
    "\"prefix\"",
    "\"cost\": 0,",
    "\"rules\"",
    "\"name\": \"r\",",
    "\"burst\": 1000000000,",
    "\"requests\": 1,",
    "\"client_ip\": {}",
    "\u{12}",
    "\n",
    "\u{202e}",
];

/// What a document may take beside what it is: the compiled expressions of many rules.
const COMPILED_BYTES: usize = 64 << 20;
/// A node of the tree for each byte, with room to grow.
const TIMES: usize = 200;

/// The documents that the tests know as valid.
pub(crate) fn valid() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config/valid");
    let files = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3);
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// A valid document with a few changes.
pub(crate) fn nearly_valid() -> impl Strategy<Value = Vec<u8>> {
    (select(valid()), edits(WORDS)).prop_map(|(document, edits)| edited(document, &edits))
}

/// A valid document of which some values are others.
fn wrongly_valued() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        8 => select(vec![
            json!(null), json!(true), json!(-1), json!(0), json!(1), json!(1.5), json!(1e300),
            json!(1_000_000_001), json!(u64::MAX), json!(""), json!("\n\u{1b}[0m"), json!("\u{202e}"),
            json!("1us"), json!("366d"), json!("99999999999999999999d"), json!("off"), json!("%"),
            json!("/a\u{0}b"), json!({}), json!([]), json!([[[]]]), json!({ "\n": 1 }), json!({ "regex": "(" }),
            json!({ "exact": "a", "prefix": "b" }), json!("x".repeat(5_000)),
        ]),
        1 => ".{0,80}".prop_map(Value::String),
    ];
    let changes = prop::collection::vec((any::<usize>(), value), 0..4);
    (select(valid()), changes).prop_map(|(document, changes)| {
        let mut tree: Value = serde_json::from_slice(&document).unwrap();
        for (at, value) in changes {
            let mut place = at % size(&tree);
            replace(&mut tree, &mut place, &value);
        }
        tree
    })
}

/// Values of a tree, itself included.
fn size(tree: &Value) -> usize {
    1 + match tree {
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum(),
        _ => 0,
    }
}

/// Replaces the value that comes after `place` others.
fn replace(tree: &mut Value, place: &mut usize, value: &Value) -> bool {
    if *place == 0 {
        *tree = value.clone();
        return true;
    }
    *place -= 1;
    match tree {
        Value::Array(items) => items.iter_mut().any(|item| replace(item, place, value)),
        Value::Object(fields) => fields
            .values_mut()
            .any(|field| replace(field, place, value)),
        _ => false,
    }
}

fn as_struct(json: &[u8]) -> Option<Vec<u8>> {
    let value: Value = serde_json::from_slice(json).ok()?;
    match message(&value).kind? {
        prost_types::value::Kind::StructValue(fields) => Some(fields.encode_to_vec()),
        _ => None,
    }
}

fn message(value: &Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => Kind::ListValue(prost_types::ListValue {
            values: items.iter().map(message).collect(),
        }),
        Value::Object(fields) => Kind::StructValue(prost_types::Struct {
            fields: fields
                .iter()
                .map(|(name, value)| (name.clone(), message(value)))
                .collect(),
        }),
    };
    prost_types::Value { kind: Some(kind) }
}

/// Reads a document and holds what must be true of any. `Err` is how many problems there are.
fn read(document: &[u8]) -> Result<Config, usize> {
    let bound = COMPILED_BYTES + TIMES * document.len();
    match within(bound, || Config::parse(document)) {
        Ok(config) => Ok(config),
        Err(problems) => {
            let line = problems.to_string();
            let forged = line.chars().find(|it| it.is_control());
            assert_eq!(forged, None, "a control character in {line:?}");
            assert!(problems.count() > 0 && !line.is_empty());
            assert!(problems.lines().count() <= PROBLEMS_MAX + 1);
            assert!(line.len() <= PROBLEMS_MAX * 2_000, "{} bytes", line.len());
            Err(problems.count())
        }
    }
}

#[test]
fn fuzz_documents_of_any_bytes() {
    let deep = select(&["[", "{\"a\":", "\u{a}\u{2}\u{12}\u{2}", "\u{12}"][..]);
    let deep = (deep, 1usize..5_000).prop_map(|(open, times)| open.repeat(times).into_bytes());
    let any = prop_oneof![4 => prop::collection::vec(any::<u8>(), 0..400), 1 => deep];
    fuzz("documents_of_any_bytes", 200, &any, |document| {
        let _ = read(&document);
    });
}

#[test]
fn fuzz_documents_that_are_nearly_valid() {
    fuzz(
        "documents_that_are_nearly_valid",
        150,
        &nearly_valid(),
        |document| {
            let _ = read(&document);
        },
    );
}

#[test]
fn fuzz_documents_with_wrong_values() {
    fuzz(
        "documents_with_wrong_values",
        150,
        &wrongly_valued(),
        |tree| {
            let document = tree.to_string().into_bytes();
            let json = read(&document);
            if let Some(same) = as_struct(&document).filter(|it| !it.is_empty()) {
                assert_eq!(read(&same), json, "as a Struct");
            }
        },
    );
}

#[test]
fn fuzz_structs_that_are_nearly_valid() {
    let structs: Vec<_> = valid()
        .iter()
        .map(|json| as_struct(json).unwrap())
        .collect();
    let tags = &[
        "\u{a}",
        "\u{12}",
        "\u{1a}",
        "\u{0}",
        "\u{7f}",
        "\u{11}",
        "*",
        "2",
        "rules",
        "\u{10ffff}",
    ];
    let input = (select(structs), edits(tags)).prop_map(|(bytes, edits)| edited(bytes, &edits));
    fuzz("structs_that_are_nearly_valid", 200, &input, |bytes| {
        let _ = read(&bytes);
    });
}
