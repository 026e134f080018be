//! A master of a Redis Cluster that keeps its connections and says nothing: whoever waits for it
//! waits for `redis.timeout`, and so does whoever shares a call with those, unless Envoy gives it up
//! before (`patience.rs`).

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use velocitygate_chaos::stack::envoy_config::{connection_manager, redis_proxy};
use velocitygate_chaos::stack::{EnvoyVersion, KEY_HEADER, MASTERS, Spec};

use crate::access_log::stop_and_read;
use crate::bed::{LIMIT, PATH, assert_limit_holds, counted_again, openings, recovered};
use crate::common::{Seen, client, eventually, tweak};
use crate::sharded::Sharded;
use crate::versions::on_both_envoys;

/// `redis.timeout`: a master that is well answers sooner, however busy the machine is.
const TIMEOUT_MS: u64 = 3_000;

/// The longest wait that is borne, microseconds: whatever a busy machine adds, nobody waits twice.
const WAIT_MAX_US: u64 = TIMEOUT_MS * 1_900;

const SILENT: usize = 2;

/// Clients of each master under load.
const CLIENTS: usize = 3;

const CONNECTIONS: usize = 6;

/// How often each connection asks for every client.
const ROUNDS: usize = 2;

/// A master that is silent is to be noticed by `redis.timeout` alone, and every wait to be logged.
fn impatient(spec: &mut Spec) {
    spec.plugin["redis"]["timeout"] = json!(format!("{TIMEOUT_MS}ms"));
    // Half of these calls have to wait in vain before it opens.
    (
        spec.plugin["breaker"]["window"],
        spec.plugin["breaker"]["minimum_calls"],
    ) = (json!(8), json!(4));
    spec.plugin["breaker"]["slow_call"] = json!(format!("{TIMEOUT_MS}ms"));
    tweak(spec, |tree| {
        redis_proxy(tree).unwrap()["settings"]["op_timeout"] =
            json!(format!("{}.01s", TIMEOUT_MS / 1_000));
        let front = connection_manager(tree).unwrap();
        // Whoever waits longer than the filter says is to be seen, not ended by Envoy.
        front["stream_idle_timeout"] = json!("60s");
        front["access_log"] = json!([{
            "name": "envoy.access_loggers.stdout",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                "log_format": { "json_format": {
                    "status": "%RESPONSE_CODE%",
                    "decision": "%FILTER_STATE(wasm.velocitygate_decision:PLAIN)%",
                    "wait_us": "%FILTER_STATE(wasm.velocitygate_wait_us:PLAIN)%",
                } },
            },
        }]);
    });
}

fn is_counted(seen: &Seen) -> bool {
    [200, 429].contains(&seen.status) && seen.has_limits()
}

fn is_policy(seen: &Seen) -> bool {
    seen.status == 503 && !seen.has_limits()
}

/// Asks for the silent master's clients and for those of the others, one after another: a third of
/// the calls fails, fewer than open the breaker.
async fn only_those_of_the_silent_master_suffer(sharded: &Sharded) {
    let running = &sharded.running;
    for turn in 0..4 {
        for master in 0..MASTERS {
            let key = sharded.client_of(master, &format!("turn{turn}")).await;
            let seen = Seen::of(running.get(PATH, &key)).await;
            let expected = match master {
                SILENT => is_policy(&seen),
                _ => seen.status == 200 && is_counted(&seen),
            };
            assert!(expected, "{key}: {seen:?}");
        }
    }
    assert_eq!(openings(running).await, 0);
}

