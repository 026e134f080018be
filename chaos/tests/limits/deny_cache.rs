//! Clients that keep sending after a 429 cost Redis next to nothing, however many they are.

use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::json;
use tokio::task::JoinSet;
use velocitygate_chaos::observe::RedisSample;
use velocitygate_chaos::stack::KEY_HEADER;

use crate::common::{PATIENT, Running, Seen, client};

/// Tokens that come free each second.
const RATE: u64 = 2;
const WORKERS: u64 = 2;
const CLIENTS: usize = 32;
const LENGTH: Duration = Duration::from_secs(3);

/// Requests of a client without a refusal that show that nobody is refused: so many tokens come free
/// in minutes.
const UNREFUSED_MAX: u64 = 1_000;

/// Calls of a worker besides those for tokens that came free: one that is under way at the
/// beginning, and one for the token that comes free at the end.
const SLACK: u64 = 2;

/// Commands that Redis was sent so far.
async fn asked(running: &Running) -> u64 {
    let sample = RedisSample::take(running.redis()).await.unwrap();
    sample.eval_calls + sample.evalsha_calls
}

/// Each client, on a connection of its own, sends its next request as soon as one is answered, until
/// it has been refused and this time is over. How many were admitted and refused.
async fn press(running: &Running, clients: &[Client], length: Duration) -> [u64; 2] {
    let (url, start) = (running.envoys()[0].front_url(), Instant::now());
    let mut pressing = JoinSet::new();
    for client in clients {
        let request = client.get(&url).header(KEY_HEADER, "hot");
        pressing.spawn(async move {
            let mut counts = [0, 0];
            while counts[1] == 0 || start.elapsed() < length {
                let seen = Seen::of(request.try_clone().unwrap()).await;
                assert!(seen.has_limits(), "{seen:?}");
                match seen.status {
                    200 => counts[0] += 1,
                    429 => counts[1] += 1,
                    other => panic!("unexpected {other}"),
                }
                assert!(counts[1] > 0 || counts[0] < UNREFUSED_MAX, "no limit");
            }
            counts
        });
    }
    let each = pressing.join_all().await.into_iter();
    each.fold([0, 0], |sum, it| [sum[0] + it[0], sum[1] + it[1]])
}

#[tokio::test]
async fn a_key_over_its_limit_costs_a_worker_at_most_one_call_for_each_token_that_comes_free() {
    let rules = json!([{
        "name": "per-key", "key": [{ "header": KEY_HEADER }],
        "limit": { "requests": RATE, "per": "1s", "burst": 1 },
    }]);
    let running = Running::start(PATIENT, rules, |spec| spec.workers = WORKERS as usize).await;
    let clients: Vec<Client> = (0..CLIENTS).map(|_| client()).collect();
    // Until a worker knows the key, each of its turns may ask. One that refuses a client knows.
    press(&running, &clients, Duration::ZERO).await;
    let (before, start) = (asked(&running).await, Instant::now());
    let [admitted, refused] = press(&running, &clients, LENGTH).await;
    let tokens = 1 + RATE * start.elapsed().as_millis() as u64 / 1_000;
    let calls = asked(&running).await - before;
    println!("{admitted} admitted, {refused} refused, {tokens} tokens, {calls} commands");
    assert!(admitted <= tokens, "{admitted} admitted of {tokens}");
    let most = WORKERS * (tokens + SLACK);
    assert!(calls <= most, "{calls} for {tokens} tokens");
    assert!(refused > 10 * most, "no excess: {refused} refused");
}
