//! A configuration that changes while requests wait (I8). The HTTP filter is fetched by
//! `config_discovery` from a file; renaming another file over it is the update.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use velocitygate_chaos::stack::{Spec, Wiring, envoy_config};

use super::bed::{BURST, Bed, plugin};
use super::eventually;

/// What Envoy counts of the filter's updates.
const UPDATES: &str = "^extension_config_discovery\\.";

/// Requests that wait while the configuration changes.
const WAITING: usize = 12;

/// Updates in a row.
const RELOADS: u64 = 15;

/// The file that Envoy watches, and the filter as it was before any update.
struct Discovery {
    dir: tempfile::TempDir,
}

impl Discovery {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("filter.json")
    }

    fn original(&self) -> PathBuf {
        self.dir.path().join("original.json")
    }

    /// Makes the filter a discovered one, with the file as its source.
    fn tweak(&self) -> Arc<dyn Fn(&mut Value) + Send + Sync> {
        let (file, original) = (self.file(), self.original());
        Arc::new(move |tree| {
            tree["node"] = json!({ "id": "test", "cluster": "test" });
            let filter = envoy_config::http_filter(tree).unwrap();
            let config = filter["typed_config"].take();
            std::fs::write(&original, config.to_string()).unwrap();
            publish(&file, &filter["name"], &config);
            *filter = json!({
                "name": filter["name"],
                "config_discovery": {
                    "config_source": {
                        "resource_api_version": "V3",
                        "path_config_source": {
                            "path": file,
                            "watched_directory": { "path": file.parent() },
                        },
                    },
                    "type_urls": [config["@type"]],
                },
            });
        })
    }

    /// Replaces the plugin's configuration.
    fn update(&self, plugin: &Value) {
        let original = std::fs::read(self.original()).unwrap();
        let mut config: Value = serde_json::from_slice(&original).unwrap();
        config["config"]["configuration"]["value"] = json!(plugin.to_string());
        publish(&self.file(), &json!("envoy.filters.http.wasm"), &config);
    }
}

/// Puts a filter's configuration in place in one step: a half-written file would be read.
fn publish(file: &Path, name: &Value, config: &Value) {
    let response = json!({
        "resources": [{
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": name,
            "typed_config": config,
        }],
    });
    let next = file.with_extension("next");
    std::fs::write(&next, response.to_string()).unwrap();
    std::fs::rename(&next, file).unwrap();
}

async fn bed(discovery: &Discovery, timeout: Duration) -> Bed {
    let tweak = discovery.tweak();
    let change = |spec: &mut Spec| {
        spec.workers = 2;
        spec.wiring = Wiring::TcpProxy;
        spec.plugin = plugin(timeout);
        spec.tweak = Some(tweak);
    };
    let bed = Bed::start(change).await;
    eventually("the limiter counts", async || {
        bed.get("warm").await.remaining.is_some()
    })
    .await;
    bed
}

/// The sum of the counters of updates whose names end so.
async fn updates(bed: &Bed, name: &str) -> u64 {
    let stats = bed.stats(UPDATES).await;
    let named = stats.iter().filter(|(stat, _)| stat.ends_with(name));
    named.map(|(_, value)| value).sum()
}

fn with_requests(timeout: Duration, requests: u64) -> Value {
    let mut plugin = plugin(timeout);
    plugin["rules"][0]["limit"]["requests"] = json!(requests);
    plugin
}

