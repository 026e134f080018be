//! I1 of the algorithms that count in windows: excess load on many workers at once, on Redis's own
//! clock, judged by what the clients saw. `excess` does the same for the token bucket.

use std::time::Duration;

use serde_json::{Value, json};
use velocitygate_chaos::stack::KEY_HEADER;

use crate::common::{PATIENT, Running, eventually, with};
use crate::load::{Load, RedisClock, Tally};
use crate::page::counter;
use crate::promise::Promise;

/// `more` are further fields of the rule; `share` is what of the limit is admitted at least.
async fn two_envoys_with_two_workers_keep_the_promise(
    algorithm: &'static str,
    more: Value,
    share: f64,
) -> Running {
    let promise = Promise {
        algorithm,
        requests: 100,
        per: Duration::from_secs(1),
    };
    let rule = json!({
        "name": "per-key", "key": [{ "header": KEY_HEADER }], "limit": promise.limit(),
    });
    let running = Running::start(PATIENT, json!([with(rule, more)]), |spec| {
        (spec.envoys, spec.workers) = (2, 2);
    })
    .await;
    let load = Load {
        clock: RedisClock::of(&running).await,
        length: Duration::from_secs(3),
        connections: 6,
    };
    // What comes just before a window ends is what the next one knows least of.
    eventually("a window is about to end", async || {
        promise.part_of_window(load.clock.earliest_s()) > 0.85
    })
    .await;
    let start_s = load.clock.latest_s();
    let Tally { admitted, refused } = load.press(&running, "/").await;

    let excess = promise.excess(&admitted);
    assert!(excess <= 0.0, "{excess} requests above the promise");
    let last_sent_s = admitted.iter().map(|it| it.sent_s).fold(0.0, f64::max);
    let due = promise.rate() * (last_sent_s - start_s);
    let count = admitted.len() as f64;
    assert!(count >= share * due, "{count} admitted of {due}");
    assert!(refused as f64 > count / 2.0, "no excess: {refused}");
    assert_eq!(
        running.upstream().hits_of("/", "hot"),
        admitted.len() as u64
    );
    running
}

#[tokio::test]
async fn i1_two_envoys_never_admit_more_than_a_sliding_window_promises() {
    two_envoys_with_two_workers_keep_the_promise("sliding_window", json!({}), 0.9).await;
}

#[tokio::test]
async fn i1_two_envoys_never_admit_more_than_a_sliding_log_promises() {
    two_envoys_with_two_workers_keep_the_promise("sliding_log", json!({}), 0.9).await;
}

#[tokio::test]
async fn i1_two_envoys_never_admit_more_than_a_fixed_window_promises() {
    two_envoys_with_two_workers_keep_the_promise("fixed_window", json!({}), 0.9).await;
}

/// What is held while nobody asks for it costs a part of the limit, and so does a longer window.
async fn two_envoys_that_lease_keep_the_promise(algorithm: &'static str) {
    let lease = json!({ "lease": { "max": 10, "ttl": "100ms" } });
    let running = two_envoys_with_two_workers_keep_the_promise(algorithm, lease, 0.5).await;
    let hits = counter(&running, "lease_hits_total").await;
    println!("{hits} hits");
    assert!(hits > 0);
}

#[tokio::test]
async fn i1_two_envoys_with_leases_never_admit_more_than_a_sliding_log_promises() {
    two_envoys_that_lease_keep_the_promise("sliding_log").await;
}

#[tokio::test]
async fn i1_two_envoys_with_leases_never_admit_more_than_a_fixed_window_promises() {
    two_envoys_that_lease_keep_the_promise("fixed_window").await;
}
