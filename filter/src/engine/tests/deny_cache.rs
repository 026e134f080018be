//! What is known of refused keys, and that it never refuses more than Redis would.

use proptest::prelude::*;

use super::requests::{TRIAL, WIDE_AND_NARROW};
use super::world::World;
use crate::decision::Decision::{self, Allowed, Denied, ShadowDenied};
use crate::engine::denials;
use crate::engine::{Action, CallEnd};
use crate::limit::TokenBucket;
use crate::units::Micros;

const HITS: &str = "deny_cache_hits_total";

/// Two tokens, and one more every second.
const ONE_A_SECOND: &str = r#"{ "breaker": "off", "redis": { "timeout": "100ms" }, "rules": [
    { "name": "per-key", "key": [{ "header": "x-api-key" }],
      "limit": { "requests": 60, "per": "1m", "burst": 2 } } ] }"#;

fn with_a_used_up(config: &str) -> World {
    let mut world = World::new(config);
    for stream in 1..=2 {
        assert_eq!(world.round_trip(stream, "a"), Allowed);
    }
    world
}

#[test]
fn a_key_without_room_is_refused_without_redis_until_the_instant_that_redis_named() {
    let mut world = with_a_used_up(ONE_A_SECOND);
    let asked = world.redis.evalshas;
    world.now = world.now + Micros(999_999);
    let verdict = world.request(3, "a").expect("known at once");
    assert_eq!((verdict.decision, verdict.rule), (Denied, 0));
    assert_eq!(world.field(3, "retry-after").as_deref(), Some("1"));
    assert_eq!(
        world.field(3, "ratelimit").as_deref(),
        Some("\"per-key\";r=0;t=1")
    );
    assert_eq!(world.count(HITS), 1);
    assert_eq!(world.count("requests_total.rule.rule.decision.denied"), 1);
    assert_eq!(world.redis.evalshas, asked);
    assert_eq!(
        world.round_trip(4, "b"),
        Allowed,
        "another key is untouched"
    );
    world.now = world.now + Micros(1);
    assert_eq!(world.round_trip(5, "a"), Allowed);
}

/// Redis names a wait, not an instant, and its answer takes time. Counted from the answer a key
/// would stay refused for as long as the answer took, with a token lying there.
#[test]
fn the_wait_is_counted_from_the_sending_of_the_call() {
    let mut world = World::new(ONE_A_SECOND);
    for stream in 1..=2 {
        world.request(stream, "a");
    }
    world.turn();
    let call = world.calls.remove(0);
    let reply = world.redis.run(&call, world.now);
    world.now = world.now + Micros::from_millis(80);
    world.end(&call, CallEnd::Replied(&reply));
    world.now = world.now + Micros(919_999);
    assert_eq!(world.round_trip(3, "a"), Denied);
    world.now = world.now + Micros(1);
    assert_eq!(world.round_trip(4, "a"), Allowed);
}

#[test]
fn one_call_a_token_asks_for_a_refused_key_however_many_requests_come() {
    let mut world = with_a_used_up(ONE_A_SECOND);
    let before = world.redis.evalshas;
    let mut stream = 100;
    for _ in 0..3 {
        world.now = world.now + Micros::from_secs(1);
        assert!(world.request(stream, "a").is_none());
        world.turn();
        for later in 1..=50 {
            assert!(world.request(stream + later, "a").is_none(), "it waits");
            world.turn();
        }
        assert_eq!(world.calls.len(), 1, "for the call that is under way");
        world.deliver();
        assert!(world.calls.is_empty(), "which answers all of them");
        assert_eq!(world.verdict(stream).decision, Allowed);
        for later in 1..=50 {
            assert_eq!(world.verdict(stream + later).decision, Denied);
        }
        stream += 100;
    }
    assert_eq!(world.redis.evalshas - before, 3);
    assert_eq!(world.count(HITS), 150);
}

/// Every turn of the event loop went through all of them again.
#[test]
fn requests_that_wait_for_a_call_are_not_looked_at_before_it_ends() {
    let mut world = with_a_used_up(ONE_A_SECOND);
    world.now = world.now + Micros::from_secs(1);
    for stream in 3..=5 {
        world.request(stream, "a");
        world.turn();
    }
    assert_eq!(world.engine.waiting(), 3);
    assert!(world.engine.pending.is_empty());
    world.deliver();
    assert_eq!(world.engine.waiting(), 0);
}

