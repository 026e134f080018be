//! I3 and I4 over a whole outage: Redis is killed under load and comes back, and what was admitted
//! by Redis and by local buckets together stays within what both may give.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use velocitygate_chaos::fault::Fault;
use velocitygate_chaos::observe::EnvoySample;
use velocitygate_chaos::stack::KEY_HEADER;

use crate::common::{PATIENT, Running, Seen, client, eventually, rule, with};

/// The rule's limit, which never refills during a test; what each worker may admit alone.
const LIMIT: u64 = 40;
const SHARE: u64 = LIMIT / 4;
const WORKERS: u64 = 4;

/// Connections to each Envoy; however Envoy spreads them, they are on one of its workers at least.
const CONNECTIONS: usize = 6;

/// What all connections share.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    /// Connections that were refused by a local bucket: that of their worker is empty.
    found_empty: AtomicUsize,
}

/// One connection asks at most 200 times a second until told to stop.
async fn press(url: String, load: Arc<Load>) -> u64 {
    let (http, mut admitted, mut found_empty) = (client(), 0, false);
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    while !load.stop.load(Ordering::Relaxed) {
        pace.tick().await;
        let seen = Seen::of(http.get(&url).header(KEY_HEADER, "hot")).await;
        assert!([200, 429].contains(&seen.status), "{seen:?}");
        admitted += u64::from(seen.status == 200);
        if seen.status == 429 && !seen.has_limits() && !found_empty {
            found_empty = true;
            load.found_empty.fetch_add(1, Ordering::Relaxed);
        }
    }
    admitted
}

/// Decisions of the rule in all Envoys.
async fn decided(running: &Running, decision: &str) -> u64 {
    let mut sum = 0;
    for envoy in running.envoys() {
        let sample = EnvoySample::take(&running.http, envoy).await.unwrap();
        sum += sample.requests["local"][decision];
    }
    sum
}

#[tokio::test]
async fn i3_i4_over_an_outage_local_buckets_add_their_share_once_and_the_return_adds_nothing() {
    let local = json!({ "on_failure": "local", "local": { "share": 0.25 } });
    let rules = json!([with(rule("local", LIMIT), local)]);
    let running = Running::start(PATIENT, rules, |spec| {
        (spec.envoys, spec.workers) = (2, 2);
    })
    .await;
    // Half of the limit is spent before, so that a refill by Redis's return would show.
    for _ in 0..LIMIT / 2 {
        assert_eq!(Seen::of(running.get("/local/", "hot")).await.status, 200);
    }
    let (load, mut connections) = (Arc::new(Load::default()), JoinSet::new());
    let mut outage = Fault::ProxyDown.apply(&running).await.unwrap();
    for envoy in running.envoys() {
        for _ in 0..CONNECTIONS {
            connections.spawn(press(envoy.front_url() + "/local/", Arc::clone(&load)));
        }
    }
    eventually("the local buckets of all are empty", async || {
        load.found_empty.load(Ordering::Relaxed) == connections.len()
    })
    .await;
    // Back, away and back again: what is spent here and there stays spent.
    for round in 0..2 {
        outage.heal(&running).await.unwrap();
        eventually("Redis refuses", async || {
            let allowed = decided(&running, "allowed").await;
            allowed == LIMIT && decided(&running, "denied").await > 100 * (round + 1)
        })
        .await;
        outage = Fault::ProxyDown.apply(&running).await.unwrap();
        let before = refused(&running).await;
        eventually("many more are refused without Redis", async || {
            refused(&running).await > before + 100
        })
        .await;
    }
    load.stop.store(true, Ordering::Relaxed);
    let pressed: u64 = connections.join_all().await.into_iter().sum();
    outage.heal(&running).await.unwrap();
    let admitted = running.upstream().hits_of("/local/", "hot");
    assert_eq!(admitted, pressed + LIMIT / 2);
    let local = decided(&running, "degraded_local_allow").await;
    assert!(local <= WORKERS * SHARE, "{local}");
    assert!(local >= 2 * SHARE && local % SHARE == 0, "{local}");
    assert_eq!(admitted, LIMIT + local);
}

/// Requests refused so far, whoever knew.
async fn refused(running: &Running) -> u64 {
    decided(running, "denied").await + decided(running, "degraded_local_deny").await
}
