//! Overrides and costs: requests that one rule treats differently.

use super::world::World;
use crate::decision::Decision::{
    Allowed, DegradedAllow, DegradedLocalAllow, DegradedLocalDeny, Denied, ShadowDenied,
};
use crate::engine::Action;

/// A rule with overrides, and one that counts everybody.
fn world(more: &str) -> World {
    World::new(&format!(
        r#"{{ "rules": [
            {{ "name": "own", "key": [{{ "header": "x-api-key" }}], "limit": {{ "requests": 1, "per": "1h" }},
              "overrides": [ {{ "key": ["gold"], "requests": 3 }}, {{ "key": ["free"], "unlimited": true }},
                             {{ "key": ["evil"], "deny": true }} ]{more} }},
            {{ "name": "all", "match": {{ "headers": [ {{ "name": "x-all", "present": true }} ] }},
              "limit": {{ "requests": 1, "per": "1h" }} }} ] }}"#
    ))
}

#[test]
fn an_override_is_another_limit_for_its_key_alone() {
    let mut world = world("");
    for (key, passes) in [("gold", 3), ("tin", 1)] {
        for n in 0..4 {
            let expected = if n < passes { Allowed } else { Denied };
            assert_eq!(world.round_trip(1, key), expected, "{key} {n}");
            if n == 0 {
                let policy = world.field(1, "ratelimit-policy").unwrap();
                assert_eq!(policy, format!("\"own\";q={passes};w=3600"));
            }
            world.finished.clear();
            world.at_once.clear();
        }
    }
}

#[test]
fn an_unlimited_key_passes_uncounted_and_silent() {
    let mut world = world("");
    for stream in 1..=5 {
        let verdict = world.request(stream, "free").expect("nobody is asked");
        assert_eq!((verdict.decision, verdict.rule), (Allowed, 0));
        assert_eq!(verdict.action, Action::Pass(Vec::new()));
    }
    assert!(world.calls.is_empty() && world.wakes == 0);
    assert_eq!(world.count("requests_total.rule.rule.decision.allowed"), 5);
}

#[test]
fn beside_an_unlimited_rule_the_others_decide() {
    let mut world = world("");
    let both = [("x-api-key", "free"), ("x-all", "")];
    for stream in 1..=2 {
        assert!(world.request_with(stream, &both).is_none());
    }
    world.turn();
    world.deliver();
    assert_eq!(world.decisions(), [(1, Allowed), (2, Denied)]);
    assert_eq!(world.verdict(1).rule, 1);
    let told = world.field(1, "ratelimit").unwrap();
    assert!(
        told.starts_with("\"all\";r=0;") && !told.contains("own"),
        "{told}"
    );
    // Both rules allowed the first, and one refused the second: the other made no decision of it.
    assert_eq!(world.count("requests_total.rule.rule.decision.allowed"), 2);
    assert_eq!(world.count("requests_total.rule.rule.decision.denied"), 1);

    let silent = world.request_with(3, &both);
    assert_eq!(silent.expect("known from the cache").decision, Denied);
    world.open_the_breaker();
    world.now = world.now + crate::units::Micros::from_secs(7200);
    let degraded = world.request_with(4, &both).expect("at once");
    assert_eq!((degraded.decision, degraded.rule), (DegradedAllow, 1));
}

