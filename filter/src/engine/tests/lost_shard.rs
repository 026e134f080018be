//! A Redis Cluster of which some shards answer and others do not, or not as they should.

use super::failures::ERRORS_OF_THE_STORE;
use super::model_redis::ModelRedis;
use super::world::World;
use crate::decision::Decision::{Allowed, DegradedAllow};
use crate::engine::CallEnd;
use crate::units::Micros;

const SHARDS: u64 = 3;

const LOST: &str = "upstream failure";

/// Stands for no answer.
const SILENT: &str = "silent";

const OWN: &str = r#"{ "name": "own", "key": [{ "header": "x-api-key" }],
    "limit": { "requests": 1000, "per": "1s" } }"#;

/// One rule: no request asks for two keys, so none finds out that there is a cluster.
fn cluster() -> World {
    let mut world = World::new(&format!(r#"{{ "rules": [ {OWN} ] }}"#));
    world.redis = ModelRedis::cluster_of(SHARDS);
    world
}

/// Clients whose keys this shard has.
fn clients_of(shard: u64) -> impl Iterator<Item = String> {
    let names = (0..).map(|number| format!("client{number}"));
    names.filter(move |name| {
        let key = format!("vg:{{own:{name}}}:tb");
        ModelRedis::cluster_of(SHARDS).shard_of(key.as_bytes()) == shard
    })
}

/// Whatever is under way ends.
fn settle(world: &mut World) {
    while !world.calls.is_empty() {
        let call = world.calls.remove(0);
        let bytes = world.redis.run(&call, world.now);
        let end = match String::from_utf8_lossy(&bytes).contains(SILENT) {
            true => CallEnd::TimedOut,
            false => CallEnd::Replied(&bytes),
        };
        world.end(&call, end);
    }
}

/// Each of so many clients of a shard asks once, in a call of its own.
fn ask(world: &mut World, shard: u64, clients: u32) {
    for (stream, client) in (1000..).zip(clients_of(shard).take(clients as usize)) {
        world.request(stream, &client);
        world.turn();
        settle(world);
    }
}

/// Lets probes be sent and answered until the breaker is closed, or for two seconds.
fn probe_for_long(world: &mut World) {
    for _ in 0..400 {
        world.tick(Micros::from_millis(5));
        settle(world);
        let last = world.moves.last();
        if last.is_some_and(|it| it.contains("-> closed")) {
            return;
        }
    }
}

fn probes(world: &World) -> (i64, i64) {
    let of = |result| world.count(&format!("breaker_probes_total.result.{result}"));
    (of("ok"), of("failed"))
}

/// All probes asked for one key: when its shard was lost, the breaker stayed open for all.
#[test]
fn i5_whichever_shard_is_lost_the_breaker_closes_for_the_others() {
    for (lost, how) in (0..SHARDS).flat_map(|shard| [(shard, LOST), (shard, SILENT)]) {
        let mut world = cluster();
        world.redis.ill.insert(lost, how);
        ask(&mut world, lost, 10);
        assert_eq!(world.moves.len(), 1, "opened");
        probe_for_long(&mut world);
        let last = world.moves.last().expect("moves");
        assert!(
            last.ends_with("closed: 3 probes succeeded"),
            "{lost}: {last}"
        );
        assert_eq!(probes(&world).0, 3);
        let client = clients_of((lost + 1) % SHARDS).next().expect("many");
        assert_eq!(world.round_trip(1, &client), Allowed, "{lost}");
    }
}

#[test]
fn i7_the_breaker_stays_open_while_no_shard_answers() {
    let mut world = cluster();
    world.redis.ill = (0..SHARDS).map(|shard| (shard, LOST)).collect();
    ask(&mut world, 0, 10);
    probe_for_long(&mut world);
    let (ok, failed) = probes(&world);
    assert!(ok == 0 && failed > 2, "{ok} {failed}");
}

/// `OOM`, `READONLY` and their like of one shard failed the whole call, whatever the others said.
#[test]
fn i5_an_error_of_one_shard_is_no_failure_while_others_count() {
    for (error, class) in ERRORS_OF_THE_STORE {
        let mut world = cluster();
        world.redis.ill.insert(2, error);
        for round in 0..20 {
            for shard in 0..SHARDS {
                let client = clients_of(shard).next().expect("many");
                world.request(10 * round + shard as u32, &client);
            }
            world.turn();
            world.deliver();
            let decided = [0, 1, 2].map(|shard| world.verdict(10 * round + shard).decision);
            assert_eq!(decided, [Allowed, Allowed, DegradedAllow], "{error}");
        }
        assert_eq!(world.moves, Vec::<String>::new(), "{error}");
        let counted = world.count(&format!("redis_errors_total.class.{class}"));
        assert_eq!(counted, 20, "{error}");
        // And those that ask it alone open the breaker.
        ask(&mut world, 2, 30);
        assert_eq!(world.moves.len(), 1, "{error}");
    }
}

/// What is wrong with a key is told before a full store refuses a write, and by any master: that no
/// request is counted is worth more.
#[test]
fn a_poisoned_key_does_not_hide_that_nothing_is_counted() {
    for error in [LOST, "OOM command not allowed"] {
        let mut world = cluster();
        let [poisoned, ill] = [0, 1].map(|shard| clients_of(shard).next().expect("many"));
        let key = format!("vg:{{own:{poisoned}}}:tb");
        world.redis.poisoned.push(key.into_bytes());
        world.redis.ill.insert(1, error);
        for stream in 0..10 {
            world.request(2 * stream, &poisoned);
            world.request(2 * stream + 1, &ill);
            world.turn();
            world.deliver();
        }
        assert_eq!(world.moves.len(), 1, "{error}: {:?}", world.moves);
    }
}