#[test]
fn i8_requests_that_wait_for_a_call_that_fails_ask_themselves() {
    let mut world = with_a_used_up(ONE_A_SECOND);
    world.now = world.now + Micros::from_secs(1);
    world.request(3, "a");
    world.turn();
    world.request(4, "a");
    world.turn();
    world.fail(CallEnd::Unreachable);
    assert_eq!(world.verdict(3).decision, Decision::DegradedAllow);
    assert_eq!(world.calls.len(), 1);
    world.deliver();
    assert_eq!(world.verdict(4).decision, Allowed);
    assert_eq!(world.engine.waiting(), 0);
}

#[test]
fn i8_requests_that_wait_for_a_silent_call_end_at_their_own_deadline() {
    let mut world = with_a_used_up(ONE_A_SECOND);
    world.now = world.now + Micros::from_secs(1);
    world.request(3, "a");
    world.turn();
    world.now = world.now + Micros::from_millis(60);
    world.request(4, "a");
    world.turn();
    world.tick(Micros::from_millis(40));
    assert_eq!(world.verdict(3).decision, Decision::DegradedAllow);
    assert_eq!(world.calls.len(), 2, "the other asks itself");
    world.tick(Micros::from_millis(60));
    assert_eq!(world.verdict(4).decision, Decision::DegradedAllow);
    assert_eq!(world.engine.waiting(), 0);
}

#[test]
fn a_refusal_names_the_rules_that_are_known_to_refuse() {
    let mut world = World::new(WIDE_AND_NARROW);
    assert_eq!(world.round_trip(1, "a"), Allowed);
    assert!(world.request(2, "a").is_some());
    assert_eq!(world.verdict(2).rule, 1);
    let fields = world.field(2, "ratelimit");
    assert_eq!(fields.as_deref(), Some("\"narrow\";r=0;t=60"));
    assert_eq!(world.round_trip(3, "b"), Allowed);
}

/// Were the shadow rule enforced, a refused request would not be charged for. And one that it asked
/// for waited for Redis, which may be silent, to be told what was known.
#[test]
fn a_known_refusal_waits_for_no_shadow_rule() {
    let mut world = World::new(
        r#"{ "rules": [
            { "name": "real", "limit": { "requests": 1, "per": "1m" } },
            { "name": "trial", "shadow": true, "limit": { "requests": 2, "per": "1m" } } ] }"#,
    );
    for (stream, expected) in [(1, Allowed), (2, Denied), (3, Denied)] {
        assert_eq!(world.round_trip(stream, "a"), expected);
    }
    let at_once = world.at_once.iter().map(|(stream, _)| *stream);
    assert_eq!(at_once.collect::<Vec<_>>(), [2, 3]);
    assert_eq!(world.redis.evalshas, 2, "both rules, once");
    assert_eq!(world.count(HITS), 2);
    let decided = |decision| world.count(&format!("requests_total.rule.rule.decision.{decision}"));
    assert_eq!((decided("denied"), decided("allowed")), (2, 2));
}

/// A client of a leased rule and of one that leases nothing is refused: for so long it is known.
fn assert_leased_refusal_is_remembered(lease: &str, remembered: Micros) {
    let mut world = World::new(&format!(
        r#"{{ "breaker": "off", "rules": [
            {{ "name": "leased", "key": [{{ "header": "x-api-key" }}], "lease": {lease},
              "limit": {{ "requests": 60, "per": "1h", "burst": 60 }} }},
            {{ "name": "all", "limit": {{ "requests": 100000, "per": "1s" }} }} ] }}"#
    ));
    for stream in 1..60 {
        assert_eq!(world.round_trip(stream, "a"), Allowed, "{stream}");
    }
    assert_eq!(world.round_trip(60, "a"), Denied);
    let last = Micros::from_millis(1);
    world.now = world.now + Micros(remembered.0 - last.0);
    assert!(world.request(61, "a").is_some());
    world.now = world.now + last;
    assert!(
        world.request(62, "a").is_none(),
        "others may have given back"
    );
}

/// It was remembered for ten seconds where a rule that leases nothing matched as well.
#[test]
fn a_refusal_under_a_leased_rule_is_remembered_for_its_ttl_beside_another_rule_too() {
    let lease = r#"{ "max": 8, "ttl": "100ms" }"#;
    assert_leased_refusal_is_remembered(lease, Micros::from_millis(100));
}

/// A counter that was reset by hand is noticed, also where leases are longer than that takes.
#[test]
fn a_refusal_under_a_rule_of_long_leases_is_remembered_for_no_longer_than_any() {
    let lease = r#"{ "max": 1, "ttl": "60s" }"#;
    assert_leased_refusal_is_remembered(lease, Micros::from_secs(10));
}

#[test]
fn a_shadow_rule_without_room_is_known_too() {
    let mut world = World::new(TRIAL);
    assert_eq!(world.round_trip(1, "a"), Allowed);
    let verdict = world.request(2, "a").expect("known at once");
    assert_eq!(
        (verdict.decision, verdict.action),
        (ShadowDenied, Action::Pass(Vec::new()))
    );
    assert_eq!(world.count(HITS), 0, "nobody was refused");
}

