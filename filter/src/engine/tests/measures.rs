//! What is recorded of waits, calls and batches, and of keys that found no room.

use super::leases::LEASED;
use super::world::World;
use crate::decision::Decision::{Allowed, Denied};
use crate::engine::{CallEnd, denials, leases};
use crate::limit::LocalBuckets;
use crate::units::Micros;

const ROOMY: &str = r#"{ "breaker": "off", "rules": [ { "name": "r", "key": [{ "header": "x-api-key" }],
    "limit": { "requests": 1, "per": "1d" } } ] }"#;

const WAIT: &str = "wait_us";
const CALL: &str = "redis_call_us";
const BATCH: &str = "batch_size";

#[test]
fn a_wait_and_a_call_are_recorded_once_in_microseconds() {
    let mut world = World::new(ROOMY);
    world.request(1, "a");
    world.now = world.now + Micros::from_millis(2);
    world.turn();
    world.now = world.now + Micros::from_millis(10);
    world.deliver();
    assert_eq!(world.recorded(WAIT), [12_000]);
    assert_eq!(world.recorded(CALL), [10_000]);
    assert_eq!(world.verdict(1).waited, Micros(12_000));
    // Who is known to be over the limit is not paused.
    assert_eq!(world.round_trip(2, "a"), Denied);
    assert_eq!(world.recorded(WAIT), [12_000]);
    assert_eq!(world.recorded(CALL), [10_000]);
}

#[test]
fn the_waits_of_one_call_are_recorded_each_by_its_own_beginning_however_it_ends() {
    let mut world = World::new(ROOMY);
    for stream in 1..=3 {
        world.request(stream, "a");
        world.now = world.now + Micros(100);
    }
    world.turn();
    world.now = world.now + Micros::from_millis(50);
    world.fail(CallEnd::TimedOut);
    assert_eq!(world.recorded(WAIT), [50_300, 50_200, 50_100]);
    assert_eq!(world.recorded(CALL), [50_000]);
}

#[test]
fn a_batch_is_recorded_once_by_its_requests_whatever_their_keys() {
    let mut world = World::new(ROOMY);
    for (stream, key) in [(1, "a"), (2, "b"), (3, "a")] {
        world.request(stream, key);
    }
    world.turn();
    assert_eq!(world.recorded(BATCH), [3]);
    world.deliver();
    world.round_trip(4, "c");
    assert_eq!(world.recorded(BATCH), [3, 1]);
}

#[test]
fn calls_that_carry_no_request_are_no_batches() {
    let mut world = World::new(LEASED);
    for stream in 1..=3 {
        world.request(stream, "a");
    }
    world.turn();
    world.deliver();
    for _ in 0..20 {
        world.tick(Micros::from_millis(5));
    }
    assert_eq!(world.calls.len(), 1, "the lease is given back");
    assert_eq!(world.recorded(BATCH), [3]);
}

/// Two requests of each of so many keys, and what is delivered of them.
fn ask_for_keys(world: &mut World, keys: usize) {
    for key in 0..keys as u32 {
        for stream in [2 * key + 1, 2 * key + 2] {
            world.request(stream, &key.to_string());
        }
        if key % 250 == 249 {
            world.turn();
            while !world.calls.is_empty() {
                world.deliver();
            }
        }
    }
    world.turn();
    while !world.calls.is_empty() {
        world.deliver();
    }
}

const EVICTIONS: &str = "evictions_total";

#[test]
fn a_key_without_room_for_its_local_bucket_is_counted() {
    let local = r#""on_failure": "local", "limit""#;
    let mut world = World::new(&ROOMY.replace("\"limit\"", local));
    let fail = |world: &mut World, keys: std::ops::Range<usize>| {
        for key in keys {
            let stream = u32::try_from(key).unwrap();
            world.request(stream, &key.to_string());
        }
        world.turn();
        while !world.calls.is_empty() {
            world.fail(CallEnd::Unreachable);
        }
    };
    fail(&mut world, 0..LocalBuckets::CAPACITY);
    assert_eq!(world.count(EVICTIONS), 0);
    fail(
        &mut world,
        LocalBuckets::CAPACITY..LocalBuckets::CAPACITY + 3,
    );
    assert_eq!(world.count(EVICTIONS), 3);
}

#[test]
fn a_refused_key_without_room_to_be_remembered_is_counted() {
    let mut world = World::new(ROOMY);
    ask_for_keys(&mut world, denials::CAPACITY);
    assert_eq!(world.count(EVICTIONS), 0);
    assert_eq!(world.round_trip(u32::MAX, "one more"), Allowed);
    assert_eq!(world.count(EVICTIONS), 1);
}

#[test]
fn a_key_without_room_for_its_lease_is_counted() {
    let mut world = World::new(LEASED);
    ask_for_keys(&mut world, leases::CAPACITY);
    assert_eq!(world.count(EVICTIONS), 0);
    for stream in [u32::MAX - 1, u32::MAX] {
        world.request(stream, "one more");
    }
    world.turn();
    world.deliver();
    assert_eq!(world.count(EVICTIONS), 1);
}
