//! Every bound of the configuration, at its edge.

use super::tests::{parse, rule, with_rule, with_section};
use super::*;
use serde_json::{Value as Json, json};

#[track_caller]
pub(super) fn edge(inside: &Json, outside: &Json, path: &str) {
    parse(inside).expect("inside the bound");
    let problems = parse(outside).expect_err("outside the bound").to_string();
    assert!(
        problems.starts_with(&format!("{path}: expected ")),
        "{problems}"
    );
    assert!(!problems.contains("; "), "{problems}");
}

#[test]
fn every_number_has_an_edge() {
    let limit = |requests: u64, burst: u64| {
        with_rule(&json!({ "limit": { "requests": requests, "per": "1s", "burst": burst } }))
    };
    edge(
        &limit(TOKENS_MAX, 1),
        &limit(TOKENS_MAX + 1, 1),
        "rules[0].limit.requests",
    );
    edge(&limit(1, 1), &limit(0, 1), "rules[0].limit.requests");
    edge(
        &limit(1, TOKENS_MAX),
        &limit(1, TOKENS_MAX + 1),
        "rules[0].limit.burst",
    );
    edge(&limit(1, 1), &limit(1, 0), "rules[0].limit.burst");
    let cost = |cost: u64| with_rule(&json!({ "cost": cost }));
    edge(&cost(0), &cost(11), "rules[0].cost");
    edge(&cost(10), &cost(TOKENS_MAX + 1), "rules[0].cost");
    let waiting = |n: usize| with_section("redis", &json!({ "max_waiting": n }));
    edge(&waiting(1), &waiting(0), "redis.max_waiting");
    edge(
        &waiting(MAX_WAITING_MAX),
        &waiting(MAX_WAITING_MAX + 1),
        "redis.max_waiting",
    );
    let breaker = |name: &str, n: u16| with_section("breaker", &json!({ name: n }));
    edge(
        &breaker("window", 1),
        &breaker("window", 0),
        "breaker.window",
    );
    edge(
        &breaker("window", Breaker::WINDOW_MAX),
        &breaker("window", Breaker::WINDOW_MAX + 1),
        "breaker.window",
    );
    edge(
        &breaker("minimum_calls", 100),
        &breaker("minimum_calls", 101),
        "breaker.minimum_calls",
    );
    edge(
        &breaker("probes", Breaker::PROBES_MAX),
        &breaker("probes", Breaker::PROBES_MAX + 1),
        "breaker.probes",
    );
    let bits = |name: &str, n: u8| with_rule(&json!({ "key": [{ "client_ip": { name: n } }] }));
    edge(
        &bits("v4", 32),
        &bits("v4", 33),
        "rules[0].key[0].client_ip.v4",
    );
    edge(
        &bits("v6", 128),
        &bits("v6", 129),
        "rules[0].key[0].client_ip.v6",
    );
    edge(
        &bits("v6", 1),
        &bits("v6", 0),
        "rules[0].key[0].client_ip.v6",
    );
}

#[test]
fn every_duration_has_an_edge() {
    let per = |per: &str| with_rule(&json!({ "limit": { "requests": 1, "burst": 1, "per": per } }));
    edge(&per("1ms"), &per("0ms"), "rules[0].limit.per");
    edge(&per("1ms"), &per("999us"), "rules[0].limit.per");
    edge(&per("2ms"), &per("1500us"), "rules[0].limit.per");
    edge(&per("366d"), &per("367d"), "rules[0].limit.per");
    edge(
        &per("31622400000ms"),
        &per("31622400001ms"),
        "rules[0].limit.per",
    );
    let redis = |timeout: &str| with_section("redis", &json!({ "timeout": timeout }));
    edge(&redis("1ms"), &redis("1us"), "redis.timeout");
    edge(&redis("10s"), &redis("10001ms"), "redis.timeout");
    let breaker = |name: &str, span: &str| with_section("breaker", &json!({ name: span }));
    edge(
        &breaker("slow_call", "1us"),
        &breaker("slow_call", "0us"),
        "breaker.slow_call",
    );
    edge(
        &breaker("slow_call", "50ms"),
        &breaker("slow_call", "50001us"),
        "breaker.slow_call",
    );
    edge(
        &breaker("open", "1ms"),
        &breaker("open", "999us"),
        "breaker.open",
    );
    edge(
        &breaker("open", "1h"),
        &breaker("open", "3601s"),
        "breaker.open",
    );
    edge(
        &breaker("max_open", "250ms"),
        &breaker("max_open", "249ms"),
        "breaker.max_open",
    );
    edge(
        &breaker("max_open", "1h"),
        &breaker("max_open", "2h"),
        "breaker.max_open",
    );
}

