//! What a lease takes, tells and gives back, at the edges: demand, age, bounds, retirement.

use super::leases::{LEASED, left_in_redis};
use super::world::World;
use crate::decision::Decision::Allowed;
use crate::engine::CallEnd;
use crate::units::Micros;

/// What Redis counts for [`LEASED`], by workers that take nothing ahead.
const UNLEASED: &str = r#"{ "breaker": "off", "rules": [
    { "name": "r", "key": [{ "header": "x-api-key" }],
      "limit": { "requests": 100, "per": "1s", "burst": 50 } } ] }"#;

const TICK: Micros = Micros::from_millis(5);

/// So many requests at once, which are a demand, and their answers.
fn ask(world: &mut World, first: u32, key: &str, count: u32) {
    for stream in first..first + count {
        world.request(stream, key);
    }
    world.turn();
    deliver_all(world);
}

fn deliver_all(world: &mut World) {
    while !world.calls.is_empty() {
        world.deliver();
    }
}

/// Two tokens of each of so many keys are held.
fn with_leases(keys: u32) -> World {
    let mut world = World::new(LEASED);
    for key in 0..keys {
        for stream in [2 * key + 1, 2 * key + 2] {
            world.request(stream, &key.to_string());
        }
        // So that no two requests of a key go into different calls.
        if key % 500 == 0 || key + 1 == keys {
            world.turn();
            deliver_all(&mut world);
        }
    }
    assert_eq!(world.redis.admitted, u64::from(4 * keys));
    world
}

fn assert_all_is_back(world: &World, keys: u32) {
    assert_eq!(world.count("refunds_dropped_total"), 0);
    for key in 0..keys {
        assert_eq!(left_in_redis(world, &key.to_string()), 50, "{key}");
    }
}

/// The refunds of one tick were more than may wait, and those beyond were lost.
#[test]
fn leases_that_end_together_are_all_given_back() {
    const KEYS: u32 = 1_500;
    let mut world = with_leases(KEYS);
    for _ in 0..24 {
        world.tick(TICK);
        deliver_all(&mut world);
    }
    assert_all_is_back(&world, KEYS);
}

/// Several calls with refunds met a Redis without the script, and there was no room for them all.
#[test]
fn refunds_that_are_made_again_find_room() {
    const KEYS: u32 = 1_500;
    let mut world = with_leases(KEYS);
    world.now = world.now + Micros::from_millis(90);
    for _ in 0..4 {
        world.tick(TICK);
    }
    world.redis.knows_script = false;
    for _ in 0..4 {
        deliver_all(&mut world);
        world.tick(TICK);
    }
    assert_all_is_back(&world, KEYS);
}

/// A lease whose refund waits for its turn has ended all the same.
#[test]
fn a_lease_that_waits_to_be_given_back_serves_nobody() {
    const KEYS: u32 = 600;
    let mut world = with_leases(KEYS);
    world.now = world.now + Micros::from_millis(95);
    world.tick(TICK);
    let served = (0..KEYS).filter(|key| world.request(9_000 + key, &key.to_string()).is_some());
    assert_eq!(served.count(), 0);
}

/// Each refused request counted as demand, and the next call took more than anybody used.
#[test]
fn a_refused_request_is_no_demand() {
    let mut other = World::new(UNLEASED);
    ask(&mut other, 1, "a", 49);
    let mut world = World::new(LEASED);
    world.redis = std::mem::take(&mut other.redis);
    ask(&mut world, 1, "a", 20);
    let passed = world
        .decisions()
        .iter()
        .filter(|(_, it)| *it == Allowed)
        .count();
    assert_eq!((passed, world.redis.admitted), (1, 50));
    // Somebody resets the counter.
    world.redis.forget();
    world.now = world.now + Micros::from_millis(50);
    assert_eq!(world.round_trip(100, "a"), Allowed);
    assert_eq!(
        world.redis.admitted - 50,
        3,
        "one passes, and two did of late"
    );
}

#[test]
fn a_request_that_is_asked_again_is_demand_once() {
    let mut world = World::new(LEASED);
    world.redis.knows_script = false;
    ask(&mut world, 1, "a", 2);
    assert_eq!(world.decisions(), [(1, Allowed), (2, Allowed)]);
    assert_eq!(world.redis.admitted, 4);
}

/// Late in the life of a lease its requests were told the reset as of its beginning.
#[test]
fn the_reset_that_a_lease_tells_grows_old() {
    let mut world = World::new(
        r#"{ "breaker": "off", "rules": [ { "name": "r", "key": [{ "header": "x-api-key" }],
             "lease": { "max": 8, "ttl": "10s" }, "limit": { "requests": 60, "per": "1m" } } ] }"#,
    );
    ask(&mut world, 1, "a", 3);
    world.now = world.now + Micros::from_secs(4);
    assert!(world.request(4, "a").is_some());
    let told = world.field(4, "ratelimit");
    assert_eq!(told.as_deref(), Some("\"r\";r=46;t=2"));
}

/// `redis.timeout` is the longest wait, not the usual one.
#[test]
fn a_lease_that_is_shorter_than_the_timeout_serves_while_redis_is_fast() {
    let config = LEASED.replace("100ms", "10ms").replace("60", "51");
    let mut world = World::new(&config);
    for stream in 1..=3 {
        world.request(stream, "a");
    }
    world.turn();
    world.now = world.now + Micros::from_millis(1);
    world.deliver();
    world.now = world.now + Micros(8_999);
    assert_eq!(world.request(4, "a").map(|it| it.decision), Some(Allowed));
    world.now = world.now + Micros(1);
    assert!(world.request(5, "a").is_none(), "it is over");
}

/// A new configuration comes: its leases were kept from all others until the bucket refilled.
#[test]
fn a_worker_that_retires_gives_back_what_it_holds() {
    let mut world = with_leases(1);
    ask(&mut world, 10, "b", 2);
    world.retire();
    assert_eq!(world.calls.len(), 1);
    assert!(!world.engine.is_settled());
    world.deliver();
    assert!(world.engine.is_settled());
    let left = ["0", "b"].map(|key| left_in_redis(&world, key));
    assert_eq!(left, [48, 48]);
}

#[test]
fn a_worker_that_holds_nothing_retires_at_once() {
    let mut world = World::new(LEASED);
    assert_eq!(world.round_trip(1, "a"), Allowed);
    world.retire();
    assert!(world.engine.is_settled() && world.calls.is_empty());
}

/// Also what a call brings that was under way, and although Redis lacks the script.
#[test]
fn a_worker_that_retires_gives_back_what_still_comes() {
    let mut world = World::new(LEASED);
    for stream in 1..=2 {
        world.request(stream, "a");
    }
    world.turn();
    for stream in 1..=2 {
        world.engine.stream_ended(stream);
    }
    world.retire();
    assert!(!world.engine.is_settled());
    world.deliver();
    world.redis.knows_script = false;
    deliver_all(&mut world);
    assert!(world.engine.is_settled());
    assert_eq!(left_in_redis(&world, "a"), 48, "two were asked for");
    assert_eq!(world.redis.evals, 1);
}

#[test]
fn i8_a_worker_retires_whatever_redis_does() {
    const KEYS: u32 = 1_500;
    let mut world = with_leases(KEYS);
    world.retire();
    while !world.engine.is_settled() {
        assert_eq!(world.calls.len(), 1, "one call after the other");
        world.fail(CallEnd::TimedOut);
        world.tick(TICK);
    }
    assert_eq!(world.count("refunds_dropped_total"), i64::from(2 * KEYS));
}
