//! What clients are told, case by case as the README lists them.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use sfv::{BareItem, List, ListEntry, Parser};
use velocitygate_chaos::stack::EnvoyVersion;

use crate::common::{PATIENT, Running, Seen, rule, with};
use crate::origin::{LEFT, LIMITS, Origin};
use crate::start;
use crate::versions::on_both_envoys;

const LIMIT_FIELDS: [&str; 5] = [
    "ratelimit",
    "ratelimit-policy",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
];

/// An item of a list: its name and its parameters.
type Item = (String, Vec<(String, i64)>);

/// A structured field that is a list of strings with whole numbers as parameters, over all its
/// lines.
fn items(headers: &HeaderMap, name: &str) -> Vec<Item> {
    let lines = headers.get_all(name).into_iter();
    let lines: Vec<&str> = lines.map(|line| line.to_str().unwrap()).collect();
    let list: List = Parser::new(&lines.join(", ")).parse().unwrap();
    let item = |entry: ListEntry| match entry {
        ListEntry::Item(item) => item,
        ListEntry::InnerList(list) => panic!("{name}: {list:?}"),
    };
    let items = list.into_iter().map(item);
    let items = items.map(|item| {
        let BareItem::String(text) = item.bare_item else {
            panic!("{name}: {item:?}");
        };
        let params = item.params.into_iter();
        let whole = params.map(|(key, value)| match value {
            BareItem::Integer(whole) => (String::from(key), i64::from(whole)),
            other => panic!("{name}: {other:?}"),
        });
        (String::from(text), whole.collect())
    });
    items.collect()
}

fn item(name: &str, params: &[(&str, i64)]) -> Item {
    let params = params
        .iter()
        .map(|(key, value)| (String::from(*key), *value));
    (name.into(), params.collect())
}

fn problem(seen: &Seen) -> Value {
    assert_eq!(seen.header("content-type"), "application/problem+json");
    let body: Value = serde_json::from_str(&seen.body).unwrap();
    let says = |member: &str| body[member].as_str().is_some_and(|text| !text.is_empty());
    assert!(says("type") && (says("title") || says("detail")), "{body}");
    assert_eq!(body["status"], json!(seen.status));
    body
}

fn assert_no_limits(seen: &Seen) {
    for field in LIMIT_FIELDS {
        assert!(!seen.headers.contains_key(field), "{field}: {seen:?}");
    }
}

async fn with_every_field(version: EnvoyVersion, rules: Value) -> Running {
    Running::start(PATIENT, rules, |spec| {
        spec.envoy = version;
        spec.plugin["headers"] = json!(["ratelimit", "x-ratelimit", "retry-after"]);
    })
    .await
}

async fn refused_by_a_limit(version: EnvoyVersion) {
    let hourly = json!({ "limit": { "requests": 1, "per": "1h" } });
    let running = with_every_field(version, json!([with(rule("told", 1), hourly)])).await;
    assert_eq!(Seen::of(running.get("/told/", "a")).await.status, 200);
    let refused = Seen::of(running.get("/told/", "a")).await;
    assert_eq!(refused.status, 429);
    let retry: i64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=3600).contains(&retry), "{retry}");
    let policy = item("told", &[("q", 1), ("w", 3600)]);
    assert_eq!(items(&refused.headers, "ratelimit-policy"), [policy]);
    let standing = item("told", &[("r", 0), ("t", retry)]);
    assert_eq!(items(&refused.headers, "ratelimit"), [standing]);
    assert_eq!(refused.header("x-ratelimit-limit"), "1");
    assert_eq!(refused.header("x-ratelimit-remaining"), "0");
    assert_eq!(refused.header("x-ratelimit-reset"), retry.to_string());
    assert_eq!(refused.header("x-envoy-ratelimited"), "true");
    assert_eq!(problem(&refused)["violated-policies"], json!(["told"]));
    assert_eq!(running.upstream().hits(), 1);
}