#[tokio::test]
async fn i8_requests_that_wait_while_the_configuration_changes_are_all_answered() {
    // All of them still wait when the update is in force; Envoy itself ends them after 5 s.
    let timeout = Duration::from_secs(4);
    let discovery = Discovery::new();
    let bed = bed(&discovery, timeout).await;
    let (reloads, vitals) = (updates(&bed, "config_reload").await, bed.vitals().await);
    let allowed = bed.decisions("allowed").await;
    bed.stack.redis().freeze().await.unwrap();
    let mut waiting = JoinSet::new();
    for index in 0..WAITING {
        waiting.spawn(bed.request(&format!("waiting {index}")));
    }
    eventually("the requests wait", async || {
        bed.sample().await.waiting == WAITING as u64
    })
    .await;
    discovery.update(&with_requests(timeout, BURST + 1));
    eventually("the update is in force", async || {
        updates(&bed, "config_reload").await > reloads
    })
    .await;
    bed.stack.redis().thaw().await.unwrap();
    for answer in waiting.join_all().await {
        let answer = answer.unwrap();
        // By the configuration under which it began to wait, and by Redis's count.
        assert_eq!((answer.status, answer.remaining), (200, Some(BURST - 1)));
    }
    for index in 0..WAITING {
        let hits = bed
            .stack
            .upstream()
            .hits_of("/", &format!("waiting {index}"));
        assert_eq!(hits, 1, "answered once");
    }
    for key in ["new", "newer"] {
        assert_eq!(bed.get(key).await.remaining, Some(BURST), "the new limit");
    }
    let counted = bed.decisions("allowed").await - allowed;
    assert_eq!(counted, WAITING as u64 + 2, "counters survive");
    bed.nobody_waits().await;
    assert_eq!(bed.vitals().await.0, vitals.0);
    bed.assert_no_trap();
}

#[tokio::test]
async fn a_refused_update_keeps_the_configuration_in_force_and_is_counted() {
    let timeout = super::bed::TIMEOUT;
    let discovery = Discovery::new();
    let bed = bed(&discovery, timeout).await;
    let failures = updates(&bed, "config_fail").await;
    let mut refused = with_requests(timeout, 0);
    refused["rules"][0]["name"] = json!("Per Key");
    discovery.update(&refused);
    eventually("the refusal is counted", async || {
        updates(&bed, "config_fail").await > failures
    })
    .await;
    let log = bed.log();
    assert!(
        log.contains("configuration refused: rules[0].name: expected"),
        "{log}"
    );
    assert!(log.contains("; rules[0].limit.requests: expected"), "{log}");
    bed.assert_counts_exactly("after the refusal").await;
    let reloads = updates(&bed, "config_reload").await;
    discovery.update(&with_requests(timeout, BURST + 1));
    eventually("a good update still works", async || {
        updates(&bed, "config_reload").await > reloads
    })
    .await;
    assert_eq!(bed.get("after the good one").await.remaining, Some(BURST));
    bed.nobody_waits().await;
    bed.assert_no_trap();
}

/// Old instances go away, also when requests still wait in them: nothing adds up.
#[tokio::test]
async fn i8_no_request_is_lost_over_many_reloads_under_load() {
    let discovery = Discovery::new();
    let bed = bed(&discovery, super::bed::TIMEOUT).await;
    let (hits, vitals) = (bed.stack.upstream().hits(), bed.vitals().await);
    let mut sent = 0;
    for round in 0..RELOADS {
        let reloads = updates(&bed, "config_reload").await;
        discovery.update(&with_requests(super::bed::TIMEOUT, BURST + 1 + round));
        eventually("the update is in force", async || {
            let mut crowd = JoinSet::new();
            for index in 0..WAITING {
                crowd.spawn(bed.request(&format!("{round} {sent} {index}")));
            }
            for answer in crowd.join_all().await {
                assert_eq!(answer.unwrap().status, 200);
                sent += 1;
            }
            updates(&bed, "config_reload").await > reloads
        })
        .await;
    }
    assert_eq!(bed.stack.upstream().hits() - hits, sent);
    bed.nobody_waits().await;
    let active = |vitals: &(u32, std::collections::BTreeMap<String, u64>)| {
        let gauges = vitals
            .1
            .iter()
            .filter(|(name, _)| name.ends_with(".active"));
        gauges.map(|(_, value)| value).sum::<u64>()
    };
    assert_eq!(active(&bed.vitals().await), active(&vitals), "VMs");
    bed.assert_no_trap();
}
