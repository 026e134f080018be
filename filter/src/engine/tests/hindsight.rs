//! Faults that were found once, each with the story of how it showed.

use super::world::{World, reply};
use crate::decision::Decision::{Allowed, DegradedAllow, DegradedLocalAllow};
use crate::engine::CallEnd;
use crate::units::Micros;

const ONE_RULE: &str = r#"{ "rules": [ { "name": "all", "key": [{ "header": "x-api-key" }],
    "limit": { "requests": 10, "per": "1m" } } ] }"#;

/// A turn comes after its requests, so less than the whole millisecond was left, and requests with
/// the shortest timeout never asked Redis at all.
#[test]
fn the_shortest_timeout_still_asks_redis() {
    let mut world = World::new(
        r#"{ "redis": { "timeout": "1ms" },
             "rules": [ { "name": "all", "limit": { "requests": 10, "per": "1m" } } ] }"#,
    );
    world.request(1, "");
    world.now = world.now + Micros(1);
    world.turn();
    assert_eq!(world.calls[0].timeout, Micros::from_millis(1));
}

/// The call of a batch once had the time that its oldest request had left. After a slow script load
/// new requests were given 5 ms, and the breaker was told that Redis had timed out.
#[test]
fn an_old_request_does_not_cut_short_the_wait_of_a_new_one() {
    let mut world = World::new(ONE_RULE);
    world.redis.knows_script = false;
    world.request(1, "a");
    world.turn();
    world.deliver();
    world.request(2, "b");
    world.now = world.now + Micros::from_millis(46);
    world.request(3, "c");
    world.deliver();
    assert_eq!(world.calls[0].timeout, Micros::from_millis(50));
    world.tick(Micros::from_millis(4));
    assert_eq!(world.decisions(), [(1, Allowed), (2, DegradedAllow)]);
    world.deliver();
    assert_eq!(world.verdict(3).decision, Allowed);
}

/// A call that only carried requests with little time left says nothing of Redis when it times out.
#[test]
fn a_call_that_was_cut_short_proves_nothing_to_the_breaker() {
    let mut world = World::new(ONE_RULE);
    for story in 0..20 {
        world.redis.knows_script = false;
        world.request(3 * story + 1, &format!("a{story}"));
        world.turn();
        world.deliver();
        world.request(3 * story + 2, &format!("b{story}"));
        world.now = world.now + Micros::from_millis(39);
        world.deliver();
        assert_eq!(world.calls[0].timeout, Micros::from_millis(11));
        world.fail(CallEnd::TimedOut);
    }
    assert_eq!(world.moves, Vec::<String>::new());
}

