//! The edges of the configuration: bounds, defaults, and documents made to do harm.
//! Mistakes with their exact messages are files, read by `tests/config_files.rs`.

use super::*;
use crate::limit::TokenBucket;
use crate::units::Micros;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn parse(document: &Json) -> Result<Config, Problems> {
    Config::parse(document.to_string().as_bytes())
}

/// The smallest rule, with `fields` put over it.
fn rule(fields: &Json) -> Json {
    let mut rule = json!({ "name": "r", "limit": { "requests": 10, "per": "1s" } });
    let members = fields.as_object().unwrap().clone();
    rule.as_object_mut().unwrap().extend(members);
    rule
}

fn with_rule(fields: &Json) -> Json {
    json!({ "rules": [rule(fields)] })
}

fn with_section(name: &str, section: &Json) -> Json {
    json!({ name: section, "rules": [] })
}

#[track_caller]
fn edge(inside: &Json, outside: &Json, path: &str) {
    parse(inside).expect("inside the bound");
    let problems = parse(outside).expect_err("outside the bound").to_string();
    assert!(
        problems.starts_with(&format!("{path}: expected ")),
        "{problems}"
    );
    assert!(!problems.contains("; "), "{problems}");
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = parse(&with_rule(&json!({}))).unwrap();
    let redis = Redis {
        cluster: "velocitygate_redis".into(),
        timeout: Micros::from_millis(50),
        key_prefix: "vg".into(),
        max_waiting: 1024,
    };
    let breaker = Breaker {
        window: 100,
        minimum_calls: 10,
        failure_rate: Ratio(500_000),
        slow_call: Micros::from_millis(40),
        slow_call_rate: Ratio(800_000),
        open: Micros::from_millis(250),
        max_open: Micros::from_secs(1),
        probes: 3,
    };
    assert_eq!(config.redis, redis);
    assert_eq!(config.breaker, Some(breaker));
    let headers = Headers {
        ratelimit: true,
        x_ratelimit: false,
        retry_after: true,
    };
    assert_eq!(config.headers, headers);
    let rule = Rule {
        name: "r".into(),
        matcher: crate::matching::Matcher::default(),
        key: crate::matching::KeyRecipe::default(),
        missing_key: MissingKey::Share,
        limit: TokenBucket {
            requests: 10,
            per: Micros::from_secs(1),
            burst: 10,
        },
        cost: 1,
        on_failure: OnFailure::Allow,
        shadow: false,
    };
    assert_eq!(config.rules, [rule]);
}

#[test]
fn a_key_by_client_ip_defaults_to_the_whole_v4_address_and_a_v6_network() {
    let config = parse(&with_rule(&json!({ "key": [{ "client_ip": {} }] }))).unwrap();
    assert_eq!(
        config.rules[0].key.parts,
        [Part::ClientIp { v4: 32, v6: 64 }]
    );
    assert!(config.needs_client_ip());
    assert!(
        !parse(&with_rule(&json!({ "key": [{ "host": true }] })))
            .unwrap()
            .needs_client_ip()
    );
}

#[test]
fn a_breaker_fits_itself_to_the_fields_that_were_given() {
    let short = json!({ "redis": { "timeout": "30ms" }, "rules": [] });
    assert_eq!(
        parse(&short).unwrap().breaker.unwrap().slow_call,
        Micros::from_millis(24)
    );
    let breaker = json!({ "window": 5, "open": "2s" });
    let breaker = parse(&with_section("breaker", &breaker))
        .unwrap()
        .breaker
        .unwrap();
    assert_eq!(breaker.minimum_calls, 5);
    assert_eq!(breaker.max_open, Micros::from_secs(2));
    assert_eq!(
        parse(&with_section("breaker", &json!("off")))
            .unwrap()
            .breaker,
        None
    );
}

