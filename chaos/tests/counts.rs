//! Everybody counts alike: clients, the upstream, the filter, Envoy, Redis and the access log.

#[path = "common/access_log.rs"]
mod access_log;
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use access_log::stop_and_read;
use common::{PATIENT, Running, Seen, client, eventually, rule, with};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use velocitygate_chaos::fault::{Fault, Stream, Toxic, heal_all};
use velocitygate_chaos::observe::EnvoySample;
use velocitygate_chaos::stack::{KEY_HEADER, REDIS_PROXY};

/// A rule for each failure policy, named like it, each with this limit.
fn policies(requests: u64) -> [Value; 3] {
    ["allow", "deny", "local"].map(|name| with(rule(name, requests), json!({ "on_failure": name })))
}

/// The sum of some decisions over all rules.
fn decided(sample: &EnvoySample, decisions: &[&str]) -> u64 {
    let rules = sample.requests.values();
    let counts = rules.flat_map(|rule| decisions.iter().map(|decision| rule[*decision]));
    counts.sum()
}

/// Answers by status, and of these the ones for the path that no rule matches.
#[derive(Default)]
struct Tally {
    statuses: BTreeMap<u16, u64>,
    free: u64,
}

/// One client asks each kind of rule and none in turn, at most 500 times a second, until told to
/// stop.
async fn ask_until(stop: Arc<AtomicBool>, base: String, key: String) -> Tally {
    let (http, mut tally) = (client(), Tally::default());
    let mut pace = tokio::time::interval(Duration::from_millis(2));
    for path in ["/allow/", "/deny/", "/local/", "/free/"].iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        pace.tick().await;
        let request = http.get(format!("{base}{path}")).header(KEY_HEADER, &key);
        let status = Seen::of(request).await.status;
        *tally.statuses.entry(status).or_default() += 1;
        tally.free += u64::from(*path == "/free/");
    }
    tally
}

/// Waits until the filter has decided so for 20 more requests.
async fn twenty_more(running: &Running, decisions: &[&str]) {
    let before = decided(&running.sample().await, decisions);
    eventually("20 more decisions", async || {
        decided(&running.sample().await, decisions) >= before + 20
    })
    .await;
}

#[tokio::test]
async fn i10_clients_upstream_filter_and_envoy_count_the_same_through_faults() {
    let running = Running::start(100, json!(policies(30)), |spec| {
        spec.workers = 2;
        spec.plugin["breaker"] = json!({});
    })
    .await;
    let (stop, mut load) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    for number in 0..8 {
        let (base, key) = (running.envoys()[0].front_url(), format!("client-{number}"));
        load.spawn(ask_until(Arc::clone(&stop), base, key));
    }
    twenty_more(&running, &["allowed"]).await;
    for fault in [Fault::RedisFreeze, Fault::ProxyDown, Fault::RedisRestart] {
        let lasts = fault != Fault::RedisRestart;
        let applied = fault.apply(&running).await.unwrap();
        if lasts {
            twenty_more(&running, &["degraded_deny"]).await;
        }
        applied.heal(&running).await.unwrap();
        twenty_more(&running, &["allowed", "denied"]).await;
    }
    stop.store(true, Ordering::Relaxed);
    let (mut clients, mut free) = ([0; 3], 0);
    for tally in load.join_all().await {
        free += tally.free;
        for (status, count) in tally.statuses {
            let kind = [200, 429, 503].iter().position(|known| *known == status);
            clients[kind.unwrap_or_else(|| panic!("status {status}"))] += count;
        }
    }

    assert_eq!(running.upstream().hits(), clients[0]);
    eventually("the filter and Envoy counted every answer", async || {
        let sample = running.sample().await;
        let passed = ["allowed", "degraded_allow", "degraded_local_allow"];
        let filter = [
            decided(&sample, &passed) + free,
            decided(&sample, &["denied", "degraded_local_deny"]),
            decided(&sample, &["degraded_deny"]),
        ];
        let envoy = ["2", "4", "5"].map(|class| sample.answers[class]);
        let counted = filter == clients && envoy == clients;
        counted && sample.upstream_requests == clients[0] && sample.waiting == 0
    })
    .await;
    let sample = running.sample().await;
    assert_eq!(sample.vm_reloads, 0);
    assert_eq!(decided(&sample, &["shadow_denied"]), 0);
}

/// Microseconds that one token of `rule(…, 1_000)` is worth: 366 days / 1000.
const TOKEN_US: f64 = 366.0 * 86_400.0 * 1_000.0;

