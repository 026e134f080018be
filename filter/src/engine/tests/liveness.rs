//! Every wait ends, once.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::world::World;
use crate::decision::Decision::{Allowed, DegradedAllow, Denied};
use crate::engine::{CallEnd, OutgoingCall, StreamId};
use crate::testing::Cell;
use crate::units::Micros;

const TWO_RULES: &str = r#"{ "redis": { "max_waiting": 16 }, "rules": [
    { "name": "per-key", "key": [{ "header": "x-api-key" }],
      "limit": { "requests": 50, "per": "1s" } },
    { "name": "trial", "shadow": true, "limit": { "requests": 20, "per": "1s" } } ] }"#;

#[test]
fn a_call_the_host_forgets_ends_at_its_deadline_and_its_late_reply_changes_nothing() {
    let mut world = World::new(TWO_RULES);
    world.request(1, "a");
    world.turn();
    world.tick(Micros::from_millis(49));
    assert!(world.finished.is_empty());
    world.tick(Micros::from_millis(1));
    assert_eq!(world.decisions(), [(1, DegradedAllow)]);
    world.deliver();
    assert_eq!(world.decisions().len(), 1);
    assert_eq!(world.count("redis_calls_total.result.timeout"), 1);
    assert_eq!(world.count("redis_calls_total.result.ok"), 0);
}

#[test]
fn a_request_held_back_by_a_script_load_ends_at_its_own_deadline() {
    let mut world = World::new(TWO_RULES);
    world.redis.knows_script = false;
    world.request(1, "a");
    world.turn();
    world.deliver();
    world.now = world.now + Micros::from_millis(30);
    world.request(2, "b");
    world.turn();
    world.tick(Micros::from_millis(20));
    assert_eq!(world.decisions(), [(1, DegradedAllow)]);
    world.tick(Micros::from_millis(30));
    assert_eq!(world.decisions(), [(1, DegradedAllow), (2, DegradedAllow)]);
}

/// Two tokens, and one more every second.
const ONE_A_SECOND: &str = r#"{ "rules": [ { "name": "per-key", "key": [{ "header": "x-api-key" }],
    "limit": { "requests": 60, "per": "1m", "burst": 2 } } ] }"#;

/// A worker where requests 3 to 5 ask for the same token: 3 in a call, the others wait for its answer.
fn held_back(cell: Cell) -> World {
    let mut world = World::worker_of(ONE_A_SECOND, cell);
    for stream in 1..=2 {
        assert_eq!(world.round_trip(stream, "a"), Allowed);
    }
    world.now = world.now + Micros::from_secs(1);
    for stream in 3..=5 {
        world.request(stream, "a");
        world.turn();
    }
    world.finished.clear();
    assert_eq!(world.engine.waiting(), 3);
    world
}

/// They waited for the end of the call, as long as 50 ms.
#[test]
fn no_request_that_is_not_under_way_waits_once_the_breaker_is_open() {
    let cell = Cell::default();
    let mut world = held_back(cell.clone());
    World::worker_of(ONE_A_SECOND, cell).open_the_breaker();
    world.tick(Micros::from_millis(5));
    assert_eq!(world.decisions(), [(4, DegradedAllow), (5, DegradedAllow)]);
    world.deliver();
    assert_eq!(world.decisions()[2..], [(3, Allowed)]);
}

/// Local buckets admit the first that came.
#[test]
fn those_given_up_when_the_breaker_opens_are_so_in_the_order_of_their_arrival() {
    let cell = Cell::default();
    let mut world = held_back(cell.clone());
    world.request(6, "b");
    World::worker_of(ONE_A_SECOND, cell).open_the_breaker();
    world.tick(Micros::from_millis(5));
    let streams = world.decisions().into_iter().map(|(stream, _)| stream);
    assert_eq!(streams.collect::<Vec<_>>(), [4, 5, 6]);
}

#[test]
fn what_does_not_fit_into_a_call_goes_out_in_the_order_of_arrival() {
    let mut world = World::new(
        r#"{ "redis": { "max_waiting": 2000 }, "rules": [ { "name": "per-key",
            "key": [{ "header": "x-api-key" }], "limit": { "requests": 9, "per": "1m" } } ] }"#,
    );
    for stream in 0..1_100 {
        world.request(stream, &stream.to_string());
    }
    world.turn();
    while !world.calls.is_empty() {
        world.fail(CallEnd::Unreachable);
    }
    let streams = world.decisions().into_iter().map(|(stream, _)| stream);
    assert_eq!(streams.collect::<Vec<_>>(), (0..1_100).collect::<Vec<_>>());
}

#[test]
fn a_script_load_holds_nobody_back_once_the_breaker_is_open() {
    let cell = Cell::default();
    let mut world = World::worker_of(TWO_RULES, cell.clone());
    world.redis.knows_script = false;
    world.request(1, "a");
    world.turn();
    world.deliver();
    world.request(2, "b");
    world.turn();
    assert_eq!(world.calls.len(), 1, "2 waits for the load");
    World::worker_of(TWO_RULES, cell).open_the_breaker();
    world.tick(Micros::from_millis(5));
    assert_eq!(world.decisions(), [(2, DegradedAllow)]);
    world.deliver();
    assert_eq!(world.decisions()[1..], [(1, Allowed)]);
}

