//! Defaults, meanings and documents made to do harm; the bounds are in `bounds_tests.rs`.
//! Mistakes with their exact messages are files, read by `tests/config_files.rs`.

use super::*;
use crate::limit::{Limit, TokenBucket};
use crate::matching::Part;
use crate::testing::FakeHost;
use crate::units::Micros;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

pub(super) fn parse(document: &Json) -> Result<Config, Problems> {
    Config::parse(document.to_string().as_bytes())
}

/// The smallest rule, with `fields` put over it.
pub(super) fn rule(fields: &Json) -> Json {
    let mut rule = json!({ "name": "r", "limit": { "requests": 10, "per": "1s" } });
    let members = fields.as_object().unwrap().clone();
    rule.as_object_mut().unwrap().extend(members);
    rule
}

pub(super) fn with_rule(fields: &Json) -> Json {
    json!({ "rules": [rule(fields)] })
}

pub(super) fn with_section(name: &str, section: &Json) -> Json {
    json!({ name: section, "rules": [] })
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
        limit: Limit::TokenBucket(TokenBucket {
            requests: 10,
            per: Micros::from_secs(1),
            burst: 10,
        }),
        overrides: Overrides::default(),
        cost: Cost::Fixed(1),
        on_failure: OnFailure::Allow,
        lease: None,
        shadow: false,
        response: Response::default(),
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
fn a_struct_as_envoy_sends_it_is_a_configuration() {
    // Seen from Envoy 1.40.0 for {"rules": []}.
    let serialised = b"\x0a\x0b\x0a\x05rules\x12\x02\x32\x00";
    let config = Config::parse(serialised).unwrap();
    assert_eq!(config, parse(&json!({ "rules": [] })).unwrap());
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
    let applicable = |headers: &[(&str, &str)]| -> Vec<_> {
        let host = FakeHost::with_headers(headers);
        config.applicable(&Request::new(&host)).collect()
    };
    let by = |text: &str, missing| {
        Treatment::Count(Counted {
            key: Key {
                text: text.into(),
                missing,
            },
            limit: config.rules[0].limit,
            on_failure: OnFailure::Allow,
            cost: 1,
        })
    };
    let lacking = [
        (0, by("%-", true)),
        (1, Treatment::Skip),
        (2, Treatment::Deny),
        (4, by("", false)),
    ];
    assert_eq!(applicable(&[]), lacking);
    let having = [
        (0, by("a", false)),
        (1, by("a", false)),
        (2, by("a", false)),
        (4, by("", false)),
    ];
    assert_eq!(applicable(&[("x", "a")]), having);
}

#[test]
fn an_override_inherits_what_it_does_not_name_and_is_found_by_the_values_of_the_key() {
    let limit = |requests, per, burst| {
        Limit::TokenBucket(TokenBucket {
            requests,
            per: Micros::from_secs(per),
            burst,
        })
    };
    let document = |base: Json| {
        with_rule(&json!({
            "limit": base, "on_failure": "local",
            "key": [{ "header": "x" }, { "header": "y" }],
            "overrides": [
                { "key": ["gold", "a|b"], "requests": 1_000 },
                { "key": ["gold", ""], "per": "1m", "burst": 7 },
                { "key": ["health", "a"], "unlimited": true },
                { "key": ["evil", "a"], "deny": true },
            ],
        }))
    };
    let treated = |base: Json, x: &str, y: &str| {
        let config = parse(&document(base)).unwrap();
        let host = FakeHost::with_headers(&[("x", x), ("y", y)]);
        let request = Request::new(&host);
        match config.applicable(&request).next().unwrap().1 {
            Treatment::Count(counted) => Some((counted.limit, counted.on_failure)),
            Treatment::Unlimited => None,
            other => panic!("{other:?}"),
        }
    };
    let local = |requests, burst, per| {
        OnFailure::Local(TokenBucket {
            requests,
            per: Micros::from_secs(per),
            burst,
        })
    };
    let burst = json!({ "requests": 10, "per": "1s", "burst": 20 });
    let counted = |x, y| treated(burst.clone(), x, y);
    let own = (limit(10, 1, 20), local(5, 10, 1));
    assert_eq!(counted("gold", "c"), Some(own));
    let gold = (limit(1_000, 1, 20), local(500, 10, 1));
    assert_eq!(counted("gold", "a|b"), Some(gold));
    let slow = (limit(10, 60, 7), local(5, 3, 60));
    assert_eq!(counted("gold", ""), Some(slow));
    assert_eq!(counted("health", "a"), None);
    // A burst that the rule does not name is the requests, also the override's.
    let plain = json!({ "requests": 10, "per": "1s" });
    let gold = (limit(1_000, 1, 1_000), local(500, 500, 1));
    assert_eq!(treated(plain, "gold", "a|b"), Some(gold));
}

/// JSON with the names and texts of a configuration, so that it gets deep into the readers.
pub(super) fn any_json() -> impl Strategy<Value = Json> {
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

/// What another wasm filter left with `set_property(["source.team"])`: Envoy finds it under this one
/// name, as `wasm.source.team` of the filter state.
#[test]
fn a_property_of_another_filter_may_have_a_dot_in_its_name() {
    let rule = json!({ "key": [{ "property": ["source.team"] }] });
    parse(&with_rule(&rule)).unwrap();
}
