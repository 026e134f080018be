//! What is taken from Redis, held against what was admitted.

use proptest::prelude::*;

use super::world::World;
use crate::decision::Decision;
use crate::engine::{CallEnd, StreamId};
use crate::units::Micros;

fn config(requests: u32, on_failure: &str) -> String {
    format!(
        r#"{{ "breaker": "off", "rules": [ {{ "name": "all", "on_failure": "{on_failure}",
            "limit": {{ "requests": {requests}, "per": "1d" }} }} ] }}"#
    )
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Request,
    Turn,
    Deliver,
    /// Redis never sees the call.
    LoseCall,
    /// Redis did the work, and nobody hears of it.
    LoseReply,
    FlushScripts,
    HangUp(u8),
    Wait,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Request),
        4 => Just(Event::Turn),
        4 => Just(Event::Deliver),
        1 => Just(Event::LoseCall),
        1 => Just(Event::LoseReply),
        1 => Just(Event::FlushScripts),
        1 => any::<u8>().prop_map(Event::HangUp),
        1 => Just(Event::Wait),
    ]
}

/// Plays the events and returns how many requests were made; request `n` has the number `n`.
fn play(world: &mut World, events: &[Event]) -> StreamId {
    let mut made = 0;
    for event in events {
        match event {
            Event::Request => {
                made += 1;
                world.request(made, "");
            }
            Event::Turn => world.turn(),
            Event::FlushScripts => world.redis.knows_script = false,
            Event::HangUp(n) if made > 0 => world.engine.stream_ended(StreamId::from(*n) % made),
            Event::Wait => world.tick(Micros::from_millis(20)),
            _ if world.calls.is_empty() => {}
            Event::Deliver => world.deliver(),
            Event::LoseReply => {
                world.redis.run(&world.calls[0], world.now);
                world.fail(CallEnd::TimedOut);
            }
            _ => world.fail(CallEnd::Unreachable),
        }
    }
    world.tick(Micros::from_millis(50));
    made
}

fn count(world: &World, decision: Decision) -> u64 {
    world
        .decisions()
        .iter()
        .filter(|(_, found)| *found == decision)
        .count() as u64
}

proptest! {
    #[test]
    fn i2_tokens_gone_lie_between_the_admitted_and_those_of_unknown_outcome(
        events in prop::collection::vec(event(), 1..150),
    ) {
        let mut world = World::new(&config(1_000_000, "allow"));
        let made = u64::from(play(&mut world, &events));
        let admitted = count(&world, Decision::Allowed);
        let unknown = made - admitted;
        let taken = world.redis.admitted;
        prop_assert!(admitted <= taken, "{} admitted, {} taken", admitted, taken);
        prop_assert!(taken <= admitted + unknown, "{} made, {} taken", made, taken);
    }

    #[test]
    fn i4_no_request_is_charged_twice_whatever_is_lost(
        events in prop::collection::vec(event(), 1..150), limit in 1u32..40,
    ) {
        let mut world = World::new(&config(limit, "deny"));
        let made = u64::from(play(&mut world, &events));
        prop_assert!(world.redis.admitted <= made.min(limit.into()));
        prop_assert!(count(&world, Decision::Allowed) <= limit.into());
    }

    #[test]
    fn i3_without_a_count_each_policy_admits_what_it_promises(requests in 1u32..60) {
        for (policy, admitted) in [("deny", 0), ("allow", requests), ("local", requests.min(5))] {
            let mut world = World::new(&config(10, policy));
            for stream in 1..=requests {
                world.request(stream, "");
            }
            world.turn();
            world.fail(CallEnd::TimedOut);
            let passed = [Decision::DegradedAllow, Decision::DegradedLocalAllow];
            let passed: u64 = passed.map(|decision| count(&world, decision)).iter().sum();
            prop_assert_eq!(passed, u64::from(admitted), "{}", policy);
            let refused = [Decision::DegradedDeny, Decision::DegradedLocalDeny];
            let refused: u64 = refused.map(|decision| count(&world, decision)).iter().sum();
            prop_assert_eq!(passed + refused, u64::from(requests));
        }
    }
}