#[test]
fn every_share_has_an_edge_and_six_decimals() {
    let share = |share: f64| with_rule(&json!({ "local": { "share": share } }));
    edge(&share(1.0), &share(1.000_001), "rules[0].local.share");
    edge(&share(0.000_001), &share(0.0), "rules[0].local.share");
    edge(
        &share(0.123_456),
        &share(0.123_456_7),
        "rules[0].local.share",
    );
    edge(
        &json!({ "rules": [] }),
        &share(-0.5),
        "rules[0].local.share",
    );
}

#[test]
fn every_text_has_a_longest() {
    let redis = |name: &str, n: usize| with_section("redis", &json!({ name: "a".repeat(n) }));
    for (name, max) in [
        ("cluster", CLUSTER_BYTES_MAX),
        ("key_prefix", KEY_PREFIX_BYTES_MAX),
    ] {
        edge(
            &redis(name, max),
            &redis(name, max + 1),
            &format!("redis.{name}"),
        );
        edge(&redis(name, 1), &redis(name, 0), &format!("redis.{name}"));
    }
    let name = |n: usize| with_rule(&json!({ "name": "a".repeat(n) }));
    edge(
        &name(RULE_NAME_BYTES_MAX),
        &name(RULE_NAME_BYTES_MAX + 1),
        "rules[0].name",
    );
    let part = |name: &str, n: usize| with_rule(&json!({ "key": [{ name: "a".repeat(n) }] }));
    for (name, max) in [
        ("header", NAME_BYTES_MAX),
        ("query", NAME_BYTES_MAX),
        ("cookie", NAME_BYTES_MAX),
        ("value", VALUE_MAX),
    ] {
        edge(
            &part(name, max),
            &part(name, max + 1),
            &format!("rules[0].key[0].{name}"),
        );
    }
    let matching = |fields: Json| with_rule(&json!({ "match": fields }));
    let host = |n: usize| matching(json!({ "hosts": ["a".repeat(n)] }));
    edge(
        &host(HOST_BYTES_MAX),
        &host(HOST_BYTES_MAX + 1),
        "rules[0].match.hosts[0]",
    );
    let path = |n: usize| matching(json!({ "path": { "exact": "/".repeat(n) } }));
    edge(
        &path(PATH_BYTES_MAX),
        &path(PATH_BYTES_MAX + 1),
        "rules[0].match.path.exact",
    );
    let segment = |n: usize| with_rule(&json!({ "key": [{ "property": ["a".repeat(n)] }] }));
    edge(
        &segment(PATH_PART_BYTES_MAX),
        &segment(PATH_PART_BYTES_MAX + 1),
        "rules[0].key[0].property[0]",
    );
    let method = |n: usize| matching(json!({ "methods": ["A".repeat(n)] }));
    edge(
        &method(METHOD_BYTES_MAX),
        &method(METHOD_BYTES_MAX + 1),
        "rules[0].match.methods[0]",
    );
}

#[test]
fn every_value_of_a_test_has_a_longest() {
    let matching = |fields: Json| with_rule(&json!({ "match": fields }));
    for (list, named) in [
        ("headers", json!({ "name": "x" })),
        ("query", json!({ "name": "x" })),
        ("property", json!({ "path": ["x"] })),
    ] {
        for (test, max) in [
            ("exact", TEST_VALUE_BYTES_MAX),
            ("prefix", TEST_VALUE_BYTES_MAX),
            ("regex", PATTERN_BYTES_MAX),
        ] {
            let value = |n: usize| {
                let mut item = named.clone();
                item[test] = json!("a".repeat(n));
                matching(json!({ list: [item] }))
            };
            let path = format!("rules[0].match.{list}[0].{test}");
            edge(&value(max), &value(max + 1), &path);
            edge(&value(1), &value(0), &path);
        }
    }
}

