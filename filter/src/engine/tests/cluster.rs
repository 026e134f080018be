//! Several rules on one request when Redis is a cluster, where their keys live in different slots.

use super::world::World;
use crate::decision::Decision::{Allowed, DegradedAllow, DegradedDeny, Denied};
use crate::engine::{Action, CallEnd};
use crate::limit::TokenBucket;
use crate::units::Micros;

fn two_rules(on_failure: &str) -> String {
    format!(
        r#"{{ "rules": [
            {{ "name": "all", "limit": {{ "requests": 10, "per": "1h" }} }},
            {{ "name": "own", "key": [{{ "header": "x-api-key" }}], "on_failure": "{on_failure}",
              "limit": {{ "requests": 2, "per": "1h" }} }} ] }}"#
    )
}

fn cluster(on_failure: &str) -> World {
    let mut world = World::new(&two_rules(on_failure));
    world.redis.cluster = true;
    world
}

/// So many requests of one client in one call, of which the worker has learned that Redis is a
/// cluster: the call that asks for each rule is under way.
fn asked_at_once(requests: u32) -> World {
    let mut world = cluster("allow");
    for stream in 1..=requests {
        world.request(stream, "a");
    }
    world.turn();
    world.deliver();
    world
}

/// Such requests once got their failure policy, for ever.
#[test]
fn the_request_that_finds_out_is_asked_again_for_each_rule() {
    let mut world = cluster("allow");
    assert_eq!(world.round_trip(1, "a"), Allowed);
    assert_eq!(world.redis.evalshas, 3, "both at once, then one by one");
    assert_eq!(world.count("redis_errors_total.class.cluster"), 1);
    assert_eq!(
        world.field(1, "ratelimit").as_deref(),
        Some("\"own\";r=1;t=1800, \"all\";r=9;t=360")
    );
    world.request(2, "a");
    world.turn();
    assert_eq!(world.calls.len(), 1, "still one call");
    assert_eq!(world.calls[0].replies, 2);
    world.deliver();
    assert_eq!(world.verdict(2).decision, Allowed);
    assert_eq!(world.moves, Vec::<String>::new());
}

#[test]
fn all_that_were_in_the_call_are_asked_again_in_their_order() {
    let mut world = asked_at_once(3);
    world.deliver();
    let decisions = world.decisions();
    assert_eq!(decisions, [(1, Allowed), (2, Allowed), (3, Denied)]);
}

#[test]
fn a_refusal_names_only_the_rule_that_had_no_room() {
    let mut world = asked_at_once(3);
    world.deliver();
    let Action::Refuse(answer) = world.verdict(3).action else {
        panic!("refused")
    };
    let violated = r#""violated-policies":["own"]"#;
    assert!(answer.body.contains(violated), "{}", answer.body);
    assert_eq!(world.verdict(3).rule, 1);
}

#[test]
fn a_rule_whose_shard_is_away_gets_its_policy_and_the_others_count() {
    for (policy, expected) in [("allow", DegradedAllow), ("deny", DegradedDeny)] {
        let mut world = cluster(policy);
        assert_eq!(world.round_trip(1, "a"), Allowed);
        world.request(2, "b");
        world.turn();
        let call = world.calls.remove(0);
        let charged = world.redis.run(&call, world.now);
        let first = charged.iter().skip(1).position(|byte| *byte == b'*');
        let (first, _) = charged.split_at(first.expect("two replies") + 1);
        let reply = [first, b"-CLUSTERDOWN Hash slot not served\r\n"].concat();
        world.end(&call, CallEnd::Replied(&reply));
        assert_eq!(world.verdict(2).decision, expected);
        assert_eq!(world.verdict(2).rule, 1);
        let allowed = world.count("requests_total.rule.rule.decision.allowed");
        assert_eq!(allowed, if policy == "allow" { 3 } else { 2 });
    }
}

/// Tokens of the rule `all` that were taken so far.
fn taken(world: &World) -> u64 {
    let limit = TokenBucket {
        requests: 10,
        per: Micros::from_secs(3_600),
        burst: 10,
    };
    10 - world.redis.remaining("all", "", limit, world.now)
}

#[test]
fn what_a_refused_request_was_charged_elsewhere_is_given_back() {
    let mut world = asked_at_once(5);
    world.deliver();
    assert_eq!(taken(&world), 5, "for five requests, of which two passed");
    assert_eq!(world.calls.len(), 1, "one call gives back");
    assert_eq!(world.calls[0].replies, 1, "in one command");
    world.deliver();
    assert_eq!(taken(&world), 2);
    assert!(world.calls.is_empty());
    assert_eq!(world.engine.waiting(), 0);
}

#[test]
fn refunds_travel_with_the_next_requests() {
    let mut world = asked_at_once(3);
    world.request(4, "b");
    world.deliver();
    assert_eq!(world.calls.len(), 1);
    assert_eq!(world.calls[0].replies, 3, "a refund and two charges");
    world.deliver();
    assert_eq!(world.verdict(4).decision, Allowed);
    assert_eq!(taken(&world), 3);
}