/// Asks for clients of all masters on some connections at once, so that they share calls. Those of
/// the silent master get the policy; whether one of the others is counted depends on whom it shares
/// a call with, which is up to how Envoy spreads the connections and to when each turn ends.
async fn all_are_answered_under_load(sharded: &Sharded) -> Vec<(usize, String)> {
    let mut clients = Vec::new();
    for number in 0..MASTERS * CLIENTS {
        let master = number % MASTERS;
        clients.push((
            master,
            sharded.client_of(master, &format!("load{number}")).await,
        ));
    }
    let mut load = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let (http, clients) = (client(), clients.clone());
        let url = sharded.running.envoys()[0].front_url() + PATH;
        load.spawn(async move {
            for turn in 0..ROUNDS * clients.len() {
                let (master, key) = &clients[(connection + turn) % clients.len()];
                let seen = Seen::of(http.get(&url).header(KEY_HEADER, key)).await;
                let may_be_counted = *master != SILENT && is_counted(&seen);
                assert!(may_be_counted || is_policy(&seen), "{key}: {seen:?}");
            }
        });
    }
    load.join_all().await;
    clients
}

/// When most calls wait for the silent master the breaker opens; its probes find the others.
async fn the_breaker_opens_and_closes_for_the_others(sharded: &Sharded) {
    let running = &sharded.running;
    let (key, before) = (
        sharded.client_of(SILENT, "most").await,
        openings(running).await,
    );
    eventually("the breaker opens", async || {
        let seen = Seen::of(running.get(PATH, &key)).await;
        assert!(is_policy(&seen), "{seen:?}");
        openings(running).await > before
    })
    .await;
    for master in (0..MASTERS).filter(|master| *master != SILENT) {
        counted_again(running, &sharded.client_of(master, "pilot").await).await;
        assert_limit_holds(running, &sharded.client_of(master, "meanwhile").await).await;
    }
    let seen = Seen::of(running.get(PATH, &key)).await;
    assert!(is_policy(&seen), "{seen:?}");
}

/// All are counted again, and nobody had more than the limit.
async fn all_are_counted_again(sharded: &Sharded, clients: &[(usize, String)]) {
    let running = &sharded.running;
    for master in 0..MASTERS {
        recovered(running, &sharded.client_of(master, "healed").await).await;
        assert_limit_holds(running, &sharded.client_of(master, "after").await).await;
    }
    for (_, key) in clients {
        for _ in 0..=LIMIT {
            let seen = Seen::of(running.get(PATH, key)).await;
            assert!(is_counted(&seen), "{key}: {seen:?}");
        }
        assert_eq!(Seen::of(running.get(PATH, key)).await.status, 429, "{key}");
        let admitted = running.upstream().hits_of(PATH, key);
        assert!(admitted <= LIMIT, "{key}: {admitted}");
    }
}

/// Every request was decided, and none waited for longer than the filter says.
fn assert_waits_are_bounded(lines: &[Value], decided: u64) {
    assert_eq!(lines.len() as u64, decided);
    for line in lines {
        let wait_us: u64 = line["wait_us"].as_str().unwrap().parse().unwrap();
        assert!(wait_us <= WAIT_MAX_US, "{line}");
    }
}

async fn i8_a_silent_master_means_a_bounded_wait_for_those_who_ask_it(envoy: EnvoyVersion) {
    let mut dir = PathBuf::new();
    let sharded = Sharded::start(MASTERS, |spec| {
        (spec.envoy, spec.workers) = (envoy, 2);
        dir.clone_from(&spec.dir);
        impatient(spec);
    })
    .await;
    for master in 0..MASTERS {
        let key = sharded.client_of(master, "before").await;
        assert_limit_holds(&sharded.running, &key).await;
    }
    let silent = &sharded.cluster.masters()[SILENT];
    silent.freeze().await.unwrap();
    only_those_of_the_silent_master_suffer(&sharded).await;
    let clients = all_are_answered_under_load(&sharded).await;
    the_breaker_opens_and_closes_for_the_others(&sharded).await;

    silent.thaw().await.unwrap();
    sharded.cluster.agreed().await.unwrap();
    all_are_counted_again(&sharded, &clients).await;
    let decided = sharded.running.sample().await.requests["deny"]
        .values()
        .sum();
    let lines = stop_and_read(sharded.running, &dir).await;
    assert_waits_are_bounded(&lines, decided);
}

on_both_envoys![i8_a_silent_master_means_a_bounded_wait_for_those_who_ask_it];
