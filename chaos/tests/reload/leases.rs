//! What becomes of tokens that a worker took ahead when its configuration is replaced.

use serde_json::{Value, json};
use velocitygate_chaos::stack::EnvoyVersion;

use crate::common::{PATIENT, Seen, eventually, rule, with};
use crate::discovery::Reloading;
use crate::page::counter;

/// A rule whose counts come back by a refund alone. A request without `x-cost` reads them.
fn counted() -> Value {
    let window = json!({ "algorithm": "fixed_window", "requests": 100, "per": "366d" });
    let cost = json!({ "header": "x-cost", "default": 0, "max": 1 });
    with(rule("one", 100), json!({ "limit": window, "cost": cost }))
}

/// What Redis has left for the client.
async fn left_for(reloading: &Reloading, key: &str) -> u64 {
    let seen = Seen::of(reloading.running.get("/one/", key)).await;
    let left = seen.header("ratelimit").split([';', '=']).nth(2);
    left.expect("a count").parse().unwrap()
}

async fn left(reloading: &Reloading) -> u64 {
    left_for(reloading, "a").await
}

async fn ask(reloading: &Reloading, key: &str) {
    let charged = reloading.running.get("/one/", key).header("x-cost", "1");
    let seen = Seen::of(charged).await;
    assert!(seen.status == 200 && seen.has_limits(), "{seen:?}");
}

/// A worker that holds tokens of a client who has made ten requests.
async fn with_a_lease(version: EnvoyVersion, timeout: u64) -> Reloading {
    let leased = with(counted(), json!({ "lease": { "max": 50, "ttl": "60s" } }));
    let reloading = Reloading::start(timeout, json!([leased]), |spec| {
        (spec.envoy, spec.workers) = (version, 1);
    })
    .await;
    for _ in 0..10 {
        ask(&reloading, "a").await;
    }
    assert!(left(&reloading).await < 90, "nothing was taken ahead");
    reloading
}

/// They stayed counted: in a window until it ended, in a bucket until it refilled.
async fn the_next_configuration_finds_what_the_last_one_held(version: EnvoyVersion) {
    let reloading = with_a_lease(version, PATIENT).await;
    reloading.reload(&json!({ "rules": [counted()] })).await;
    eventually("what was held is back", async || {
        left(&reloading).await == 90
    })
    .await;
    reloading.assert_no_trap();
}

#[tokio::test]
async fn the_next_configuration_finds_what_the_last_one_held_in_the_newest_envoy() {
    the_next_configuration_finds_what_the_last_one_held(EnvoyVersion::Newest).await;
}

#[tokio::test]
async fn the_next_configuration_finds_what_the_last_one_held_in_the_oldest_envoy() {
    the_next_configuration_finds_what_the_last_one_held(EnvoyVersion::Oldest).await;
}

/// One call has no room for them all: the old root has to tick on.
#[tokio::test]
async fn leases_of_many_clients_are_all_given_back() {
    const CLIENTS: usize = 600;
    let reloading = with_a_lease(EnvoyVersion::Newest, PATIENT).await;
    for client in 0..CLIENTS {
        for _ in 0..2 {
            ask(&reloading, &client.to_string()).await;
        }
    }
    // Of the last one: on a busy machine the first may have been given back already.
    let last = left_for(&reloading, &(CLIENTS - 1).to_string()).await;
    assert!(last < 98, "nothing was taken ahead");
    reloading.reload(&json!({ "rules": [counted()] })).await;
    for client in 0..CLIENTS {
        eventually("what was held is back", async || {
            left_for(&reloading, &client.to_string()).await == 98
        })
        .await;
    }
    assert_eq!(dropped(&reloading).await, 0);
    reloading.assert_no_trap();
}

/// The filter's counter of refunds that did not arrive.
async fn dropped(reloading: &Reloading) -> u64 {
    counter(&reloading.running, "refunds_dropped_total").await
}

#[tokio::test]
async fn i8_a_refund_to_a_silent_redis_is_given_up_and_new_requests_are_counted() {
    let reloading = with_a_lease(EnvoyVersion::Newest, PATIENT / 2).await;
    let running = &reloading.running;
    running.redis().freeze().await.unwrap();
    reloading.reload(&json!({ "rules": [counted()] })).await;
    eventually("the refund is given up", async || {
        dropped(&reloading).await > 0
    })
    .await;
    running.redis().thaw().await.unwrap();
    eventually("requests are counted again", async || {
        Seen::of(running.get("/one/", "b")).await.has_limits()
    })
    .await;
    reloading.assert_no_trap();
}

/// The VM goes, and whether its calls still arrive is not certain.
#[tokio::test]
async fn i2_a_vm_that_goes_while_tokens_are_held_gives_back_no_more_than_those() {
    let reloading = with_a_lease(EnvoyVersion::Newest, PATIENT).await;
    reloading.change_vm().await;
    assert!(left(&reloading).await <= 90);
    reloading.reload(&json!({ "rules": [counted()] })).await;
    assert!(left(&reloading).await <= 90);
    reloading.assert_no_trap();
}

/// There is nobody left to carry what is held, and Envoy must not fall over trying.
async fn an_envoy_that_stops_while_tokens_are_held_ends_well(version: EnvoyVersion) {
    let reloading = with_a_lease(version, PATIENT).await;
    let folder = reloading.stop().await;
    let log = std::fs::read(folder.path().join("envoy-0.log")).unwrap();
    let log = String::from_utf8_lossy(&log);
    assert!(log.contains("exiting"), "{log}");
    let crash = |line: &&str| line.contains("Caught") || line.contains("RuntimeError");
    assert_eq!(log.lines().find(crash), None);
}

#[tokio::test]
async fn an_envoy_that_stops_while_tokens_are_held_ends_well_in_the_newest_version() {
    an_envoy_that_stops_while_tokens_are_held_ends_well(EnvoyVersion::Newest).await;
}

#[tokio::test]
async fn an_envoy_that_stops_while_tokens_are_held_ends_well_in_the_oldest_version() {
    an_envoy_that_stops_while_tokens_are_held_ends_well(EnvoyVersion::Oldest).await;
}