/// I4: what is lost is never given back twice, and errs on the side of the limit.
#[test]
fn i4_a_refund_that_is_lost_is_not_made_again() {
    let mut world = asked_at_once(3);
    world.deliver();
    world.fail(CallEnd::TimedOut);
    assert!(world.calls.is_empty());
    assert_eq!(world.round_trip(4, "b"), Allowed);
    assert_eq!(taken(&world), 4);
}

#[test]
fn a_request_that_a_dead_shard_refuses_gets_back_what_others_charged() {
    let mut world = cluster("deny");
    assert_eq!(world.round_trip(1, "a"), Allowed);
    world.redis.poisoned.push(b"vg:{own:b}:tb".to_vec());
    assert_eq!(world.round_trip(2, "b"), DegradedDeny);
    assert_eq!(taken(&world), 1);
}

#[test]
fn refunds_that_an_open_breaker_holds_back_are_dropped_and_counted() {
    let cell = crate::testing::Cell::default();
    let mut world = World::worker_of(&two_rules("allow"), cell.clone());
    world.redis.cluster = true;
    assert_eq!(world.round_trip(1, "a"), Allowed);
    for stream in 2..=4 {
        world.request(stream, "a");
    }
    world.turn();
    World::worker_of(&two_rules("allow"), cell).open_the_breaker();
    world.deliver();
    assert!(world.calls.is_empty());
    assert_eq!(world.verdict(4).decision, Denied);
    assert_eq!(world.count("refunds_dropped_total"), 2);
}

/// One shard of three was lost, and most calls carried a key of it: the breaker opened for all.
#[test]
fn i5_a_lost_shard_does_not_open_the_breaker_while_others_answer() {
    let rules = two_rules("allow").replace("\"requests\": 10,", "\"requests\": 1000,");
    let mut world = World::new(&rules);
    world.redis.cluster = true;
    for stream in 1..=40 {
        world.request(stream, &stream.to_string());
        world.turn();
        while !world.calls.is_empty() {
            let call = world.calls.remove(0);
            let reply = world.redis.run(&call, world.now);
            let lost = b"-upstream failure\r\n";
            let second = reply.iter().skip(1).position(|byte| *byte == b'*');
            let reply = second.map_or_else(|| reply.clone(), |at| [&reply[..=at], lost].concat());
            world.end(&call, CallEnd::Replied(&reply));
        }
        assert_eq!(world.verdict(stream).decision, DegradedAllow);
    }
    assert_eq!(world.moves, Vec::<String>::new());
    assert!(world.count("redis_calls_total.result.unreachable") >= 39);
}

/// A client over its own limit sent on: each of its requests charged the rule for all in Redis and
/// got it back a round trip later, so nobody else passed.
#[test]
fn i5_a_client_known_to_be_refused_charges_no_other_rule() {
    let mut world = cluster("allow");
    for stream in 1..=3 {
        world.round_trip(stream, "a");
    }
    let (before, asked) = (taken(&world), world.redis.evalshas);
    for stream in 10..30 {
        let verdict = world.request(stream, "a").expect("known at once");
        assert_eq!((verdict.decision, verdict.rule), (Denied, 1));
    }
    assert_eq!(taken(&world), before);
    assert_eq!(world.redis.evalshas, asked);
}

fn leased() -> World {
    let lease = r#""lease": { "max": 8, "ttl": "1s" }, "limit""#;
    let mut world = World::new(&two_rules("allow").replace("\"limit\"", lease));
    world.redis.cluster = true;
    world
}

#[test]
fn i4_a_refused_request_spends_no_lease() {
    let mut world = leased();
    for stream in 1..=6 {
        world.request(stream, &format!("k{stream}"));
        world.request(100 + stream, "a");
    }
    world.turn();
    while !world.calls.is_empty() {
        world.deliver();
    }
    let hits = world.count("lease_hits_total");
    for stream in 200..220 {
        let verdict = world.request(stream, "a").expect("known at once");
        assert_eq!(verdict.decision, Denied);
    }
    assert_eq!(world.count("lease_hits_total"), hits);
}

/// The last token of the client's own rule was given back because the rule for all refused, and
/// the client was refused all the same for as long as its token would have taken to come back.
#[test]
fn i6_a_key_whose_token_was_given_back_is_asked_for_again() {
    let config = r#"{ "rules": [
        { "name": "all", "limit": { "requests": 10, "per": "10s" } },
        { "name": "own", "key": [{ "header": "x-api-key" }],
          "limit": { "requests": 1, "per": "1h" } } ] }"#;
    let mut world = World::new(config);
    world.redis.cluster = true;
    for stream in 1..=10 {
        assert_eq!(world.round_trip(stream, &format!("k{stream}")), Allowed);
    }
    // The rule for all is not known to be used up by a worker that asks for the first time.
    let mut other = World::new(config);
    other.redis = std::mem::take(&mut world.redis);
    assert_eq!(other.round_trip(1, "late"), Denied);
    assert_eq!(other.verdict(1).rule, 0);
    other.now = other.now + Micros::from_secs(2);
    assert_eq!(other.round_trip(2, "late"), Allowed);
}