#[test]
fn a_denied_key_is_refused_at_once_and_told_no_time_to_come_back() {
    let mut world = world("");
    let verdict = world.request(1, "evil").expect("nobody is asked");
    assert_eq!((verdict.decision, verdict.rule), (Denied, 0));
    let Action::Refuse(answer) = verdict.action else {
        panic!("refused")
    };
    assert_eq!(answer.status, 429);
    assert!(
        answer
            .headers
            .iter()
            .all(|(name, _)| *name != "retry-after")
    );
    let mut shadow = self::world(r#", "shadow": true"#);
    let verdict = shadow.request(1, "evil").expect("nobody is asked");
    assert_eq!(verdict.decision, ShadowDenied);
    assert_eq!(verdict.action, Action::Pass(Vec::new()));
}

#[test]
fn without_a_count_an_override_has_its_share_of_its_own_limit() {
    let mut world = world(r#", "on_failure": "local", "local": { "share": 0.7 }"#);
    world.open_the_breaker();
    for (key, passes) in [("gold", 2), ("tin", 1)] {
        for n in 0..3 {
            let verdict = world.request(n, key).expect("at once");
            let expected = if n < passes {
                DegradedLocalAllow
            } else {
                DegradedLocalDeny
            };
            assert_eq!(verdict.decision, expected, "{key} {n}");
        }
    }
}

#[test]
fn requests_of_one_key_at_different_costs_are_charged_each_its_own() {
    let mut world = World::new(
        r#"{ "rules": [ { "name": "paid", "key": [{ "header": "x-api-key" }],
            "limit": { "requests": 10, "per": "1h" },
            "cost": { "header": "x-cost", "default": 2, "max": 5 } } ] }"#,
    );
    for (stream, cost) in (1..).zip(["3", "3", "0", "9"]) {
        let headers = [("x-api-key", "a"), ("x-cost", cost)];
        assert!(world.request_with(stream, &headers).is_none());
    }
    world.turn();
    world.deliver();
    // 3 + 3 in one command, 2 for what may not be cheaper; 5 of the 2 left are refused.
    assert_eq!(world.redis.evalshas, 3);
    let decisions = world.decisions();
    assert_eq!(
        decisions,
        [(1, Allowed), (2, Allowed), (3, Allowed), (4, Denied)]
    );
    for (stream, left) in [(1, 7), (2, 4), (3, 2), (4, 2)] {
        let told = world.field(stream, "ratelimit").unwrap();
        assert!(told.starts_with(&format!("\"paid\";r={left};")), "{told}");
    }
    // The cheaper one still passes, though the dearer was just refused.
    assert_eq!(world.round_trip(5, "a"), Allowed);
    // Now nothing is left for anybody, and a request that calls itself cheaper costs as much.
    let headers = [("x-api-key", "a"), ("x-cost", "1")];
    let verdict = world.request_with(6, &headers);
    assert_eq!(verdict.expect("known from the cache").decision, Denied);
}

#[test]
fn a_refusal_is_what_the_rule_that_decided_says() {
    let rule = |name: &str, per: &str, response: &str| {
        format!(
            r#"{{ "name": "{name}", "key": [{{ "header": "x-api-key" }}], "missing_key": "deny",
                "limit": {{ "requests": 1, "per": "{per}" }}, "on_failure": "local",
                "response": {response} }}"#
        )
    };
    let text = r#"{ "status": 403, "body": "later", "headers": { "X-Why": "limit" } }"#;
    let rules = [
        rule("short", "1m", r#"{ "status": 418, "body": "short" }"#),
        rule("long", "1h", text),
    ];
    let mut world = World::new(&format!(r#"{{ "rules": [{}] }}"#, rules.join(",")));
    let told = |world: &World, stream| {
        let Action::Refuse(answer) = world.verdict(stream).action else {
            panic!("refused")
        };
        let own = |name: &str| world.field(stream, name);
        (
            answer.status,
            answer.body,
            own("x-why"),
            own("content-type"),
        )
    };
    let why = Some("limit".to_owned());
    let plain = Some("text/plain; charset=utf-8".to_owned());
    // Both refuse, and the one with the longer wait decides.
    world.round_trip(1, "a");
    world.round_trip(2, "a");
    let expected = (403, "later".to_owned(), why, plain);
    assert_eq!(told(&world, 2), expected);
    assert!(world.field(2, "retry-after").is_some());
    // So it does without a count.
    world.open_the_breaker();
    world.request(3, "b");
    world.request(4, "b");
    assert_eq!(told(&world, 4), expected);
    // A missing key is refused by the first rule that demands it.
    world.request_with(5, &[]);
    let (status, body, ..) = told(&world, 5);
    assert_eq!((status, body.as_str()), (418, "short"));
}

#[test]
fn a_response_without_a_body_is_the_usual_problem_with_its_status() {
    let told = |response: &str| {
        let mut world = World::new(&format!(
            r#"{{ "rules": [ {{ "name": "r", "key": [{{ "header": "k" }}], "missing_key": "deny",
                "limit": {{ "requests": 1, "per": "1h" }}, "response": {response} }} ] }}"#
        ));
        let Action::Refuse(answer) = world.request_with(1, &[]).expect("at once").action else {
            panic!("refused")
        };
        let content_type = world.field(1, "content-type");
        (answer.status, answer.body, content_type)
    };
    let (status, body, content_type) = told(r#"{ "status": 503 }"#);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["status"]), (503, &503.into()));
    assert_eq!(body["violated-policies"], serde_json::json!(["r"]));
    assert_eq!(content_type.unwrap(), "application/problem+json");
    assert_eq!(told(r#"{ "body": "" }"#), (429, String::new(), None));
    let typed = told(r#"{ "body": "{}", "headers": { "content-type": "application/json" } }"#);
    assert_eq!(typed, (429, "{}".into(), Some("application/json".into())));
}
