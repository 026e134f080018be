//! A Redis that lost the script.

use super::world::World;
use crate::decision::Decision::{Allowed, DegradedAllow};
use crate::engine::CallEnd;
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
