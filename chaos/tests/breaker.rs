//! The breaker on real Envoy and Redis: who shares it, that slowness opens it, and that each change
//! is logged once.

mod common;

use std::path::{Path, PathBuf};

use common::{PATIENT, Running, Seen, eventually, rule, tweak, with};
use serde_json::{Value, json};
use velocitygate_chaos::fault::{Stream, Toxic, heal_all};
use velocitygate_chaos::observe::BreakerState;
use velocitygate_chaos::stack::REDIS_PROXY;
use velocitygate_chaos::stack::envoy_config::{connection_manager, http_filter};

/// A rule that fails closed: whoever passes was counted.
fn closed(name: &str) -> Value {
    json!([with(rule(name, 100), json!({ "on_failure": "deny" }))])
}

/// Adds an instance of the filter in front of the one that is there, with this one's settings but
/// for its rule.
fn add_instance(tree: &mut Value, name: &str, vm_id: &str) {
    let mut filter = http_filter(tree).unwrap().clone();
    filter["name"] = json!(name);
    let config = &mut filter["typed_config"]["config"];
    config["name"] = json!(name);
    config["vm_config"]["vm_id"] = json!(vm_id);
    let own = config["configuration"]["value"].as_str().unwrap();
    let own: Value = serde_json::from_str(own).unwrap();
    let own = with(own, json!({ "rules": closed(name) }));
    config["configuration"]["value"] = json!(own.to_string());
    let filters = &mut connection_manager(tree).unwrap()["http_filters"];
    filters.as_array_mut().unwrap().insert(0, filter);
}

/// Asserts that this client's request is counted, or else refused for want of an answer.
async fn assert_answered(running: &Running, path: &str, counted: bool) {
    let seen = Seen::of(running.get(path, "a")).await;
    let (status, told) = if counted {
        (200, "")
    } else {
        (503, "unavailable")
    };
    assert_eq!((seen.status, seen.header("x-velocitygate")), (status, told));
    assert!(
        seen.has_limits() == counted && (seen.body == "ok\n") == counted,
        "{seen:?}"
    );
}

async fn calls(running: &Running) -> u64 {
    running.sample().await.redis_calls.values().sum()
}

async fn openings(running: &Running) -> u64 {
    running.sample().await.transitions["open"]
}

#[tokio::test]
async fn what_one_instance_learns_spares_the_others_of_its_vm_id_and_no_others() {
    let running = Running::start(PATIENT, closed("one"), |spec| {
        spec.plugin["breaker"] = json!({
            "window": 4, "minimum_calls": 2, "slow_call": "5s", "open": "1h",
        });
        tweak(spec, |tree| {
            add_instance(tree, "two", "velocitygate");
            add_instance(tree, "stranger", "another");
        });
    })
    .await;
    for path in ["/one/", "/two/", "/stranger/"] {
        assert_answered(&running, path, true).await;
    }
    running.redis().kill().await.unwrap();
    eventually("the breaker opens", async || {
        assert_answered(&running, "/one/", false).await;
        openings(&running).await > 0
    })
    .await;
    let before = calls(&running).await;
    for _ in 0..10 {
        assert_answered(&running, "/two/", false).await;
    }
    assert_eq!(
        (calls(&running).await, openings(&running).await),
        (before, 1)
    );
    assert_answered(&running, "/stranger/", false).await;
    assert_eq!(calls(&running).await, before + 1);
}

/// The breaker's changes in the log of the first Envoy, without what stands before them.
fn changes(dir: &Path) -> Vec<String> {
    let log = std::fs::read(dir.join("envoy-0.log")).unwrap();
    let log = String::from_utf8_lossy(&log);
    let changes = log.lines().filter_map(|line| line.split_once(": breaker "));
    changes.map(|(_, change)| change.to_owned()).collect()
}

#[tokio::test]
async fn slow_answers_open_the_breaker_and_each_change_is_logged_once_for_all_workers() {
    let mut dir = PathBuf::new();
    let running = Running::start(PATIENT, closed("one"), |spec| {
        dir.clone_from(&spec.dir);
        spec.workers = 4;
        spec.plugin["breaker"] = json!({
            "window": 8, "minimum_calls": 4, "failure_rate": 1, "slow_call": "400ms",
            "slow_call_rate": 1, "open": "50ms", "max_open": "50ms", "probes": 2,
        });
    })
    .await;
    let (toxiproxy, latency) = (running.toxiproxy(), 600);
    let toxic = Toxic::Latency { latency, jitter: 0 };
    toxiproxy
        .add(REDIS_PROXY, toxic, Stream::Downstream)
        .await
        .unwrap();
    eventually("the breaker opens", async || {
        let opened = openings(&running).await > 0;
        if !opened {
            Seen::of(running.get("/one/", "a")).await;
        }
        opened
    })
    .await;
    eventually("a probe is slow", async || openings(&running).await > 1).await;
    heal_all(&running).await.unwrap();
    eventually("the breaker is closed", async || {
        running.sample().await.breaker == Some(BreakerState::Closed)
    })
    .await;
    assert_answered(&running, "/one/", true).await;
    // Any worker may have closed it.
    eventually("the log tells that it closed", async || {
        let changes = changes(&dir);
        changes
            .iter()
            .any(|it| it.starts_with("half-open -> closed"))
    })
    .await;

    let sample = running.sample().await;
    assert_eq!(sample.redis_calls["ok"], calls(&running).await);
    let changes = changes(&dir);
    let count = |change: &str| changes.iter().filter(|it| it.starts_with(change)).count();
    assert_eq!(count("closed -> open: 4 of 4 calls were slow"), 1);
    assert_eq!(count("half-open -> closed: 2 probes succeeded"), 1);
    assert!(count("half-open -> open: probe was slow (") >= 1);
    let again = count("half-open -> open: ");
    assert_eq!(count("open -> half-open: the wait is over"), again + 1);
    assert_eq!(changes.len(), 2 * again + 3, "{changes:#?}");
    let counted = ["open", "half_open", "closed"].map(|to| sample.transitions[to] as usize);
    assert_eq!(counted, [again + 1, again + 1, 1]);
}
