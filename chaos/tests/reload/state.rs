//! What a new configuration finds of the old one: the README says what carries over.

use serde_json::{Value, json};
use velocitygate_chaos::observe::BreakerState;
use velocitygate_chaos::stack::EnvoyVersion;

use crate::common::{PATIENT, Seen, eventually, rule, with};
use crate::discovery::Reloading;
use crate::versions::on_both_envoys;

async fn statuses(reloading: &Reloading, path: &str, key: &str, count: usize) -> Vec<u16> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(Seen::of(reloading.running.get(path, key)).await.status);
    }
    all
}

async fn counts_in_redis_carry_over_and_a_new_limit_holds_at_once(version: EnvoyVersion) {
    let reloading = Reloading::start(PATIENT, json!([rule("one", 2)]), |spec| {
        spec.envoy = version
    })
    .await;
    assert_eq!(statuses(&reloading, "/one/", "a", 3).await, [200, 200, 429]);
    assert_eq!(statuses(&reloading, "/one/", "c", 1).await, [200]);
    // Raised: what is taken stays taken, and the room is there at once.
    reloading
        .reload(&json!({ "rules": [rule("one", 4)] }))
        .await;
    assert_eq!(statuses(&reloading, "/one/", "a", 3).await, [200, 200, 429]);
    assert_eq!(
        statuses(&reloading, "/one/", "c", 4).await,
        [200, 200, 200, 429]
    );
    // So it is with a burst of its own, whatever the rate.
    let mut wider = rule("one", 1);
    wider["limit"]["burst"] = json!(6);
    reloading.reload(&json!({ "rules": [wider] })).await;
    assert_eq!(statuses(&reloading, "/one/", "c", 3).await, [200, 200, 429]);
    // Lowered: a key within the old limit may be over the new one.
    assert_eq!(statuses(&reloading, "/one/", "b", 3).await, [200, 200, 200]);
    reloading
        .reload(&json!({ "rules": [rule("one", 2)] }))
        .await;
    assert_eq!(statuses(&reloading, "/one/", "b", 1).await, [429]);
    // The same configuration again changes nothing.
    reloading
        .reload(&json!({ "rules": [rule("one", 2)], "headers": [] }))
        .await;
    assert_eq!(statuses(&reloading, "/one/", "a", 2).await, [429, 429]);
}

/// Opens soon, and lets nobody through again during a test.
fn breaker() -> Value {
    json!({ "window": 4, "minimum_calls": 2, "open": "1h" })
}

async fn an_open_breaker_stays_open_and_local_buckets_begin_full_again(version: EnvoyVersion) {
    let local = |requests| {
        with(
            rule("one", requests),
            json!({ "on_failure": "local", "local": { "share": 1 } }),
        )
    };
    let reloading = Reloading::start(PATIENT, json!([local(2)]), |spec| {
        spec.plugin["breaker"] = breaker();
        (spec.workers, spec.envoy) = (1, version);
    })
    .await;
    let running = &reloading.running;
    assert_eq!(statuses(&reloading, "/one/", "a", 1).await, [200]);
    running.redis().kill().await.unwrap();
    eventually("the breaker opens", async || {
        statuses(&reloading, "/one/", "pilot", 1).await;
        running.sample().await.breaker == Some(BreakerState::Open)
    })
    .await;
    assert_eq!(statuses(&reloading, "/one/", "b", 3).await, [200, 200, 429]);
    let calls = async || running.sample().await.redis_calls.values().sum::<u64>();
    let before = calls().await;
    reloading.reload(&json!({ "rules": [local(3)] })).await;
    assert_eq!(
        statuses(&reloading, "/one/", "b", 4).await,
        [200, 200, 200, 429]
    );
    assert_eq!(calls().await, before, "nobody asked Redis");
    assert_eq!(running.sample().await.transitions["closed"], 0);
    assert!(running.sample().await.transitions["open"] >= 1);
}

on_both_envoys![
    counts_in_redis_carry_over_and_a_new_limit_holds_at_once,
    an_open_breaker_stays_open_and_local_buckets_begin_full_again
];