fn many_rules(rules: usize, key: &str) -> String {
    let rule =
        |n| format!(r#"{{ "name": "r{n}", {key} "limit": {{ "requests": 10, "per": "1m" }} }}"#);
    let rules: Vec<String> = (0..rules).map(rule).collect();
    format!(r#"{{ "rules": [{}] }}"#, rules.join(","))
}

/// The bridge bounded commands as it bounds replies: 205 rules on one request were more words than
/// it took, so such a configuration was accepted and never worked.
#[test]
fn as_many_rules_as_the_configuration_takes_are_counted() {
    let mut world = World::new(&many_rules(crate::config::RULES_MAX, ""));
    assert_eq!(world.round_trip(1, ""), Allowed);
}

/// Likewise 21 rules with eight long header values each: ten such requests of one client opened the
/// breaker for everybody.
#[test]
fn i5_the_longest_keys_of_one_client_fit_into_a_call() {
    let parts: Vec<String> = (0..8)
        .map(|n| format!(r#"{{ "header": "h{n}" }}"#))
        .collect();
    let key = format!(r#""key": [{}],"#, parts.join(","));
    let mut world = World::new(&many_rules(crate::config::RULES_MAX, &key));
    let value = "|".repeat(128);
    let names: Vec<String> = (0..8).map(|n| format!("h{n}")).collect();
    let headers: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), value.as_str())).collect();
    world.request_with(1, &headers);
    world.request_with(2, &headers);
    world.turn();
    assert_eq!(world.calls.len(), 2, "one of them fills a call");
    world.deliver();
    world.deliver();
    assert_eq!(world.decisions(), [(1, Allowed), (2, Allowed)]);
}

/// Only a turn took note that a wake had come. After one that the host lost, every later request
/// waited for the next tick.
#[test]
fn a_lost_wake_slows_down_its_own_turn_only() {
    let mut world = World::new(ONE_RULE);
    world.request(1, "a");
    world.tick(Micros::from_millis(5));
    world.deliver();
    world.request(2, "a");
    assert_eq!(world.wakes, 2);
}

/// A store that can run no scripts was counted as well, and its calls as `ok`.
#[test]
fn a_store_that_knows_no_scripts_opens_the_breaker_and_is_never_ok() {
    let mut world = World::new(ONE_RULE);
    world.redis.error = Some("ERR unknown command 'EVALSHA', with args beginning with:");
    for stream in 1..=10 {
        assert_eq!(world.round_trip(stream, "a"), DegradedAllow);
    }
    assert_eq!(world.count("redis_calls_total.result.ok"), 0);
    assert_eq!(world.count("redis_calls_total.result.error"), 10);
    assert_eq!(world.moves.len(), 1);
}

/// A store that answers even the script's text with NOSCRIPT was asked again and again until the
/// deadline, hundreds of times a request, and the breaker never heard of it.
#[test]
fn a_store_that_forgets_every_script_is_asked_twice_and_opens_the_breaker() {
    let mut world = World::new(ONE_RULE);
    world.redis.error = Some("NOSCRIPT No matching script.");
    for stream in 1..=10 {
        assert_eq!(world.round_trip(stream, "a"), DegradedAllow);
    }
    assert_eq!((world.redis.evals, world.redis.evalshas), (10, 10));
    assert_eq!(world.moves.len(), 1);
}

/// Replies that contradict themselves were believed: a refusal although there was room carried no
/// `Retry-After` and was counted by no rule.
#[test]
fn i10_a_reply_that_no_script_gives_is_malformed_and_the_request_is_counted() {
    for numbers in [[0, 7, 5, 0, 0], [1, 7, 11, 0, 0], [1, 7, 5, 0, i64::MAX]] {
        let mut world = World::new(ONE_RULE);
        world.request(1, "a");
        world.turn();
        world.fail(CallEnd::Replied(&reply(&numbers)));
        assert_eq!(
            world.count("redis_calls_total.result.malformed"),
            1,
            "{numbers:?}"
        );
        assert_eq!(
            world.count("requests_total.rule.rule.decision.degraded_allow"),
            1
        );
    }
}

/// The fields led with the rule that had the smallest share left, which need not be one that
/// refused: a client was told to come back in 400 s, and that one request was left.
#[test]
fn the_fields_of_a_refusal_lead_with_a_rule_that_refused() {
    let mut world = World::new(
        r#"{ "headers": ["x-ratelimit", "retry-after"], "rules": [
            { "name": "costly", "key": [{ "header": "x-api-key" }], "cost": 5,
              "limit": { "requests": 9, "per": "1h" } },
            { "name": "cheap", "limit": { "requests": 10, "per": "1h" } } ] }"#,
    );
    for stream in 1..=8 {
        world.round_trip(stream, &format!("other-{stream}"));
    }
    world.round_trip(9, "k");
    world.round_trip(10, "k");
    assert_eq!(world.field(10, "x-ratelimit-limit").as_deref(), Some("9"));
    assert_eq!(
        world.field(10, "x-ratelimit-reset"),
        world.field(10, "retry-after")
    );
}

/// Overdue requests were ended in the order of a hash table.
#[test]
fn local_buckets_admit_the_first_that_came() {
    let mut world = World::new(
        r#"{ "rules": [ { "name": "all", "on_failure": "local",
             "limit": { "requests": 20, "per": "1h" } } ] }"#,
    );
    for stream in 1..=30 {
        world.request(stream, "");
    }
    world.tick(Micros::from_millis(60));
    let decisions = world.decisions().into_iter();
    let passed = decisions.filter(|(_, decision)| *decision == DegradedLocalAllow);
    let passed: Vec<u32> = passed.map(|(stream, _)| stream).collect();
    assert_eq!(passed, (1..=10).collect::<Vec<u32>>());
}

/// The fields of an admitted request spoke of the bucket after all that were admitted with it.
#[test]
fn each_admitted_request_is_told_its_own_time_to_a_full_bucket() {
    let mut world = World::new(ONE_RULE);
    for stream in 1..=3 {
        world.request(stream, "a");
    }
    world.turn();
    world.deliver();
    let fields: Vec<_> = (1..=3)
        .filter_map(|stream| world.field(stream, "ratelimit"))
        .collect();
    let expected = ["\"all\";r=9;t=6", "\"all\";r=8;t=12", "\"all\";r=7;t=18"];
    assert_eq!(fields, expected);
}

/// A probe that had to load the script left the engine believing that Redis lacked it.
#[test]
fn a_script_that_a_probe_loaded_is_not_loaded_again() {
    let mut world = World::new(ONE_RULE);
    world.request(1, "a");
    world.turn();
    let late = world.calls.remove(0);
    world.open_the_breaker();
    world.redis.knows_script = false;
    let noscript = world.redis.run(&late, world.now);
    world.end(&late, CallEnd::Replied(&noscript));
    world.tick(Micros::from_millis(300));
    while !world.calls.is_empty() {
        world.deliver();
    }
    assert_eq!(world.round_trip(2, "a"), Allowed);
    assert_eq!(world.redis.evals, 1);
}