#[test]
fn a_known_refusal_outlives_redis() {
    let mut world = World::new(
        r#"{ "rules": [ { "name": "per-key", "key": [{ "header": "x-api-key" }],
             "limit": { "requests": 1, "per": "1h" } } ] }"#,
    );
    assert_eq!(world.round_trip(1, "a"), Allowed);
    world.open_the_breaker();
    assert_eq!(world.round_trip(2, "a"), Denied);
    assert_eq!(world.round_trip(3, "b"), Decision::DegradedAllow);
}

/// Somebody resets a counter by hand.
#[test]
fn a_refusal_is_remembered_for_ten_seconds_and_still_names_the_whole_wait() {
    let mut world = World::new(
        r#"{ "rules": [ { "name": "rare", "limit": { "requests": 1, "per": "1h" } } ] }"#,
    );
    assert_eq!(world.round_trip(1, "a"), Allowed);
    world.redis.forget();
    world.now = world.now + denials::REMEMBERED_MAX;
    world.now.0 -= 1;
    assert_eq!(world.round_trip(2, "a"), Denied);
    assert_eq!(world.field(2, "retry-after").as_deref(), Some("3591"));
    world.now = world.now + Micros(1);
    assert_eq!(world.round_trip(3, "a"), Allowed);
}

/// Another worker's request takes the last token of a rule, is refused by its other rule, and gives the
/// token back.
#[test]
fn a_refusal_by_a_cluster_is_remembered_for_a_second() {
    let mut world = World::new(
        r#"{ "rules": [ { "name": "rare", "limit": { "requests": 1, "per": "1h" } },
                        { "name": "often", "limit": { "requests": 1000, "per": "1h" } } ] }"#,
    );
    world.redis.cluster = true;
    assert_eq!(world.round_trip(1, "a"), Allowed);
    world.redis.forget();
    world.now = world.now + denials::REMEMBERED_OF_CLUSTER_MAX;
    world.now.0 -= 1;
    assert_eq!(world.round_trip(2, "a"), Denied);
    world.now = world.now + Micros(1);
    assert_eq!(world.round_trip(3, "a"), Allowed);
}

/// After a limit was lowered a look was told a wait, and from then on every look was refused.
#[test]
fn a_look_is_never_refused() {
    let rules = |requests: u32| {
        format!(
            r#"{{ "rules": [ {{ "name": "r", "cost": {{ "header": "x-cost", "default": 0, "max": 9 }},
                "limit": {{ "algorithm": "fixed_window", "requests": {requests}, "per": "1d" }} }} ] }}"#
        )
    };
    let mut world = World::new(&rules(100));
    for stream in 1..=50 {
        world.request_with(stream, &[("x-cost", "1")]);
    }
    world.turn();
    world.deliver();
    let mut lowered = World::new(&rules(10));
    lowered.redis = std::mem::take(&mut world.redis);
    for stream in 1..=3 {
        assert_eq!(lowered.round_trip(stream, "any"), Allowed);
    }
}

proptest! {
    /// I1 and I6 with the cache in between: what it refuses, Redis would refuse at that instant.
    #[test]
    fn i6_the_cache_refuses_nothing_that_redis_would_admit(
        requests in 1_u32..5, burst in 1_u32..4,
        steps in prop::collection::vec((0_u64..900_000, 0_u8..3, 0_u64..60_000), 1..60),
    ) {
        let mut world = World::new(&format!(
            r#"{{ "redis": {{ "timeout": "100ms" }}, "breaker": "off", "rules": [
                {{ "name": "r", "key": [{{ "header": "x-api-key" }}],
                   "limit": {{ "requests": {requests}, "per": "1s", "burst": {burst} }} }} ] }}"#
        ));
        for (stream, (wait, key, latency)) in (1..).zip(steps) {
            world.now = world.now + Micros(wait);
            let key = ["a", "b", "c"][usize::from(key)];
            if world.request(stream, key).is_some() {
                let limit = TokenBucket {
                    requests: requests.into(),
                    per: Micros::from_secs(1),
                    burst: burst.into(),
                };
                let left = world.redis.remaining("r", key, limit, world.now);
                prop_assert_eq!(left, 0, "refused {} at {:?}", key, world.now);
                continue;
            }
            world.turn();
            let call = world.calls.remove(0);
            world.now = world.now + Micros(latency / 2);
            let reply = world.redis.run(&call, world.now);
            world.now = world.now + Micros(latency - latency / 2);
            world.end(&call, CallEnd::Replied(&reply));
        }
    }
}