/// No wait helps, and the body does not tell of a limit that is used up.
async fn refused_for_its_key(version: EnvoyVersion) {
    let banned = json!([{ "key": ["evil"], "deny": true }]);
    let rules = json!([
        with(rule("demands", 5), json!({ "missing_key": "deny" })),
        with(rule("bans", 5), json!({ "overrides": banned })),
    ]);
    let running = with_every_field(version, rules).await;
    let url = running.envoys()[0].front_url() + "/demands/";
    for (request, rule) in [
        (running.http.get(url), "demands"),
        (running.get("/bans/", "evil"), "bans"),
    ] {
        let refused = Seen::of(request).await;
        assert_eq!(refused.status, 429);
        assert_no_limits(&refused);
        assert!(!refused.headers.contains_key("retry-after"));
        assert_eq!(refused.header("x-envoy-ratelimited"), "true");
        let expected = json!({
            "type": "about:blank", "detail": "The request lacks a key, or its key is not allowed", "status": 429,
            "violated-policies": [rule],
        });
        assert_eq!(problem(&refused), expected);
    }
    assert_eq!(running.upstream().hits(), 0);
}

async fn refused_because_redis_is_away(version: EnvoyVersion) {
    let rules = json!([with(rule("closed", 5), json!({ "on_failure": "deny" }))]);
    let running = with_every_field(version, rules).await;
    running.redis().kill().await.unwrap();
    let refused = Seen::of(running.get("/closed/", "a")).await;
    assert_eq!(
        (refused.status, refused.header("x-velocitygate")),
        (503, "unavailable")
    );
    assert_no_limits(&refused);
    for field in ["retry-after", "x-envoy-ratelimited"] {
        assert!(!refused.headers.contains_key(field), "{refused:?}");
    }
    assert_eq!(problem(&refused).get("violated-policies"), None);
    assert_eq!(running.upstream().hits(), 0);
}

async fn refused_by_a_local_bucket(version: EnvoyVersion) {
    let rules = json!([with(rule("local", 2), json!({ "on_failure": "local" }))]);
    let running = with_every_field(version, rules).await;
    running.redis().kill().await.unwrap();
    let admitted = Seen::of(running.get("/local/", "a")).await;
    assert_eq!(admitted.status, 200);
    assert_no_limits(&admitted);
    assert!(!admitted.headers.contains_key("retry-after"));
    let refused = Seen::of(running.get("/local/", "a")).await;
    assert_eq!(
        (refused.status, refused.header("x-envoy-ratelimited")),
        (429, "true")
    );
    assert_no_limits(&refused);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(problem(&refused)["violated-policies"], json!(["local"]));
}

async fn admitted_with_a_known_count_by_several_rules_the_tightest_first(version: EnvoyVersion) {
    let bound = |name: &str, requests: u64, per: &str| {
        let limit = json!({ "requests": requests, "per": per });
        with(rule("all", 1), json!({ "name": name, "limit": limit }))
    };
    let rules = json!([
        bound("wide", 100, "1h"),
        // Its window is no whole number of seconds, so `w` is left out.
        bound("odd", 50, "3600500ms"),
        bound("tight", 4, "1d"),
    ]);
    let running = with_every_field(version, rules).await;
    let seen = Seen::of(running.get("/all/", "a")).await;
    assert_eq!((seen.status, seen.body.as_str()), (200, "ok\n"));
    let policies = items(&seen.headers, "ratelimit-policy");
    let expected = [
        item("tight", &[("q", 4), ("w", 86_400)]),
        item("odd", &[("q", 50)]),
        item("wide", &[("q", 100), ("w", 3600)]),
    ];
    assert_eq!(policies, expected);
    let standings = items(&seen.headers, "ratelimit");
    let left: Vec<(&str, i64)> = standings
        .iter()
        .map(|(name, params)| (name.as_str(), params[0].1))
        .collect();
    assert_eq!(left, [("tight", 3), ("odd", 49), ("wide", 99)]);
    for (_, params) in &standings {
        let keys: Vec<&str> = params.iter().map(|(key, _)| key.as_str()).collect();
        assert!(keys == ["r", "t"] && params[1].1 >= 1, "{params:?}");
    }
    assert_eq!(seen.header("x-ratelimit-limit"), "4");
    assert_eq!(seen.header("x-ratelimit-remaining"), "3");
    assert_eq!(
        seen.header("x-ratelimit-reset"),
        standings[0].1[1].1.to_string()
    );
    assert!(!seen.headers.contains_key("retry-after"));
}