/// Tokens gone from the bucket of a client: how far its theoretical arrival time lies ahead.
async fn tokens_gone(running: &Running, key: &str) -> u64 {
    let mut get = redis::cmd("GET");
    get.arg(format!("vg:{{count:{key}}}:tb"));
    let stored: String = running.redis().ask(get).await.unwrap();
    let arrival: f64 = stored.split(':').next().unwrap().parse().unwrap();
    // The same machine's clock; a token takes nine hours, so the rounding is beyond doubt.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    ((arrival - now.as_secs_f64() * 1e6) / TOKEN_US).round() as u64
}

#[tokio::test]
async fn i2_tokens_gone_lie_between_the_admitted_and_these_with_the_unknown() {
    let running = Running::start(300, json!([rule("count", 1_000)]), |_| ()).await;
    let mut known: BTreeMap<&str, u64> = BTreeMap::new();
    let mut unknown: BTreeMap<&str, u64> = BTreeMap::new();
    // Replies are lost, whose requests were charged; then commands, whose requests were not.
    for lost in [None, Some(Stream::Downstream), Some(Stream::Upstream), None] {
        if let Some(stream) = lost {
            let (toxiproxy, toxic) = (running.toxiproxy(), Toxic::Timeout { timeout: 0 });
            toxiproxy.add(REDIS_PROXY, toxic, stream).await.unwrap();
        }
        let times = if lost.is_some() { 4 } else { 40 };
        for key in ["alice", "bob"].repeat(times) {
            let seen = Seen::of(running.get("/count/", key)).await;
            assert_eq!(seen.status, 200);
            let counts = if seen.has_limits() {
                &mut known
            } else {
                &mut unknown
            };
            *counts.entry(key).or_default() += 1;
        }
        heal_all(&running).await.unwrap();
    }
    for key in ["alice", "bob"] {
        let gone = tokens_gone(&running, key).await;
        let (known, unknown) = (known[key], unknown[key]);
        assert!(unknown >= 8, "{unknown} unknown");
        // Strictly, or the test would not have met both kinds of the unknown.
        assert!(gone > known, "{key}: {gone} gone, {known} admitted");
        assert!(
            gone < known + unknown,
            "{key}: {gone} gone, {known} and {unknown} admitted"
        );
    }
    eventually("the filter knows which counts are unknown", async || {
        let sample = running.sample().await;
        decided(&sample, &["allowed"]) == known.values().sum::<u64>()
            && decided(&sample, &["degraded_allow"]) == unknown.values().sum::<u64>()
    })
    .await;
}