#[test]
fn a_local_bucket_rounds_down_but_never_to_nothing() {
    let local = |requests: u64, burst: u64, share: f64| {
        let fields = json!({
            "limit": { "requests": requests, "per": "1m", "burst": burst },
            "on_failure": "local", "local": { "share": share },
        });
        match parse(&with_rule(&fields)).unwrap().rules[0].on_failure {
            OnFailure::Local(bucket) => (bucket.requests, bucket.burst, bucket.per),
            other => panic!("{other:?}"),
        }
    };
    let minute = Micros::from_secs(60);
    assert_eq!(local(100, 21, 0.5), (50, 10, minute));
    assert_eq!(local(1, 1, 0.5), (1, 1, minute));
    assert_eq!(local(7, 3, 1.0), (7, 3, minute));
    assert_eq!(
        local(1_000_000_000, 1_000_000_000, 0.1),
        (100_000_000, 100_000_000, minute)
    );
    assert_eq!(local(1_000_000_000, 10, 0.000_001), (1_000, 1, minute));
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
    for (name, max) in [("header", HEADER_NAME_BYTES_MAX), ("value", VALUE_MAX)] {
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
    let header =
        |n: usize| matching(json!({ "headers": [{ "name": "x", "exact": "a".repeat(n) }] }));
    let (inside, outside) = (
        header(HEADER_VALUE_BYTES_MAX),
        header(HEADER_VALUE_BYTES_MAX + 1),
    );
    edge(&inside, &outside, "rules[0].match.headers[0].exact");
    let method = |n: usize| matching(json!({ "methods": ["A".repeat(n)] }));
    edge(
        &method(METHOD_BYTES_MAX),
        &method(METHOD_BYTES_MAX + 1),
        "rules[0].match.methods[0]",
    );
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
    let header = json!({ "name": "x", "present": true });
    let lists = [
        ("methods", json!("GET"), METHODS_MAX),
        ("hosts", json!("example.com"), HOSTS_MAX),
        ("headers", header, HEADER_TESTS_MAX),
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

#[test]
fn a_struct_is_told_from_broken_json() {
    // A google.protobuf.Struct of one field, {"rules": []}.
    let serialised = b"\x0a\x0b\x0a\x05rules\x12\x02\x32\x00";
    let problems = Config::parse(serialised).unwrap_err().to_string();
    assert_eq!(
        problems,
        "configuration: expected JSON in a google.protobuf.StringValue, found binary data \
         (a google.protobuf.Struct is not supported yet)"
    );
}

#[test]
fn a_rule_applies_with_a_key_or_as_missing_key_says() {
    use crate::matching::Key;
    let named = |name: &str, missing_key: &str| {
        rule(&json!({ "name": name, "missing_key": missing_key, "key": [{ "header": "x" }] }))
    };
    let document = json!({ "rules": [
        named("share", "share"), named("skip", "skip"), named("deny", "deny"),
        rule(&json!({ "name": "other", "match": { "methods": ["PUT"] } })),
        rule(&json!({ "name": "all" })),
    ] });
    let config = parse(&document).unwrap();
    let applicable = |headers: &[(String, Vec<u8>)]| -> Vec<_> {
        config.applicable(&Request::new(headers, None)).collect()
    };
    let by = |text: &str, missing| {
        Keyed::By(Key {
            text: text.into(),
            missing,
        })
    };
    let lacking = [
        (0, by("%-", true)),
        (1, Keyed::Skip),
        (2, Keyed::Deny),
        (4, by("", false)),
    ];
    assert_eq!(applicable(&[]), lacking);
    let having = [
        (0, by("a", false)),
        (1, by("a", false)),
        (2, by("a", false)),
        (4, by("", false)),
    ];
    assert_eq!(applicable(&[("x".into(), b"a".to_vec())]), having);
}

/// JSON with the names and texts of a configuration, so that it gets deep into the readers.
fn any_json() -> impl Strategy<Value = Json> {
    let words = prop::sample::select(vec![
        "redis",
        "timeout",
        "rules",
        "name",
        "limit",
        "requests",
        "per",
        "burst",
        "match",
        "path",
        "exact",
        "headers",
        "key",
        "client_ip",
        "v4",
        "breaker",
        "off",
        "local",
        "share",
        "1s",
        "50ms",
        "hosts",
        "*.a",
        "cost",
        "lease",
        "",
        "\n\u{2028}é",
        "slow_call",
        "window",
    ]);
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        words.clone().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::vec((words.clone(), inner), 0..8).prop_map(|fields| {
                fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(bytes: Vec<u8>) {
        prop_assert!(Config::parse(&bytes).is_err());
    }

    #[test]
    fn no_json_makes_the_parser_panic_and_problems_are_one_line(
        redis in any_json(), breaker in any_json(), rule in any_json(), rest in any_json(),
    ) {
        let documents = [
            json!({ "redis": redis, "breaker": breaker, "rules": [rule, with_rule(&json!({}))] }),
            rest,
        ];
        for document in documents {
            if let Err(problems) = parse(&document) {
                let line = problems.to_string();
                prop_assert!(!line.is_empty() && !line.contains(char::is_control), "{}", line);
            }
        }
    }

    #[test]
    fn a_duration_is_read_back_as_it_is_shown(micros in 0..=u64::MAX) {
        let span = Micros(micros);
        prop_assert_eq!(parse_duration(&span.to_string()), Some(span));
    }

    #[test]
    fn every_share_of_six_decimals_is_exact(millionths in 1_u32..=1_000_000) {
        let document = format!(
            r#"{{"breaker":{{"failure_rate":{}.{:06}}},"rules":[]}}"#,
            millionths / 1_000_000, millionths % 1_000_000,
        );
        let breaker = Config::parse(document.as_bytes()).unwrap().breaker.unwrap();
        prop_assert_eq!(breaker.failure_rate, Ratio(millionths));
    }
}

#[test]
fn a_duration_is_digits_and_a_unit_and_nothing_else() {
    for (text, micros) in [
        ("250us", 250),
        ("50ms", 50_000),
        ("1s", 1_000_000),
        ("5m", 300_000_000),
        ("1h", 3_600_000_000),
        ("1d", 86_400_000_000),
    ] {
        assert_eq!(parse_duration(text), Some(Micros(micros)), "{text}");
    }
    for text in [
        "",
        "s",
        "1",
        "1 s",
        " 1s",
        "+1s",
        "-1s",
        "1.5s",
        "1S",
        "1s ",
        "1sec",
        "213503983d",
    ] {
        assert_eq!(parse_duration(text), None, "{text}");
    }
    assert_eq!(
        parse_duration(&format!("{}us", u64::MAX)),
        Some(Micros(u64::MAX))
    );
    assert_eq!(parse_duration("18446744073709551616us"), None);
}
