//! I1: excess load on many workers at once, judged by what the clients saw.

use std::time::Duration;

use reqwest::Client;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use velocitygate_chaos::observe::EnvoySample;
use velocitygate_chaos::stack::{EnvoyVersion, KEY_HEADER};

use crate::common::{PATIENT, Running, Seen, client, eventually};
use crate::statuses;

const BURST: f64 = 100.0;
const RATE: f64 = 100.0;

/// An admitted request: when it was sent and when its answer was there, in seconds.
type Span = (f64, f64);

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
        let sent = start.elapsed().as_secs_f64();
        let seen = Seen::of(http.get(&url).header(KEY_HEADER, "hot")).await;
        match seen.status {
            200 => tally.admitted.push((sent, start.elapsed().as_secs_f64())),
            429 => tally.refused += 1,
            other => panic!("unexpected status {other}"),
        }
    }
    tally
}

/// The interval that admitted the most above `BURST + RATE × length`, by how much.
///
/// Redis charged an admitted request at some instant between its sending and its answer. So those
/// sent no earlier than `a` and answered no later than `b` were surely charged in [a, b]: counting
/// only them can hide an excess of a latency's length, and can invent none. The worst interval
/// begins with a sending and ends with an answer.
fn worst_excess(admitted: &[Span]) -> f64 {
    let mut worst = f64::NEG_INFINITY;
    for &(begin, _) in admitted {
        let within = admitted.iter().filter(|(sent, _)| *sent >= begin);
        let mut ends: Vec<f64> = within.map(|(_, answered)| *answered).collect();
        ends.sort_by(f64::total_cmp);
        for (index, end) in ends.iter().enumerate() {
            worst = worst.max((index + 1) as f64 - BURST - RATE * (end - begin));
        }
    }
    worst
}

async fn two_envoys_with_two_workers_keep_one_limit(version: EnvoyVersion) {
    let rules = json!([{
        "name": "per-key", "key": [{ "header": KEY_HEADER }],
        "limit": { "requests": RATE as u64, "per": "1s", "burst": BURST as u64 },
    }]);
    let running = Running::start(PATIENT, rules, |spec| {
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
    let last_sent = admitted.iter().map(|(sent, _)| *sent).fold(0.0, f64::max);

    // Redis's clock may be slewed against ours by up to 0.05 %.
    let drift = 0.001 * RATE * last_sent;
    let excess = worst_excess(&admitted);
    assert!(excess <= drift, "{excess} requests above the limit");
    let due = BURST + RATE * last_sent;
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
    two_envoys_with_two_workers_keep_one_limit(EnvoyVersion::Newest).await;
}

#[tokio::test]
async fn i1_the_oldest_envoy_never_admits_more_than_the_limit_in_any_interval() {
    two_envoys_with_two_workers_keep_one_limit(EnvoyVersion::Oldest).await;
}

#[test]
fn the_worst_interval_is_found_and_doubt_counts_for_the_filter() {
    let at_once: Vec<Span> = (0..102).map(|_| (1.0, 1.0)).collect();
    assert_eq!(worst_excess(&at_once), 2.0);
    // Any of these may have been charged 1 s later than another, when 100 more were due.
    let in_doubt: Vec<Span> = (0..102).map(|_| (1.0, 2.0)).collect();
    assert_eq!(worst_excess(&in_doubt), -98.0);
}
