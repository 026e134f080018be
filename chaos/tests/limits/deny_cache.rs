//! A client that keeps sending after a 429 costs Redis next to nothing.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use velocitygate_chaos::observe::RedisSample;
use velocitygate_chaos::stack::KEY_HEADER;

use crate::common::{PATIENT, Running, Seen, client};

/// Tokens that come free each second.
const RATE: u64 = 10;
const CLIENTS: u64 = 8;

/// Commands that Redis was sent so far.
async fn asked(running: &Running) -> u64 {
    let sample = RedisSample::take(running.redis()).await.unwrap();
    sample.eval_calls + sample.evalsha_calls
}

#[tokio::test]
async fn a_key_over_its_limit_costs_a_worker_at_most_one_call_for_each_token_that_comes_free() {
    let rules = json!([{
        "name": "per-key", "key": [{ "header": KEY_HEADER }],
        "limit": { "requests": RATE, "per": "1s", "burst": 1 },
    }]);
    let running = Running::start(PATIENT, rules, |spec| spec.workers = 2).await;
    let url = running.envoys()[0].front_url() + "/";
    let before = asked(&running).await;
    let start = Instant::now();
    let mut load = JoinSet::new();
    for _ in 0..CLIENTS {
        let (http, url) = (client(), url.clone());
        load.spawn(async move {
            let mut statuses = [0_u64; 2];
            while start.elapsed() < Duration::from_secs(2) {
                let seen = Seen::of(http.get(&url).header(KEY_HEADER, "hot")).await;
                match seen.status {
                    200 => statuses[0] += 1,
                    429 => statuses[1] += 1,
                    other => panic!("unexpected status {other}"),
                }
            }
            statuses
        });
    }
    let tallies = load.join_all().await;
    let tokens = 1 + RATE * start.elapsed().as_millis() as u64 / 1_000;
    let calls = asked(&running).await - before;
    let [admitted, refused] =
        [0, 1].map(|which| tallies.iter().map(|tally| tally[which]).sum::<u64>());
    println!("{admitted} admitted, {refused} refused, {tokens} tokens, {calls} commands");
    assert!(admitted <= tokens, "{admitted} admitted of {tokens}");
    // And what the clients had on its way before anything was known of the key.
    assert!(calls <= 2 * tokens + CLIENTS, "{calls} for {tokens} tokens");
    assert!(refused > 10 * calls, "no excess: {refused} refused");
}
