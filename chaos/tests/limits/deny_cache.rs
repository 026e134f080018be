//! Clients that keep sending after a 429 cost Redis next to nothing, however many they are.

use std::time::Instant;

use serde_json::json;
use tokio::sync::mpsc;
use velocitygate_chaos::load::{Client, Pacer};
use velocitygate_chaos::observe::RedisSample;
use velocitygate_chaos::record::{Event, Outcome};
use velocitygate_chaos::scenario::{Keys, Load};

use crate::common::{PATIENT, Running};

/// Tokens that come free each second.
const RATE: u64 = 10;
const WORKERS: u64 = 2;
const SECONDS: u64 = 2;
const RPS: u64 = 2_000;

/// Calls of a worker besides those for tokens that came free: one that is under way at the
/// beginning, and one for the token that comes free at the end.
const SLACK: u64 = 2;

/// Commands that Redis was sent so far.
async fn asked(running: &Running) -> u64 {
    let sample = RedisSample::take(running.redis()).await.unwrap();
    sample.eval_calls + sample.evalsha_calls
}

/// Sends one key's requests when they are due, whatever becomes of those before them. How many were
/// admitted and refused.
async fn press(client: &Client, seconds: u64) -> [u64; 2] {
    let load = Load {
        rps: RPS as f64,
        keys: Keys::One,
        hot: None,
        seed: 0,
        steps: Vec::new(),
    };
    let (sink, mut events) = mpsc::unbounded_channel();
    let client = client.clone();
    let pacer = Pacer::start(load, seconds as f64, Instant::now(), sink, move |key| {
        let client = client.clone();
        async move { client.send(key).await }
    });
    let mut counts = [0, 0];
    while let Some(event) = events.recv().await {
        match event {
            Event::Request(request) => match request.outcome {
                Outcome::Counted => counts[0] += 1,
                Outcome::Refused => counts[1] += 1,
                other => panic!("unexpected {other:?}"),
            },
            other => panic!("unexpected {other:?}"),
        }
    }
    pacer.finish().await;
    assert_eq!(counts.iter().sum::<u64>(), RPS * seconds);
    counts
}

#[tokio::test]
async fn a_key_over_its_limit_costs_a_worker_at_most_one_call_for_each_token_that_comes_free() {
    let rules = json!([{
        "name": "per-key", "key": [{ "header": "x-api-key" }],
        "limit": { "requests": RATE, "per": "1s", "burst": 1 },
    }]);
    let running = Running::start(PATIENT, rules, |spec| spec.workers = WORKERS as usize).await;
    let client = Client::new(running.envoys()[0].ports().front).unwrap();
    // Until every worker knows the key, each of its turns may ask.
    press(&client, 1).await;
    let (before, start) = (asked(&running).await, Instant::now());
    let [admitted, refused] = press(&client, SECONDS).await;
    let tokens = 1 + RATE * start.elapsed().as_millis() as u64 / 1_000;
    let calls = asked(&running).await - before;
    println!("{admitted} admitted, {refused} refused, {tokens} tokens, {calls} commands");
    assert!(admitted <= tokens, "{admitted} admitted of {tokens}");
    let most = WORKERS * (tokens + SLACK);
    assert!(calls <= most, "{calls} for {tokens} tokens");
    assert!(refused > 10 * most, "no excess: {refused} refused");
}