#[test]
fn a_stream_that_ends_is_forgotten_by_the_call_that_it_waits_for() {
    let mut world = held_back(Cell::default());
    world.engine.stream_ended(4);
    let held = world.engine.calls.values().map(|call| call.held.clone());
    assert_eq!(held.collect::<Vec<_>>(), [[5]]);
    world.deliver();
    assert_eq!(world.decisions(), [(3, Allowed), (5, Denied)]);
}

#[test]
fn a_stream_that_ends_is_no_longer_pending() {
    let mut world = World::new(TWO_RULES);
    world.request(1, "a");
    world.engine.stream_ended(1);
    assert!(world.engine.pending.is_empty());
}

#[test]
fn a_stream_that_ends_while_it_waits_is_never_answered() {
    let mut world = World::new(TWO_RULES);
    world.request(1, "a");
    world.request(2, "a");
    world.engine.stream_ended(1);
    world.turn();
    world.engine.stream_ended(9);
    world.deliver();
    assert_eq!(world.decisions(), [(2, Allowed)]);
    assert_eq!(world.engine.waiting(), 0);
}

#[test]
fn ticks_are_frequent_only_while_there_is_something_to_watch() {
    let mut world = World::new(TWO_RULES);
    assert_eq!(world.engine.tick_period(), Micros::from_millis(50));
    world.request(1, "a");
    assert_eq!(world.engine.tick_period(), Micros::from_millis(5));
}

#[test]
fn a_tick_never_comes_later_than_the_shortest_timeout() {
    let mut world = World::new(
        r#"{ "redis": { "timeout": "2ms" }, "breaker": "off",
             "rules": [ { "name": "all", "limit": { "requests": 9, "per": "1m" } } ] }"#,
    );
    for _ in 0..2 {
        assert_eq!(world.engine.tick_period(), Micros::from_millis(2));
        world.request(1, "");
    }
}

#[derive(Clone, Debug)]
enum Event {
    Request(u8),
    Turn,
    Deliver,
    Duplicate,
    Lose,
    Cut,
    Garble,
    Forget,
    HangUp(u8),
    Wait(u16),
    FlushScripts,
    Break(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => any::<u8>().prop_map(Event::Request),
        6 => Just(Event::Turn),
        6 => Just(Event::Deliver),
        1 => Just(Event::Duplicate),
        1 => Just(Event::Lose),
        1 => Just(Event::Cut),
        1 => Just(Event::Garble),
        1 => Just(Event::Forget),
        1 => any::<u8>().prop_map(Event::HangUp),
        3 => (0u16..40).prop_map(Event::Wait),
        1 => Just(Event::FlushScripts),
        1 => any::<bool>().prop_map(Event::Break),
    ]
}

/// What became of each request that was made to wait.
struct Ledger {
    next: StreamId,
    waiting: BTreeMap<StreamId, bool>,
}

fn play(world: &mut World, ledger: &mut Ledger, old: &mut Vec<OutgoingCall>, event: Event) {
    match event {
        Event::Request(key) => {
            let stream = ledger.next;
            ledger.next += 1;
            if world.request(stream, &format!("k{}", key % 4)).is_none() {
                ledger.waiting.insert(stream, true);
            }
        }
        Event::Turn => world.turn(),
        Event::HangUp(n) => {
            let stream = StreamId::from(n) % ledger.next;
            world.engine.stream_ended(stream);
            if world
                .finished
                .iter()
                .all(|(finished, _)| *finished != stream)
            {
                ledger.waiting.remove(&stream);
            }
        }
        Event::Wait(ms) => world.tick(Micros::from_millis(ms.into())),
        Event::FlushScripts => world.redis.knows_script = false,
        Event::Break(broken) => world.redis.error = broken.then_some("OOM no"),
        Event::Duplicate => {
            for call in old.iter() {
                let bytes = world.redis.run(call, world.now);
                world.end(call, CallEnd::Replied(&bytes));
            }
        }
        _ if world.calls.is_empty() => {}
        Event::Deliver => {
            old.push(OutgoingCall {
                body: world.calls[0].body.clone(),
                ..world.calls[0]
            });
            world.deliver();
        }
        Event::Lose => world.fail(CallEnd::TimedOut),
        Event::Cut => world.fail(CallEnd::Unreachable),
        Event::Garble => world.fail(CallEnd::Replied(b"*1\r\n:1\r\n")),
        Event::Forget => drop(world.calls.remove(0)),
    }
}

proptest! {
    #[test]
    fn i8_every_waiter_is_answered_exactly_once(
        events in prop::collection::vec(event(), 1..120),
    ) {
        let mut world = World::new(TWO_RULES);
        let mut ledger = Ledger { next: 1, waiting: BTreeMap::new() };
        let mut old = Vec::new();
        for event in events {
            play(&mut world, &mut ledger, &mut old, event);
        }
        world.tick(Micros::from_millis(50));
        let mut answers: BTreeMap<StreamId, u32> = BTreeMap::new();
        for (stream, _) in &world.finished {
            *answers.entry(*stream).or_default() += 1;
        }
        for stream in ledger.waiting.keys() {
            prop_assert_eq!(answers.get(stream), Some(&1), "stream {}", stream);
        }
        prop_assert!(answers.values().all(|n| *n == 1));
        prop_assert_eq!(world.engine.waiting(), 0);
    }
}
