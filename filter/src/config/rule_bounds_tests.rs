//! The bounds of what one rule says of its keys, costs and refusals, at their edges.

use super::bounds_tests::edge;
use super::scalar::{NAME_BYTES_MAX, TEST_VALUE_BYTES_MAX};
use super::tests::{parse, with_rule};
use super::*;
use serde_json::{Value as Json, json};

#[test]
fn overrides_have_bounds() {
    let with = |overrides: Vec<Json>, parts: usize| {
        let key = vec![json!({ "header": "x" }); parts];
        with_rule(&json!({ "key": key, "overrides": overrides }))
    };
    let many = |n: usize| {
        let each = (0..n).map(|n| json!({ "key": [n.to_string()], "deny": true }));
        with(each.collect(), 1)
    };
    let (inside, outside) = (many(OVERRIDES_MAX), many(OVERRIDES_MAX + 1));
    edge(&inside, &outside, "rules[0].overrides");
    let value = |n: usize| with(vec![json!({ "key": ["a".repeat(n)], "deny": true })], 1);
    let at = "rules[0].overrides[0].key[0]";
    edge(&value(VALUE_MAX), &value(VALUE_MAX + 1), at);
    parse(&value(0)).expect("an empty value is a value");
    let parts = |n: usize| with(vec![json!({ "key": vec!["a"; n], "deny": true })], 2);
    edge(&parts(2), &parts(1), "rules[0].overrides[0].key");
    edge(&parts(2), &parts(3), "rules[0].overrides[0].key");
    let fallback = |share: f64| {
        with_rule(&json!({
            "key": [{ "header": "x" }], "cost": 2, "on_failure": "local", "local": { "share": share },
            "overrides": [{ "key": ["a"], "requests": 4 }],
        }))
    };
    parse(&fallback(0.5)).expect("a bucket of 2");
    let problem = parse(&fallback(0.49))
        .expect_err("a bucket of 1")
        .to_string();
    assert!(
        problem.starts_with("rules[0].overrides[0]: this share makes"),
        "{problem}"
    );
}

#[test]
fn a_response_has_bounds() {
    let response = |fields: Json| with_rule(&json!({ "response": fields }));
    let status = |status: u64| response(json!({ "status": status }));
    edge(&status(400), &status(399), "rules[0].response.status");
    edge(&status(599), &status(600), "rules[0].response.status");
    let body = |n: usize| response(json!({ "body": "a".repeat(n) }));
    let (inside, outside) = (body(BODY_BYTES_MAX), body(BODY_BYTES_MAX + 1));
    edge(&inside, &outside, "rules[0].response.body");
    let headers = |n: usize| {
        let fields: Json = (0..n).map(|n| (format!("x-{n}"), json!("v"))).collect();
        response(json!({ "headers": fields }))
    };
    let most = RESPONSE_HEADERS_MAX;
    edge(
        &headers(most),
        &headers(most + 1),
        "rules[0].response.headers",
    );
    edge(&headers(1), &headers(0), "rules[0].response.headers");
    let header = |name: usize, value: usize| {
        response(json!({ "headers": { "a".repeat(name): "v".repeat(value) } }))
    };
    let value = header(1, TEST_VALUE_BYTES_MAX + 1);
    edge(
        &header(NAME_BYTES_MAX, TEST_VALUE_BYTES_MAX),
        &value,
        "rules[0].response.headers.a",
    );
    let problem = parse(&header(NAME_BYTES_MAX + 1, 1))
        .expect_err("too long")
        .to_string();
    assert!(problem.contains("expected this field's name"), "{problem}");
}

#[test]
fn a_cost_of_a_header_has_bounds() {
    let cost = |default: u64, max: u64| {
        with_rule(&json!({ "cost": { "header": "x", "default": default, "max": max } }))
    };
    edge(&cost(0, 10), &cost(0, 11), "rules[0].cost.max");
    edge(&cost(10, 10), &cost(10, 9), "rules[0].cost.default");
    edge(&cost(0, 0), &cost(1, 0), "rules[0].cost.default");
    let large = |limit: u64| {
        let limit = json!({ "requests": limit, "per": "1s" });
        let rule = json!({ "limit": limit, "cost": { "header": "x" } });
        parse(&with_rule(&rule)).unwrap().rules[0].cost.max()
    };
    assert_eq!((large(99), large(100), large(101)), (99, 100, 100));
}
