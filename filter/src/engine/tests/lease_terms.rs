//! What becomes of many leases at once.

use super::leases::{LEASED, left_in_redis};
use super::world::World;
use crate::units::Micros;

const TICK: Micros = Micros::from_millis(5);

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
