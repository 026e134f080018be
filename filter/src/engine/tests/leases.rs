//! Tokens taken ahead: how many, for how long, and that no limit is broken by it.

use super::world::World;
use crate::decision::Decision::{Allowed, DegradedAllow, Denied};
use crate::engine::CallEnd;
use crate::limit::TokenBucket;
use crate::units::Micros;

pub(super) const HITS: &str = "lease_hits_total";

/// A burst of 50 in Redis, since 10 more could be spent late.
pub(super) const LEASED: &str = r#"{ "breaker": "off", "rules": [
    { "name": "r", "key": [{ "header": "x-api-key" }], "lease": { "max": 8, "ttl": "100ms" },
      "limit": { "requests": 100, "per": "1s", "burst": 60 } } ] }"#;

pub(super) fn left_in_redis(world: &World, key: &str) -> u64 {
    let limit = TokenBucket {
        requests: 100,
        per: Micros::from_secs(1),
        burst: 50,
    };
    world.redis.remaining("r", key, limit, world.now)
}

/// Three requests at once, which are a demand, so that their call brings more than they need.
fn with_a_lease(config: &str) -> World {
    let mut world = World::new(config);
    for stream in 1..=3 {
        assert!(world.request(stream, "a").is_none());
    }
    world.turn();
    world.deliver();
    assert_eq!(world.decisions().len(), 3);
    world
}

#[test]
fn a_key_that_is_seldom_asked_for_takes_nothing_ahead() {
    let mut world = World::new(LEASED);
    for stream in 1..=3 {
        assert_eq!(world.round_trip(stream, "a"), Allowed);
        world.now = world.now + Micros::from_millis(300);
    }
    assert_eq!(world.redis.admitted, 3);
    assert_eq!(world.count(HITS), 0);
}

#[test]
fn a_lease_lets_requests_pass_without_a_call() {
    let mut world = with_a_lease(LEASED);
    assert_eq!(world.redis.admitted, 6, "as many again as just came");
    let asked = world.redis.evalshas;
    let verdict = world.request(4, "a").expect("decided at once");
    assert_eq!((verdict.decision, verdict.waited), (Allowed, Micros::ZERO));
    assert_eq!(
        world.field(4, "ratelimit").as_deref(),
        Some("\"r\";r=46;t=1")
    );
    assert_eq!(world.count(HITS), 1);
    assert_eq!(world.redis.evalshas, asked);
    assert_eq!(
        world.request(5, "b").map(|v| v.decision),
        None,
        "another key asks"
    );
}

#[test]
fn a_lease_is_refilled_in_the_background_before_it_runs_out() {
    let mut world = with_a_lease(LEASED);
    for stream in 10..30 {
        assert!(world.request(stream, "a").is_some(), "{stream} waits");
        world.turn();
        while !world.calls.is_empty() {
            world.deliver();
        }
    }
    assert_eq!(world.count(HITS), 20);
    assert!(world.redis.evalshas < 10, "{}", world.redis.evalshas);
    // 23 requests passed, and at most 8 tokens are held.
    assert!(world.redis.admitted <= 31, "{}", world.redis.admitted);
}

#[test]
fn a_lease_ends_counted_from_the_sending_of_its_call() {
    let mut world = World::new(LEASED);
    for stream in 1..=3 {
        world.request(stream, "a");
    }
    world.turn();
    let call = world.calls.remove(0);
    world.now = world.now + Micros::from_millis(40);
    let reply = world.redis.run(&call, world.now);
    world.end(&call, CallEnd::Replied(&reply));
    world.now = world.now + Micros(59_999);
    assert!(world.request(4, "a").is_some());
    world.now = world.now + Micros(1);
    assert!(world.request(5, "a").is_none());
}

#[test]
fn what_is_not_spent_is_given_back_in_time() {
    let mut world = with_a_lease(LEASED);
    assert_eq!(left_in_redis(&world, "a"), 44);
    for _ in 0..19 {
        world.tick(Micros::from_millis(5));
    }
    assert_eq!(world.calls.len(), 1, "at the last tick before it ends");
    world.deliver();
    assert_eq!(left_in_redis(&world, "a"), 50);
    assert!(world.request(4, "a").is_none(), "nothing is held any more");
}

#[test]
fn an_idle_worker_forgets_its_leases_and_ticks_slowly() {
    let mut world = with_a_lease(LEASED);
    assert_eq!(world.engine.tick_period(), Micros::from_millis(5));
    for _ in 0..60 {
        world.tick(Micros::from_millis(5));
        while !world.calls.is_empty() {
            world.deliver();
        }
    }
    assert_eq!(world.engine.tick_period(), Micros::from_millis(50));
}

#[test]
fn a_lease_takes_no_more_than_is_there_and_is_spent_when_redis_has_nothing() {
    let config = LEASED.replace("\"burst\": 60", "\"burst\": 14");
    let mut world = with_a_lease(&config);
    assert_eq!(
        world.redis.admitted, 4,
        "three and the one token that was left"
    );
    assert!(world.request(4, "a").is_some());
    assert_eq!(world.verdict(4).decision, Allowed);
    let refused = world.request(5, "a").expect("known at once");
    assert_eq!(refused.decision, Denied);
}

#[test]
fn a_lease_outlives_redis_until_it_ends() {
    let config = LEASED.replace("\"breaker\": \"off\",", "");
    let mut world = with_a_lease(&config);
    world.open_the_breaker();
    world.calls.clear();
    assert_eq!(world.round_trip(4, "a"), Allowed);
    world.now = world.now + Micros::from_millis(100);
    assert_eq!(world.round_trip(5, "a"), DegradedAllow);
}

#[test]
fn a_request_passes_on_leases_only_when_all_its_rules_have_them() {
    let mut world = World::new(
        r#"{ "rules": [
            { "name": "leased", "lease": { "max": 8, "ttl": "100ms" },
              "limit": { "requests": 100, "per": "1s", "burst": 60 } },
            { "name": "strict", "limit": { "requests": 100, "per": "1s" } } ] }"#,
    );
    for stream in 1..=3 {
        world.request(stream, "a");
    }
    world.turn();
    world.deliver();
    assert_eq!(world.redis.admitted, 3);
    assert!(world.request(4, "a").is_none());
}

#[test]
fn a_look_asks_redis_although_there_is_a_lease() {
    let cost = r#""cost": { "header": "x-cost", "default": 0, "max": 9 }, "limit""#;
    let mut world = World::new(&LEASED.replace("\"limit\"", cost));
    for stream in 1..=3 {
        world.request_with(stream, &[("x-api-key", "a"), ("x-cost", "1")]);
    }
    world.turn();
    world.deliver();
    let leased = world.request_with(4, &[("x-api-key", "a"), ("x-cost", "1")]);
    assert!(leased.is_some());
    assert!(world.request_with(5, &[("x-api-key", "a")]).is_none());
}

#[test]
fn a_call_that_is_lost_brings_nothing_and_another_asks() {
    let mut world = World::new(LEASED);
    for stream in 1..=3 {
        world.request(stream, "a");
    }
    world.turn();
    world.fail(CallEnd::TimedOut);
    for stream in 4..=5 {
        assert!(world.request(stream, "a").is_none());
    }
    world.turn();
    world.deliver();
    assert!(world.request(6, "a").is_some());
}