async fn what_the_upstream_says_of_its_own_limits_stays(version: EnvoyVersion) {
    let origin = Origin::start().await;
    let rules = json!([with(rule("limited", 2), json!({ "on_failure": "allow" }))]);
    let running = start(&origin, rules, |spec| {
        spec.envoy = version;
        spec.plugin["headers"] = json!(["ratelimit", "x-ratelimit"]);
    })
    .await;
    let seen = Seen::of(running.get("/limited/", "a")).await;
    let names = |field: &str| -> Vec<String> {
        let items = items(&seen.headers, field).into_iter();
        items.map(|(name, _)| name).collect()
    };
    for field in ["ratelimit", "ratelimit-policy"] {
        assert_eq!(names(field), ["theirs", "limited"], "{field}");
    }
    // A field of one value cannot hold both, and theirs does not say what is left.
    let single: Vec<_> = seen.headers.get_all("x-ratelimit-limit").iter().collect();
    assert_eq!(single, ["2"]);

    running.redis().kill().await.unwrap();
    let unknown = Seen::of(running.get("/limited/", "a")).await;
    for (field, value) in LIMITS {
        assert_eq!(unknown.header(field), value, "{field}");
    }
    assert!(!unknown.headers.contains_key("x-ratelimit-remaining"));
}

/// Fields of one value tell of the limit that leaves less.
async fn of_the_upstreams_limit_and_ours_the_one_that_leaves_less_is_told(version: EnvoyVersion) {
    let origin = Origin::start().await;
    let running = start(&origin, json!([rule("both", 4)]), |spec| {
        spec.envoy = version;
        spec.plugin["headers"] = json!(["x-ratelimit"]);
    })
    .await;
    for (left, told) in [
        ("2", ["5", "2"]),
        ("3", ["4", "2"]),
        ("many", ["4", "1"]),
        ("0", ["5", "0"]),
    ] {
        let request = running.get("/both/", "a").header(LEFT, left);
        let seen = Seen::of(request).await;
        let [limit, remaining, reset] =
            ["limit", "remaining", "reset"].map(|it| seen.header(&format!("x-ratelimit-{it}")));
        assert_eq!([limit, remaining], told, "{left}");
        assert_eq!(reset == "60", limit == "5", "{left}: {reset}");
    }
}

async fn admitted_with_an_unknown_count(version: EnvoyVersion) {
    let running = with_every_field(version, json!([rule("open", 5)])).await;
    running.redis().kill().await.unwrap();
    let seen = Seen::of(running.get("/open/", "a")).await;
    assert_eq!((seen.status, seen.body.as_str()), (200, "ok\n"));
    assert_no_limits(&seen);
    for field in ["retry-after", "x-envoy-ratelimited", "x-velocitygate"] {
        assert!(!seen.headers.contains_key(field), "{field}");
    }
}

on_both_envoys![
    refused_by_a_limit,
    refused_for_its_key,
    refused_because_redis_is_away,
    refused_by_a_local_bucket,
    admitted_with_a_known_count_by_several_rules_the_tightest_first,
    what_the_upstream_says_of_its_own_limits_stays,
    of_the_upstreams_limit_and_ours_the_one_that_leaves_less_is_told,
    admitted_with_an_unknown_count
];
