//! Requests while Redis is well.

use super::world::World;
use crate::decision::Decision::{Allowed, Denied, ShadowDenied};
use crate::engine::Action;

const THREE: &str = r#"{ "rules": [ { "name": "per-key", "key": [{ "header": "x-api-key" }],
    "limit": { "requests": 3, "per": "1m" } } ] }"#;

/// A rule for all with room, and one for each key without.
pub(super) const WIDE_AND_NARROW: &str = r#"{ "rules": [
    { "name": "wide", "limit": { "requests": 100, "per": "1m" } },
    { "name": "narrow", "key": [{ "header": "x-api-key" }],
      "limit": { "requests": 1, "per": "1m" } } ] }"#;

/// A shadow rule that would refuse the second request.
pub(super) const TRIAL: &str = r#"{ "rules": [ { "name": "trial", "shadow": true,
    "limit": { "requests": 1, "per": "1m" } } ] }"#;

#[test]
fn rules_of_several_algorithms_are_asked_in_one_command_and_told_together() {
    let mut world = World::new(
        r#"{ "rules": [
            { "name": "log", "limit": { "algorithm": "sliding_log", "requests": 9, "per": "1m" } },
            { "name": "sliding", "limit": { "algorithm": "sliding_window", "requests": 5, "per": "1m" } },
            { "name": "fixed", "limit": { "algorithm": "fixed_window", "requests": 2, "per": "1ms" } },
            { "name": "bucket", "limit": { "requests": 7, "per": "1h" } } ] }"#,
    );
    for stream in 1..=3 {
        world.request(stream, "a");
    }
    world.turn();
    world.deliver();
    assert_eq!(world.redis.evalshas, 1);
    let decisions = world.decisions();
    assert_eq!(decisions, [(1, Allowed), (2, Allowed), (3, Denied)]);
    assert_eq!(
        world.field(1, "ratelimit-policy").as_deref(),
        Some(r#""fixed";q=2, "sliding";q=5;w=60, "bucket";q=7;w=3600, "log";q=9;w=60"#)
    );
    for (stream, left) in [(1, [1, 4, 6, 8]), (2, [0, 3, 5, 7])] {
        let told = world.field(stream, "ratelimit").unwrap();
        let told: Vec<&str> = told.split(", ").collect();
        for (name, left) in ["fixed", "sliding", "bucket", "log"].iter().zip(left) {
            let expected = format!("\"{name}\";r={left};");
            assert!(told.iter().any(|it| it.starts_with(&expected)), "{told:?}");
        }
    }
}

#[test]
fn requests_of_one_turn_share_one_command_and_pass_in_the_order_they_came() {
    let mut world = World::new(THREE);
    for stream in 1..=5 {
        assert!(world.request(stream, "a").is_none());
    }
    assert_eq!(world.wakes, 1);
    world.turn();
    assert_eq!(world.calls.len(), 1);
    world.deliver();
    assert_eq!(world.redis.evalshas, 1);
    let decisions = world.decisions();
    assert_eq!(
        decisions,
        [
            (1, Allowed),
            (2, Allowed),
            (3, Allowed),
            (4, Denied),
            (5, Denied)
        ]
    );
    assert_eq!(world.engine.waiting(), 0);
    assert_eq!(world.count("requests_total.rule.rule.decision.allowed"), 3);
    assert_eq!(world.count("requests_total.rule.rule.decision.denied"), 2);
}

#[test]
fn each_admitted_request_is_told_its_own_remaining() {
    let mut world = World::new(THREE);
    for stream in 1..=4 {
        world.request(stream, "a");
    }
    world.turn();
    world.deliver();
    let remaining: Vec<_> = (1..=4)
        .map(|stream| world.field(stream, "ratelimit"))
        .collect();
    let expected = ["r=2;t=20", "r=1;t=40", "r=0;t=20", "r=0;t=20"];
    assert_eq!(
        remaining,
        expected.map(|rest| Some(format!("\"per-key\";{rest}")))
    );
    assert_eq!(world.field(4, "retry-after").as_deref(), Some("20"));
    assert_eq!(
        world.field(4, "ratelimit-policy").as_deref(),
        Some("\"per-key\";q=3;w=60")
    );
}

#[test]
fn different_keys_travel_in_one_call_as_commands_of_their_own() {
    let mut world = World::new(THREE);
    for (stream, key) in [(1, "a"), (2, "b"), (3, "a")] {
        world.request(stream, key);
    }
    world.turn();
    assert_eq!(world.calls[0].replies, 2);
    world.deliver();
    assert_eq!(world.decisions().len(), 3);
}

#[test]
fn a_request_that_one_rule_refuses_charges_none_and_names_the_rule() {
    let mut world = World::new(WIDE_AND_NARROW);
    assert_eq!(world.round_trip(1, "a"), Allowed);
    assert_eq!(world.round_trip(2, "a"), Denied);
    let Action::Refuse(answer) = world.verdict(2).action else {
        panic!("refused")
    };
    assert!(
        answer.body.contains(r#""violated-policies":["narrow"]"#),
        "{}",
        answer.body
    );
    assert_eq!(world.verdict(2).rule, 1);
    assert_eq!(world.round_trip(3, "b"), Allowed);
    let standing = world.field(3, "ratelimit").expect("fields");
    assert_eq!(standing, "\"narrow\";r=0;t=60, \"wide\";r=98;t=2");
}

#[test]
fn a_shadow_rule_counts_and_never_refuses() {
    let mut world = World::new(TRIAL);
    assert_eq!(world.round_trip(1, "a"), Allowed);
    assert_eq!(world.round_trip(2, "a"), ShadowDenied);
    assert_eq!(world.verdict(2).action, Action::Pass(Vec::new()));
    assert_eq!(
        world.count("requests_total.rule.rule.decision.shadow_denied"),
        1
    );
}

#[test]
fn a_shadow_rule_is_not_held_back_by_a_rule_that_refuses() {
    let mut world = World::new(
        r#"{ "rules": [
            { "name": "real", "limit": { "requests": 1, "per": "1m" } },
            { "name": "trial", "shadow": true, "limit": { "requests": 100, "per": "1m" } } ] }"#,
    );
    assert_eq!(world.round_trip(1, "a"), Allowed);
    assert_eq!(world.round_trip(2, "a"), Denied);
    assert_eq!(
        world.field(2, "ratelimit").as_deref(),
        Some("\"real\";r=0;t=60")
    );
}

#[test]
fn a_request_that_lacks_a_demanded_key_is_refused_without_redis() {
    let mut world = World::new(
        r#"{ "rules": [ { "name": "strict", "key": [{ "header": "x-api-key" }],
             "missing_key": "deny", "limit": { "requests": 9, "per": "1m" } } ] }"#,
    );
    let verdict = world.request_with(1, &[]).expect("decided at once");
    assert_eq!(verdict.decision, Denied);
    let Action::Refuse(answer) = verdict.action else {
        panic!("refused")
    };
    assert!(
        answer
            .headers
            .iter()
            .all(|(name, _)| !name.contains("ratelimit-policy"))
    );
    assert!(world.calls.is_empty());
}

#[test]
fn a_key_that_a_shadow_rule_misses_is_counted_without_redis() {
    let mut world = World::new(
        r#"{ "rules": [ { "name": "strict", "key": [{ "header": "x-api-key" }], "shadow": true,
             "missing_key": "deny", "limit": { "requests": 9, "per": "1m" } } ] }"#,
    );
    let verdict = world.request_with(1, &[]).expect("decided at once");
    assert_eq!(
        (verdict.decision, verdict.action),
        (ShadowDenied, Action::Pass(Vec::new()))
    );
}
