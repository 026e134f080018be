//! I1: excess load on many workers at once, judged by what the clients saw.

use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use velocitygate_chaos::judge::{Span, worst_excess};
use velocitygate_chaos::observe::EnvoySample;
use velocitygate_chaos::scenario::Limit;
use velocitygate_chaos::stack::{EnvoyVersion, KEY_HEADER};

use crate::common::{PATIENT, Running, Seen, client, eventually};
use crate::statuses;

pub(crate) const LIMIT: Limit = Limit {
    rate: 100.0,
    burst: 100.0,
};

/// What one client of the excess load saw.
struct Tally {
    admitted: Vec<Span>,
    refused: u64,
}

/// One connection's share of the excess load, at most 100 requests a second.
async fn press(http: Client, url: String, start: Instant) -> Tally {
    let mut tally = Tally {
        admitted: Vec::new(),
        refused: 0,
    };
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    while start.elapsed() < Duration::from_secs(3) {
        pace.tick().await;
        let sent_s = start.elapsed().as_secs_f64();
        let seen = Seen::of(http.get(&url).header(KEY_HEADER, "hot")).await;
        match seen.status {
            200 => tally.admitted.push(Span {
                sent_s,
                done_s: start.elapsed().as_secs_f64(),
            }),
            429 => tally.refused += 1,
            other => panic!("unexpected status {other}"),
        }
    }
    tally
}

fn strict() -> Value {
    json!({
        "name": "per-key", "key": [{ "header": KEY_HEADER }],
        "limit": { "requests": LIMIT.rate as u64, "per": "1s", "burst": LIMIT.burst as u64 },
    })
}

/// `rule` is called `per-key`, and its limit is [`LIMIT`].
pub(crate) async fn two_envoys_with_two_workers_keep_one_limit(version: EnvoyVersion, rule: Value) {
    let running = Running::start(PATIENT, json!([rule]), |spec| {
        (spec.envoys, spec.workers, spec.envoy) = (2, 2, version);
    })
    .await;
    let start = Instant::now();
    let mut load = JoinSet::new();
    for envoy in running.envoys() {
        for _ in 0..6 {
            load.spawn(press(client(), envoy.front_url() + "/", start));
        }
    }
    // Meanwhile a second key has all of its own.
    for _ in 0..5 {
        let calm = statuses(&running, "/", "calm", 4).await;
        assert_eq!(calm, [200; 4]);
    }
    let tallies = load.join_all().await;
    let refused: u64 = tallies.iter().map(|tally| tally.refused).sum();
    let admitted: Vec<Span> = tallies.into_iter().flat_map(|t| t.admitted).collect();
    let last_sent = admitted.iter().map(|it| it.sent_s).fold(0.0, f64::max);

    let excess = worst_excess(&admitted, &LIMIT);
    assert!(excess <= 0.0, "{excess} requests above the limit");
    let due = LIMIT.burst + LIMIT.rate * last_sent;
    let share = admitted.len() as f64 / due;
    assert!(share >= 0.95, "{} admitted of {due}", admitted.len());
    assert!(refused > admitted.len() as u64 / 2, "no excess: {refused}");
    let admitted = admitted.len() as u64;
    assert_eq!(running.upstream().hits_of("/", "hot"), admitted);
    eventually("the filters count what the clients saw", async || {
        let mut counts = (0, 0);
        for envoy in running.envoys() {
            let sample = EnvoySample::take(&running.http, envoy).await.unwrap();
            counts.0 += sample.requests["per-key"]["allowed"];
            counts.1 += sample.requests["per-key"]["denied"];
        }
        counts == (admitted + 20, refused)
    })
    .await;
}

#[tokio::test]
async fn i1_two_envoys_with_two_workers_each_never_admit_more_than_the_limit_in_any_interval() {
    two_envoys_with_two_workers_keep_one_limit(EnvoyVersion::Newest, strict()).await;
}

#[tokio::test]
async fn i1_the_oldest_envoy_never_admits_more_than_the_limit_in_any_interval() {
    two_envoys_with_two_workers_keep_one_limit(EnvoyVersion::Oldest, strict()).await;
}
