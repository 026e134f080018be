//! A Redis Cluster whose shards do not know the script, and the calls that teach it to them.

use std::ops::Range;

use super::model_redis::ModelRedis;
use super::world::World;
use crate::decision::Decision::{self, Allowed, DegradedAllow, Denied};
use crate::engine::batch::TEXTS_MAX;
use crate::engine::waiter::Waiter;
use crate::engine::{CallEnd, StreamId};
use crate::limit::TokenBucket;
use crate::units::Micros;

/// Two rules on each request, with keys on two shards.
fn rules(all: u32) -> String {
    format!(
        r#"{{ "redis": {{ "max_waiting": 4096 }}, "rules": [
            {{ "name": "all", "limit": {{ "requests": {all}, "per": "1h" }} }},
            {{ "name": "own", "key": [{{ "header": "x-api-key" }}],
              "limit": {{ "requests": 10, "per": "1h" }} }} ] }}"#
    )
}

fn cluster(shards: u64, all: u32) -> World {
    let mut world = World::new(&rules(all));
    world.redis = ModelRedis::cluster_of(shards);
    world
}

fn cold_cluster(shards: u64) -> World {
    let mut world = cluster(shards, 1_000_000);
    world.redis.flush_scripts();
    world
}

/// A request of each of these clients comes, all in one turn.
fn ask(world: &mut World, clients: Range<StreamId>) {
    for client in clients {
        assert_eq!(world.request(client, &format!("client{client}")), None);
    }
    world.turn();
}

/// Delivers until nothing is under way: the texts that each call carried.
fn texts_of_calls(world: &mut World) -> Vec<u32> {
    let mut texts = Vec::new();
    while !world.calls.is_empty() {
        let before = world.redis.evals;
        world.deliver();
        texts.push(world.redis.evals - before);
    }
    texts
}

fn decided(world: &World, decision: Decision) -> usize {
    let decisions = world.decisions();
    decisions.iter().filter(|(_, it)| *it == decision).count()
}

/// A call taught one shard the script, and a request was asked five times at most: with seven
/// shards most requests got their failure policy. The first call of each row finds the cluster, the
/// second that the script is missing.
#[test]
fn i5_every_request_is_counted_however_many_shards_lack_the_script() {
    let rows: [(u64, StreamId, &[u32]); 6] = [
        (1, 100, &[0, 0, 1]),
        (3, 100, &[0, 0, 1, 4]),
        (7, 1, &[0, 0, 1, 1]),
        (7, 100, &[0, 0, 1, 4, 16]),
        (32, 100, &[0, 0, 1, 4, 16, 16, 10]),
        (100, 255, &[0, 0, 1, 4, 16, 16, 16, 16, 16, 16, 13]),
    ];
    for (shards, clients, texts) in rows {
        let mut world = cold_cluster(shards);
        ask(&mut world, 0..clients);
        assert_eq!(texts_of_calls(&mut world), texts, "{shards} shards");
        assert_eq!(decided(&world, Allowed), clients as usize);
        assert_eq!(world.moves, Vec::<String>::new());
    }
}

/// Calls that are under way when the first tells of NOSCRIPT meet it too.
#[test]
fn requests_of_many_calls_are_counted_as_well() {
    let mut world = cold_cluster(32);
    ask(&mut world, 0..2_000);
    let mut texts = texts_of_calls(&mut world);
    texts.retain(|texts| *texts > 0);
    assert_eq!(texts, [1, 4, 16, 16, 16]);
    assert_eq!(decided(&world, Allowed), 2_000);
}

#[test]
fn a_shard_that_alone_lacks_the_script_gets_it_once() {
    let mut world = cluster(7, 1_000_000);
    world.redis.cold.insert(3);
    ask(&mut world, 0..100);
    assert_eq!(texts_of_calls(&mut world), [0, 0, 1]);
    assert_eq!(decided(&world, Allowed), 100);
}

