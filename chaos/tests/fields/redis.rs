//! `redis`: which way leads to the store, how its keys begin, who may wait for it and for how long.

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use velocitygate_chaos::stack::KEY_HEADER;
use velocitygate_chaos::stack::envoy_config::redis_proxy;

use crate::access_log::stop_and_read;
use crate::common::{PATIENT, Running, Seen, eventually, rule, tweak, with};
use crate::page::counter;
use crate::stat::stat;
use crate::statuses;

/// Adds a way to the bridge of this name beside the usual one.
fn add_way(tree: &mut Value, name: &str) {
    let clusters = tree["static_resources"]["clusters"].as_array_mut().unwrap();
    let usual = clusters
        .iter()
        .find(|it| it["name"] == "velocitygate_redis");
    let mut other = usual.unwrap().clone();
    other["name"] = json!(name);
    other["load_assignment"]["cluster_name"] = json!(name);
    clusters.push(other);
}

/// Calls that Envoy sent this way.
async fn sent_through(running: &Running, cluster: &str) -> u64 {
    stat(running, &format!("cluster.{cluster}.upstream_rq_total")).await
}

#[tokio::test]
async fn calls_go_through_the_cluster_that_is_named_and_no_other() {
    let running = Running::start(PATIENT, json!([rule("one", 1)]), |spec| {
        spec.plugin["redis"]["cluster"] = json!("counters");
        tweak(spec, |tree| add_way(tree, "counters"));
    })
    .await;
    let seen = Seen::of(running.get("/one/", "a")).await;
    assert!(seen.status == 200 && seen.has_limits(), "{seen:?}");
    let calls: u64 = running.sample().await.redis_calls.values().sum();
    assert!(calls > 0);
    assert_eq!(sent_through(&running, "counters").await, calls);
    assert_eq!(sent_through(&running, "velocitygate_redis").await, 0);
}

#[tokio::test]
async fn every_key_in_redis_begins_with_the_prefix() {
    let running = Running::start(PATIENT, json!([rule("one", 1)]), |spec| {
        spec.plugin["redis"]["key_prefix"] = json!("Shop-1.eu");
    })
    .await;
    let sent = [("/one/", [(KEY_HEADER, "a")].as_slice()); 2];
    assert_eq!(statuses(&running, sent).await, [200, 429]);
    let mut all = redis::cmd("KEYS");
    all.arg("*");
    let keys: Vec<String> = running.redis().ask(all).await.unwrap();
    assert_eq!(keys, ["Shop-1.eu:{one:a}:tb"]);
}

/// Begins so many requests.
fn asking(running: &Running, count: u64) -> JoinSet<Seen> {
    let mut asking = JoinSet::new();
    for _ in 0..count {
        asking.spawn(Seen::of(running.get("/deny/", "a")));
    }
    asking
}

/// The same, and returns when all of them wait.
async fn waiting(running: &Running, count: u64) -> JoinSet<Seen> {
    let asking = asking(running, count);
    eventually("all of them wait", async || {
        running.sample().await.waiting == count
    })
    .await;
    asking
}

fn closed() -> Value {
    json!([with(rule("deny", 9), json!({ "on_failure": "deny" }))])
}

#[tokio::test]
async fn a_request_that_finds_max_waiting_others_gets_its_policy_while_they_wait_on() {
    let running = Running::start(PATIENT, closed(), |spec| {
        spec.plugin["redis"]["max_waiting"] = json!(3);
    })
    .await;
    running.redis().freeze().await.unwrap();
    let asking = waiting(&running, 3).await;
    assert_eq!(counter(&running, "waiting_full_total").await, 0);
    for met in 1..=2 {
        let seen = Seen::of(running.get("/deny/", "a")).await;
        assert_eq!(
            (seen.status, seen.header("x-velocitygate")),
            (503, "unavailable")
        );
        assert_eq!(counter(&running, "waiting_full_total").await, met);
    }
    assert_eq!(running.sample().await.waiting, 3);
    running.redis().thaw().await.unwrap();
    for seen in asking.join_all().await {
        assert!(seen.status == 200 && seen.has_limits(), "{seen:?}");
    }
    assert_eq!(counter(&running, "waiting_full_total").await, 2);
}

#[tokio::test]
async fn a_request_waits_for_redis_timeout_and_not_for_what_else_would_end_its_call() {
    const TIMEOUT_MS: u64 = 2_000;
    const OTHERS_S: u64 = 60;
    let mut dir = PathBuf::new();
    let running = Running::start(TIMEOUT_MS, closed(), |spec| {
        dir.clone_from(&spec.dir);
        tweak(spec, |tree| {
            redis_proxy(tree).unwrap()["settings"]["op_timeout"] = json!(format!("{OTHERS_S}s"));
        });
    })
    .await;
    running.redis().freeze().await.unwrap();
    for seen in asking(&running, 3).join_all().await {
        assert_eq!(
            (seen.status, seen.header("x-velocitygate")),
            (503, "unavailable")
        );
    }
    let lines = stop_and_read(running, &dir).await;
    assert_eq!(lines.len(), 3);
    for line in lines {
        assert_eq!(line["decision"], "degraded_deny");
        let wait_us: u64 = line["wait_us"].as_str().unwrap().parse().unwrap();
        // Envoy counts a call's time from the beginning of its turn of the event loop. What a busy
        // machine takes off or adds does not reach what else would end a call.
        let bounds = TIMEOUT_MS * 500..=OTHERS_S * 500_000;
        assert!(bounds.contains(&wait_us), "{line}");
    }
}
