//! A Redis that lost the script.

use super::world::World;
use crate::decision::Decision::{Allowed, DegradedAllow};
use crate::engine::CallEnd;
use crate::testing::Cell;
use crate::units::Micros;

const ALL: &str = r#"{ "rules": [ { "name": "all", "key": [{ "header": "x-api-key" }],
    "limit": { "requests": 1000, "per": "1s" } } ] }"#;

fn forgetful() -> World {
    let mut world = World::new(ALL);
    world.redis.knows_script = false;
    world
}

#[test]
fn a_batch_that_meets_noscript_is_asked_again_with_the_text_once() {
    let mut world = forgetful();
    for (stream, key) in [(1, "a"), (2, "b"), (3, "c")] {
        world.request(stream, key);
    }
    world.turn();
    world.deliver();
    assert!(world.finished.is_empty());
    assert_eq!(world.calls.len(), 1);
    world.deliver();
    assert_eq!(
        world.decisions(),
        [(1, Allowed), (2, Allowed), (3, Allowed)]
    );
    assert_eq!((world.redis.evals, world.redis.evalshas), (1, 5));
    assert_eq!(world.count("redis_errors_total.class.noscript"), 3);
    assert_eq!(world.moves, Vec::<String>::new());
}

#[test]
fn while_the_script_loads_every_other_request_waits_for_it() {
    let mut world = forgetful();
    world.request(1, "a");
    world.turn();
    world.request(2, "b");
    world.turn();
    assert_eq!(world.calls.len(), 2, "both were sent before anybody knew");
    world.deliver();
    assert_eq!(world.calls.len(), 2, "the load is under way");
    world.deliver();
    assert_eq!(
        world.calls.len(),
        1,
        "the second NOSCRIPT loads nothing more"
    );
    world.request(3, "c");
    world.turn();
    assert_eq!(world.calls.len(), 1, "and a new request is held back");
    world.deliver();
    world.deliver();
    assert_eq!(
        world.decisions(),
        [(1, Allowed), (2, Allowed), (3, Allowed)]
    );
    assert_eq!(world.redis.evals, 1);
}

#[test]
fn a_late_noscript_does_not_load_a_second_time() {
    let mut world = forgetful();
    world.request(1, "a");
    world.turn();
    world.request(2, "b");
    world.turn();
    world.now = world.now + Micros(1);
    let late = world.calls.remove(1);
    let noscript = world.redis.run(&late, world.now);
    world.deliver();
    world.now = world.now + Micros(1);
    world.deliver();
    world.end(&late, CallEnd::Replied(&noscript));
    world.deliver();
    assert_eq!(world.decisions(), [(1, Allowed), (2, Allowed)]);
    assert_eq!(world.redis.evals, 1);
}

#[test]
fn the_script_is_loaded_for_others_when_those_who_missed_it_are_gone() {
    let mut world = forgetful();
    world.request(1, "a");
    world.turn();
    world.engine.stream_ended(1);
    world.request(2, "b");
    world.deliver();
    world.deliver();
    assert_eq!(world.decisions(), [(2, Allowed)]);
    assert_eq!((world.redis.evals, world.redis.evalshas), (1, 1));
}

#[test]
fn a_load_that_fails_lets_the_others_go_on() {
    let mut world = forgetful();
    world.request(1, "a");
    world.turn();
    world.deliver();
    world.request(2, "b");
    world.turn();
    world.fail(CallEnd::TimedOut);
    assert_eq!(world.decisions(), [(1, DegradedAllow)]);
    world.deliver();
    world.deliver();
    assert_eq!(world.verdict(2).decision, Allowed);
}

#[test]
fn a_probe_teaches_redis_the_script_before_requests_come_back() {
    let mut world = World::new(ALL);
    world.open_the_breaker();
    world.redis.knows_script = false;
    world.tick(Micros::from_millis(300));
    while !world.calls.is_empty() {
        world.deliver();
    }
    assert_eq!(world.round_trip(1, "a"), Allowed);
    assert_eq!(
        (
            world.redis.evals,
            world.count("redis_errors_total.class.noscript")
        ),
        (1, 1)
    );
}

/// Lets probes be sent and answered until the breaker is closed.
fn probe_until_closed(world: &mut World) {
    for _ in 0..100 {
        world.tick(Micros::from_millis(100));
        while !world.calls.is_empty() {
            world.deliver();
        }
        if world
            .moves
            .last()
            .is_some_and(|it| it.contains("-> closed"))
        {
            return;
        }
    }
    panic!("the breaker stays open: {:?}", world.moves);
}

/// Redis ran the probe's text but the answer came too late: the worker sent it a second time with
/// its first requests.
#[test]
fn a_probe_that_loads_the_script_and_hears_nothing_does_not_load_it_again() {
    let mut world = World::new(ALL);
    world.open_the_breaker();
    world.redis.knows_script = false;
    world.tick(Micros::from_millis(300));
    world.deliver();
    let load = world.calls.remove(0);
    world.redis.run(&load, world.now);
    world.end(&load, CallEnd::TimedOut);
    assert_eq!(world.redis.evals, 1);
    probe_until_closed(&mut world);
    assert_eq!(world.round_trip(1, "a"), Allowed);
    assert_eq!(world.redis.evals, 1);
}

/// A worker that heard NOSCRIPT when the breaker had just opened still wanted to load the script
/// after its own probes had run it.
#[test]
fn a_probe_that_redis_answers_tells_that_redis_knows_the_script() {
    let mut world = World::new(ALL);
    world.request(1, "a");
    world.turn();
    let held = world.calls.remove(0);
    world.open_the_breaker();
    world.redis.knows_script = false;
    let noscript = world.redis.run(&held, world.now);
    world.end(&held, CallEnd::Replied(&noscript));
    assert_eq!(world.decisions(), [(1, DegradedAllow)]);
    // Another worker loads it meanwhile.
    world.redis.knows_script = true;
    probe_until_closed(&mut world);
    assert_eq!(world.round_trip(2, "a"), Allowed);
    assert_eq!(world.redis.evals, 0);
}

/// The breaker closes by another worker's probes while this one's still loads the script: its
/// requests wait for that as they do for a load of their own.
#[test]
fn requests_wait_for_a_probe_that_loads_the_script() {
    let cell = Cell::default();
    let mut world = World::worker_of(ALL, cell.clone());
    world.open_the_breaker();
    world.redis.knows_script = false;
    world.tick(Micros::from_millis(300));
    world.deliver();
    let load = world.calls.remove(0);
    world.redis.run(&load, world.now);
    let mut other = World::worker_of(ALL, cell);
    // The probe's deadline passes, and so does the wait of the breaker that it opened again.
    other.now = world.now;
    probe_until_closed(&mut other);
    world.tick(Micros(1));
    assert_eq!(world.request(1, "a"), None);
    world.turn();
    assert!(world.calls.is_empty(), "{:?}", world.calls);
    world.end(&load, CallEnd::TimedOut);
    world.deliver();
    assert_eq!((world.verdict(1).decision, world.redis.evals), (Allowed, 1));
}
