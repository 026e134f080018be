//! `overrides` and `cost`: how much a request may, and what it takes.

use serde_json::json;
use velocitygate_chaos::stack::KEY_HEADER;

use crate::common::{PATIENT, Running, Seen, eventually, rule, with};
use crate::{get, statuses};

#[tokio::test]
async fn an_override_gives_a_key_another_limit_or_none_or_refuses_it() {
    let overrides = json!([
        { "key": ["gold"], "requests": 3 },
        { "key": ["a|b \u{e4}"], "requests": 2 },
        { "key": ["health"], "unlimited": true },
        { "key": ["evil"], "deny": true },
    ]);
    let rules = json!([with(rule("own", 1), json!({ "overrides": overrides }))]);
    let running = Running::start(PATIENT, rules, |_| ()).await;
    for (key, passes) in [("gold", 3), ("tin", 1), ("a|b \u{e4}", 2), ("Gold", 1)] {
        let seen = statuses(&running, [("/own/", [(KEY_HEADER, key)].as_slice()); 4]).await;
        let expected = [0, 1, 2, 3].map(|n| if n < passes { 200 } else { 429 });
        assert_eq!(seen, expected, "{key}");
    }
    let policy = Seen::of(running.get("/own/", "gold")).await;
    assert_eq!(policy.header("ratelimit-policy"), "\"own\";q=3;w=31622400");
    for _ in 0..5 {
        let seen = Seen::of(running.get("/own/", "health")).await;
        assert!(seen.status == 200 && !seen.has_limits());
        let seen = Seen::of(running.get("/own/", "evil")).await;
        assert!(seen.status == 429 && !seen.has_limits());
        assert_eq!(seen.header("retry-after"), "");
    }
    let mut all = redis::cmd("KEYS");
    all.arg("*");
    let mut keys: Vec<String> = running.redis().ask(all).await.unwrap();
    keys.sort();
    let counted = ["Gold", "a%7Cb%20%C3%A4", "gold", "tin"];
    assert_eq!(keys, counted.map(|key| format!("vg:{{own:{key}}}:tb")));
    eventually("every decision is counted", async || {
        let counts = running.sample().await.requests["own"].clone();
        // Of the limits 7 of 17, and those of the two keys that are not counted.
        (counts["allowed"], counts["denied"]) == (7 + 5, 10 + 5)
    })
    .await;
}

#[tokio::test]
async fn a_header_makes_a_request_dearer_within_bounds_and_never_cheaper() {
    let cost = json!({ "cost": { "header": "x-cost", "default": 2, "max": 10 } });
    let running = Running::start(PATIENT, json!([with(rule("paid", 100), cost)]), |_| ()).await;
    let mut left = 100;
    for (values, cost) in [
        (vec!["7"], 7),
        (vec![], 2),
        (vec!["0"], 2),
        (vec!["-7"], 2),
        (vec!["many"], 2),
        (vec!["1000000"], 10),
        (vec!["99999999999999999999999999"], 10),
        (vec!["1", "9"], 9),
        (vec!["9, 1"], 9),
    ] {
        let headers: Vec<_> = values.iter().map(|value| ("x-cost", *value)).collect();
        let seen = Seen::of(get(&running, "/paid/", &headers)).await;
        left -= cost;
        let told = seen.header("ratelimit");
        assert!(
            told.starts_with(&format!("\"paid\";r={left};")),
            "{values:?}: {told}"
        );
    }
    assert_eq!(left, 47);
}