/// The refund is for a shard that lacks the script; it stands behind a request for one that does
/// not, and the text would be wasted there.
#[test]
fn the_text_goes_first_and_to_the_shard_that_lacks_it() {
    let mut world = World::new(
        r#"{ "rules": [
            { "name": "team", "key": [{ "header": "x-team" }], "missing_key": "skip",
              "limit": { "requests": 10, "per": "1h" } },
            { "name": "own", "key": [{ "header": "x-api-key" }],
              "limit": { "requests": 1, "per": "1h" } } ] }"#,
    );
    world.redis = ModelRedis::cluster_of(2);
    for stream in [1, 2] {
        world.request_with(stream, &[("x-api-key", "a"), ("x-team", "t")]);
    }
    world.turn();
    world.deliver();
    world.deliver();
    assert_eq!(world.decisions(), [(1, Allowed), (2, Denied)]);
    assert_eq!(world.calls[0].replies, 1, "a refund");
    let cold = world.redis.shard_of(b"vg:{team:t}:tb");
    world.redis.cold.insert(cold);
    let mut others = (0..).map(|number| format!("client{number}"));
    let is_warm = |key: &String| {
        let key = format!("vg:{{own:{key}}}:tb");
        world.redis.shard_of(key.as_bytes()) != cold
    };
    let other = others.find(is_warm).expect("one of many");
    world.request(3, &other);
    assert_eq!(texts_of_calls(&mut world), [0, 1]);
    assert_eq!(world.verdict(3).decision, Allowed);
    assert_eq!(world.count("refunds_dropped_total"), 0);
}

/// Nearly every key has a shard of its own, so nearly every command needs the text.
#[test]
fn texts_and_askings_end_at_their_bounds() {
    let mut world = cold_cluster(1_000_000);
    ask(&mut world, 0..255);
    let texts = texts_of_calls(&mut world);
    assert_eq!(texts.len(), usize::from(Waiter::ASKED_MAX));
    assert_eq!(texts[..5], [0, 0, 1, 4, 16]);
    assert!(texts[5..].iter().all(|n| *n as usize == TEXTS_MAX));
    // One text was for the rule for all.
    let counted = decided(&world, Allowed);
    assert_eq!(counted, texts.iter().sum::<u32>() as usize - 1);
    assert_eq!(decided(&world, DegradedAllow), 255 - counted);
}

/// Some shards ran the script and nobody heard of it; the others still lack it.
#[test]
fn a_load_whose_answer_is_lost_costs_its_own_requests_alone() {
    let mut world = cold_cluster(7);
    ask(&mut world, 0..100);
    for _ in 0..3 {
        world.deliver();
    }
    let counted = decided(&world, Allowed);
    ask(&mut world, 100..200);
    world.redis.run(&world.calls[0], world.now);
    world.fail(CallEnd::TimedOut);
    assert_eq!(texts_of_calls(&mut world), [0, 1, 4, 16]);
    assert_eq!(decided(&world, Allowed), counted + 100);
    assert_eq!(decided(&world, DegradedAllow), 100 - counted);
}

/// Refunds are asked by nobody who waits, and meet NOSCRIPT as charges do.
#[test]
fn refunds_reach_shards_that_lost_the_script() {
    let mut world = cluster(32, 1);
    ask(&mut world, 0..100);
    world.deliver();
    world.deliver();
    assert_eq!((decided(&world, Allowed), decided(&world, Denied)), (1, 99));
    assert_eq!((world.calls.len(), world.calls[0].replies), (1, 99));
    world.redis.flush_scripts();
    assert_eq!(texts_of_calls(&mut world), [0, 1, 4, 16, 16, 10]);
    assert_eq!(world.count("refunds_dropped_total"), 0);
    let own = TokenBucket {
        requests: 10,
        per: Micros::from_secs(3_600),
        burst: 10,
    };
    for client in 1..100 {
        let key = format!("client{client}");
        assert_eq!(world.redis.remaining("own", &key, own, world.now), 10);
    }
}