#[tokio::test]
async fn the_access_log_tells_decision_rule_and_wait_of_every_request() {
    let [allow, deny, local] = policies(2);
    let shadow = with(rule("shadow", 1), json!({ "shadow": true }));
    let mut dir = PathBuf::new();
    let running = Running::start(PATIENT, json!([allow, deny, local, shadow]), |spec| {
        dir.clone_from(&spec.dir);
    })
    .await;
    let ask = async |path: &str, key: &str, times: usize| {
        for _ in 0..times {
            Seen::of(running.get(path, key)).await;
        }
    };
    ask("/allow/", "a", 3).await;
    ask("/shadow/", "a", 2).await;
    ask("/free/", "a", 1).await;
    running.redis().kill().await.unwrap();
    ask("/allow/", "b", 1).await;
    ask("/deny/", "b", 1).await;
    ask("/local/", "b", 2).await;
    let lines = stop_and_read(running, &dir).await;
    let told: Vec<(&str, &str, u64)> = lines
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or("none");
            (
                text("decision"),
                text("rule"),
                line["status"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("allowed", "allow", 200),
        ("allowed", "allow", 200),
        ("denied", "allow", 429),
        ("allowed", "shadow", 200),
        ("shadow_denied", "shadow", 200),
        ("none", "none", 200),
        ("degraded_allow", "allow", 200),
        ("degraded_deny", "deny", 503),
        ("degraded_local_allow", "local", 200),
        ("degraded_local_deny", "local", 429),
    ];
    assert_eq!(told, expected);
    for line in &lines {
        let wait = line["wait_us"]
            .as_str()
            .map(|text| text.parse::<u64>().unwrap());
        let waited = wait.is_some_and(|wait| wait > 0 && wait <= PATIENT * 1_000);
        // Going to Redis takes time. That a limit was used up was known before it was asked again.
        let known = ["denied", "shadow_denied"].map(Value::from);
        let asks = line["rule"] != Value::Null && !known.contains(&line["decision"]);
        assert_eq!(waited, asks, "{line}");
    }
}

/// The series that dashboards rely on: all that the filter has, with their labels.
fn every_series(rules: &[&str]) -> Vec<String> {
    let mut expected = Vec::new();
    let mut labelled = |name: &str, label: &str, values: &[&str]| {
        for value in values {
            expected.push(format!("{name}{{{label}=\"{value}\"}}"));
        }
    };
    labelled(
        "velocitygate_redis_calls_total",
        "result",
        &["ok", "timeout", "unreachable", "malformed", "error"],
    );
    labelled(
        "velocitygate_redis_errors_total",
        "class",
        &[
            "oom",
            "readonly",
            "loading",
            "busy",
            "auth",
            "cluster",
            "noscript",
            "wrongtype",
            "other",
        ],
    );
    let states = ["closed", "open", "half_open"];
    labelled("velocitygate_breaker_state", "state", &states);
    labelled("velocitygate_breaker_transitions_total", "to", &states);
    let results = ["ok", "failed"];
    labelled("velocitygate_breaker_probes_total", "result", &results);
    for rule in rules {
        for decision in [
            "allowed",
            "denied",
            "shadow_denied",
            "degraded_allow",
            "degraded_deny",
            "degraded_local_allow",
            "degraded_local_deny",
        ] {
            let labels = format!("rule=\"{rule}\",decision=\"{decision}\"");
            expected.push(format!("velocitygate_requests_total{{{labels}}}"));
        }
    }
    for name in ["wait_us", "redis_call_us", "batch_size"] {
        for part in ["sum", "count"] {
            expected.push(format!("velocitygate_{name}_{part}{{}}"));
        }
        expected.push(format!("velocitygate_{name}_bucket{{le=\"+Inf\"}}"));
    }
    for name in [
        "waiting",
        "waiting_full_total",
        "evictions_total",
        "deny_cache_hits_total",
        "lease_hits_total",
        "refunds_dropped_total",
        "breaker_conflicts_total",
        "config_rejected_total",
    ] {
        expected.push(format!("velocitygate_{name}{{}}"));
    }
    expected
}

#[tokio::test]
async fn every_promised_metric_is_there_with_its_labels_and_no_prefix() {
    let running = Running::start(PATIENT, json!([rule("one", 1), rule("two", 1)]), |spec| {
        spec.plugin["breaker"] = json!({});
    })
    .await;
    assert_eq!(Seen::of(running.get("/one/", "a")).await.status, 200);
    let url = running.envoys()[0].metrics_url() + "/stats/prometheus";
    let scrape = async || Seen::of(running.http.get(&url)).await;
    // Envoy shows a histogram once it has merged what its workers recorded.
    eventually("the histograms are shown", async || {
        scrape().await.body.contains("velocitygate_wait_us_count")
    })
    .await;
    let page = scrape().await;
    assert!(page.header("content-type").starts_with("text/plain"));
    let lines = page.body.lines().filter_map(|line| line.rsplit_once(' '));
    let series = lines.map(|(series, _)| series);
    let series = series.filter(|it| !it.starts_with('#') && !is_inner_bucket(it));
    let (ours, others): (Vec<&str>, Vec<&str>) =
        series.partition(|series| series.starts_with("velocitygate_"));
    let expected = every_series(&["one", "two"]);
    assert_eq!(
        ours.into_iter().collect::<BTreeSet<_>>(),
        expected.iter().map(String::as_str).collect()
    );
    let is_astray = |it: &&&str| it.contains("wasmcustom") || it.starts_with("envoy_velocitygate");
    let astray: Vec<&&str> = others.iter().filter(is_astray).collect();
    assert!(astray.is_empty(), "{astray:?}");
    let names = expected.iter().map(|series| name_of(series));
    assert_eq!(names.collect::<BTreeSet<_>>(), readme_metrics());
    // The request was paused once, and each call was measured and carried it.
    eventually("the histograms count so, too", async || {
        let sample = running.sample().await;
        let calls = sample.redis_calls.values().sum::<u64>() as f64;
        let histograms = [sample.redis_call_us, sample.batch_size];
        sample.wait_us.count == 1.0 && histograms.iter().all(|it| it.count == calls)
    })
    .await;
}

/// Whether a series is a part of a histogram that depends on its bounds.
fn is_inner_bucket(series: &str) -> bool {
    let bucket = series.split_once("_bucket{");
    bucket.is_some_and(|(_, labels)| labels != "le=\"+Inf\"}")
}

/// The name of a metric, of which a histogram shows several parts.
fn name_of(series: &str) -> &str {
    let name = series.split('{').next().unwrap();
    let parts = ["_sum", "_count", "_bucket"];
    let base = parts.iter().find_map(|part| name.strip_suffix(part));
    base.unwrap_or(name)
}

/// The names in the README's table of metrics.
fn readme_metrics() -> BTreeSet<&'static str> {
    let readme = include_str!("../../README.md");
    let (_, table) = readme
        .split_once("\n| name | kind | labels |\n|---|---|---|\n")
        .unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    // A row may have several names in its first column.
    let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`'));
    names.filter(|name| name.starts_with("velocity")).collect()
}