#[test]
fn every_list_has_a_longest() {
    let rules = |n: usize| {
        let rules: Vec<_> = (0..n)
            .map(|i| rule(&json!({ "name": format!("r{i}") })))
            .collect();
        json!({ "rules": rules })
    };
    edge(&rules(RULES_MAX), &rules(RULES_MAX + 1), "rules");
    let key = |n: usize| with_rule(&json!({ "key": vec![json!({ "path": true }); n] }));
    edge(&key(KEY_PARTS_MAX), &key(KEY_PARTS_MAX + 1), "rules[0].key");
    edge(&key(1), &key(0), "rules[0].key");
    for (name, min) in [("property", 1), ("metadata", 2)] {
        let path = |n: usize| with_rule(&json!({ "key": [{ name: vec!["a"; n] }] }));
        let at = format!("rules[0].key[0].{name}");
        edge(&path(PATH_PARTS_MAX), &path(PATH_PARTS_MAX + 1), &at);
        edge(&path(min), &path(min - 1), &at);
    }
    let named = json!({ "name": "x", "present": true });
    let lists = [
        ("methods", json!("GET"), METHODS_MAX),
        ("hosts", json!("example.com"), HOSTS_MAX),
        ("headers", named.clone(), TESTS_MAX),
        ("query", named, TESTS_MAX),
        (
            "property",
            json!({ "path": ["x"], "present": true }),
            TESTS_MAX,
        ),
    ];
    for (name, item, max) in lists {
        let list = |n: usize| with_rule(&json!({ "match": { name: vec![item.clone(); n] } }));
        edge(
            &list(max),
            &list(max + 1),
            &format!("rules[0].match.{name}"),
        );
        edge(&list(1), &list(0), &format!("rules[0].match.{name}"));
    }
}

#[test]
fn all_rules_together_have_a_largest_number_of_expressions() {
    let rules = |n: usize| {
        let pattern = json!({ "name": "x", "regex": "a" });
        let rules: Vec<_> = (0..n.div_ceil(TESTS_MAX))
            .map(|index| {
                let left = (n - index * TESTS_MAX).min(TESTS_MAX);
                let tests = json!({ "query": vec![pattern.clone(); left] });
                rule(&json!({ "name": format!("r{index}"), "match": tests }))
            })
            .collect();
        json!({ "rules": rules })
    };
    edge(&rules(PATTERNS_MAX), &rules(PATTERNS_MAX + 1), "rules");
}

#[test]
fn a_bucket_may_take_a_century_to_fill_and_no_longer() {
    // 36525 tokens at one a day are 100 years of 365.25 days.
    let limit = |burst: u64| json!({ "limit": { "requests": 1, "per": "1d", "burst": burst } });
    parse(&with_rule(&limit(36_525))).unwrap();
    let problems = parse(&with_rule(&limit(36_526))).unwrap_err().to_string();
    assert!(
        problems.starts_with("rules[0].limit: filling the bucket"),
        "{problems}"
    );
}

#[test]
fn a_document_has_a_longest_and_a_deepest() {
    let mut document = br#"{"rules":[]}"#.to_vec();
    document.resize(DOCUMENT_BYTES_MAX, b' ');
    Config::parse(&document).unwrap();
    document.push(b' ');
    let problems = Config::parse(&document).unwrap_err().to_string();
    assert_eq!(
        problems,
        "configuration: expected at most 1048576 bytes, found 1048577"
    );

    let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
    let inside = Config::parse(nested(DEPTH_MAX).as_bytes())
        .unwrap_err()
        .to_string();
    assert_eq!(inside, "configuration: expected an object, found a list");
    let outside = Config::parse(nested(DEPTH_MAX + 1).as_bytes())
        .unwrap_err()
        .to_string();
    assert!(outside.contains("recursion limit exceeded"), "{outside}");
}

#[test]
fn problems_beyond_the_bound_are_counted() {
    let rules = |n: usize| json!({ "rules": vec![rule(&json!({ "cost": -1, "shadow": 0 })); n] });
    // Two problems for each rule, and from the second on its name.
    let problems = parse(&rules(RULES_MAX)).unwrap_err();
    assert_eq!(problems.count(), RULES_MAX * 3 - 1);
    let line = problems.to_string();
    assert_eq!(line.split("; ").count(), PROBLEMS_MAX + 1);
    assert!(line.ends_with(&format!("; and {} more", RULES_MAX * 3 - 1 - PROBLEMS_MAX)));
}
