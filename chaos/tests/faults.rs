//! What becomes of requests while a real Redis is killed, frozen or made to forget its scripts,
//! and that limits hold again afterwards, without a restart of Envoy.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{PATIENT, Running, Seen, client, eventually, rule, with};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use velocitygate_chaos::fault::Fault;
use velocitygate_chaos::observe::{BreakerState, EnvoySample, RedisSample};
use velocitygate_chaos::stack::KEY_HEADER;

/// Four requests of a client that was not seen yet pass, and no fifth.
async fn assert_limit_of_four_holds(running: &Running, path: &str, key: &str) {
    for (index, remaining) in [Some(3), Some(2), Some(1), Some(0), None]
        .iter()
        .enumerate()
    {
        let seen = Seen::of(running.get(path, key)).await;
        let expected = if remaining.is_some() { 200 } else { 429 };
        assert_eq!(seen.status, expected, "{path}, request {index}");
        let limits = seen.header("ratelimit");
        let standing = format!(";r={};", remaining.unwrap_or(0));
        assert!(limits.contains(&standing), "{path}: {limits}");
    }
}

/// Requests of a client of their own go on until one is counted by Redis.
async fn counted_again(running: &Running, path: &str) {
    eventually("Redis counts again", async || {
        Seen::of(running.get(path, "pilot")).await.has_limits()
    })
    .await;
}

#[tokio::test]
async fn a_killed_redis_means_the_policy_of_each_rule_and_an_empty_one_means_limits_again() {
    let policy = |name: &str| with(rule(name, 4), json!({ "on_failure": name }));
    let rules = json!([policy("allow"), policy("deny"), policy("local")]);
    let running = Running::start(PATIENT, rules, |_| ()).await;
    for path in ["/allow/", "/deny/", "/local/"] {
        assert_limit_of_four_holds(&running, path, "alice").await;
    }

    // Alice is known to be over her limits, whatever Redis does.
    let fault = Fault::RedisKill.apply(&running).await.unwrap();
    for _ in 0..6 {
        let seen = Seen::of(running.get("/allow/", "bob")).await;
        assert!(seen.status == 200 && !seen.has_limits(), "{seen:?}");
        let seen = Seen::of(running.get("/deny/", "bob")).await;
        assert!(seen.status == 503 && !seen.has_limits(), "{seen:?}");
        assert_eq!(seen.header("x-velocitygate"), "unavailable");
        let body: serde_json::Value = serde_json::from_str(&seen.body).unwrap();
        assert_eq!(body["status"], json!(503));
        assert_eq!(seen.header("content-type"), "application/problem+json");
    }
    // Half of the limit is this only worker's share.
    for status in [200, 200, 429, 429] {
        let seen = Seen::of(running.get("/local/", "bob")).await;
        assert!(seen.status == status && !seen.has_limits(), "{seen:?}");
        assert_eq!(seen.headers.contains_key("retry-after"), status == 429);
    }

    fault.heal(&running).await.unwrap();
    for path in ["/allow/", "/deny/", "/local/"] {
        counted_again(&running, path).await;
        assert_limit_of_four_holds(&running, path, "bob").await;
    }
    assert_eq!(running.sample().await.vm_reloads, 0);
}

#[tokio::test]
async fn a_flushed_script_is_loaded_at_most_once_by_each_worker_and_degrades_nobody() {
    const CLIENTS: usize = 8;
    // Requests of each client before the flush and after it, at least.
    const BEFORE: u64 = 50;
    const AFTER: u64 = 50;
    let running = Running::start(PATIENT, json!([rule("many", 1_000_000)]), |spec| {
        spec.workers = 2;
    })
    .await;
    let evals = async || RedisSample::take(running.redis()).await.unwrap().eval_calls;
    let url = running.envoys()[0].front_url() + "/many/";
    // Clients with a connection each send before, during and after the flush.
    let ready = Arc::new(AtomicUsize::new(0));
    let flushed = Arc::new(AtomicBool::new(false));
    let mut load = JoinSet::new();
    for _ in 0..CLIENTS {
        let (http, url) = (client(), url.clone());
        let (ready, flushed) = (Arc::clone(&ready), Arc::clone(&flushed));
        load.spawn(async move {
            let ask = async || {
                let seen = Seen::of(http.get(&url).header(KEY_HEADER, "a")).await;
                assert!(seen.status == 200 && seen.has_limits(), "{seen:?}");
            };
            let (mut asked, mut left) = (0, AFTER);
            while left > 0 {
                left -= u64::from(flushed.load(Ordering::Relaxed));
                ask().await;
                asked += 1;
                if asked == BEFORE {
                    ready.fetch_add(1, Ordering::Relaxed);
                }
            }
            asked
        });
    }
    eventually("all have sent", async || {
        ready.load(Ordering::Relaxed) == CLIENTS
    })
    .await;
    let before = evals().await;
    running.redis().script_flush().await.unwrap();
    flushed.store(true, Ordering::Relaxed);
    let asked: u64 = load.join_all().await.into_iter().sum();
    let loads = evals().await - before;
    assert!((1..=2).contains(&loads), "{loads} EVALs of two workers");
    assert!((1..=2).contains(&before), "{before} EVALs at the start");
    eventually("all were allowed by Redis", async || {
        running.sample().await.requests["many"]["allowed"] == asked
    })
    .await;
    assert_eq!(running.upstream().hits(), asked);
}

#[tokio::test]
async fn a_frozen_redis_opens_the_breaker_and_a_thawed_one_closes_it() {
    let rules = json!([with(rule("deny", 4), json!({ "on_failure": "deny" }))]);
    // Long enough for a healthy Redis on a busy machine.
    let running = Running::start(3_000, rules, |spec| {
        spec.plugin["breaker"] = json!({
            "window": 4, "minimum_calls": 4, "slow_call": "3s", "open": "50ms", "max_open": "200ms",
        });
    })
    .await;
    assert_limit_of_four_holds(&running, "/deny/", "alice").await;
    let healthy = running.sample().await;
    assert_eq!(healthy.breaker, Some(BreakerState::Closed));

    let fault = Fault::RedisFreeze.apply(&running).await.unwrap();
    eventually("the breaker opens", async || {
        let seen = Seen::of(running.get("/deny/", "bob")).await;
        assert!(seen.status == 503 && !seen.has_limits(), "{seen:?}");
        running.sample().await.transitions.get("open") > Some(&0)
    })
    .await;
    // While it is not closed no request asks Redis, and every one gets its policy.
    let calls = |sample: EnvoySample| sample.redis_calls.values().sum::<u64>();
    let before = calls(running.sample().await);
    for _ in 0..20 {
        assert_eq!(Seen::of(running.get("/deny/", "bob")).await.status, 503);
    }
    assert_eq!(calls(running.sample().await), before);

    fault.heal(&running).await.unwrap();
    eventually("the breaker closes", async || {
        running.sample().await.breaker == Some(BreakerState::Closed)
    })
    .await;
    assert_limit_of_four_holds(&running, "/deny/", "carol").await;
    let after = running.sample().await;
    for to in ["open", "half_open", "closed"] {
        assert!(after.transitions[to] > 0, "{to}: {:?}", after.transitions);
    }
}

/// A request on a connection of its own; the client has not read anything yet.
async fn ask_and_wait(front: SocketAddr) -> TcpStream {
    let mut connection = TcpStream::connect(front).await.unwrap();
    let request = format!("GET /allow/ HTTP/1.1\r\nhost: a\r\n{KEY_HEADER}: impatient\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    connection
}

#[tokio::test]
async fn clients_that_hang_up_while_they_wait_leave_nothing_behind() {
    const CLIENTS: u64 = 50;
    let running = Running::start(10_000, json!([rule("allow", 4)]), |spec| spec.workers = 2).await;
    assert_limit_of_four_holds(&running, "/allow/", "alice").await;
    let fault = Fault::RedisFreeze.apply(&running).await.unwrap();
    let front = running.envoys()[0].ports().front;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(ask_and_wait(front).await);
    }
    eventually("all of them wait", async || {
        running.sample().await.waiting == CLIENTS
    })
    .await;
    drop(clients);
    eventually("nobody waits", async || running.sample().await.waiting == 0).await;

    fault.heal(&running).await.unwrap();
    counted_again(&running, "/allow/").await;
    assert_limit_of_four_holds(&running, "/allow/", "bob").await;
    eventually("nobody waits", async || running.sample().await.waiting == 0).await;
    let sample = running.sample().await;
    assert_eq!(sample.vm_reloads, 0);
    // None of them was passed on, and none was decided: nobody was left to tell.
    let passed = running.upstream().hits_of("/allow/", "impatient");
    assert_eq!(passed, 0);
    assert_eq!(sample.requests["allow"]["degraded_allow"], 0);
}

#[tokio::test]
async fn i3_while_redis_is_away_each_policy_admits_what_it_says_and_no_more() {
    const SHARE: u64 = 5;
    const WORKERS: u64 = 4;
    let local = json!({ "on_failure": "local", "local": { "share": 0.25 } });
    let rules = json!([
        rule("allow", 20),
        with(rule("deny", 20), json!({ "on_failure": "deny" })),
        with(rule("local", 4 * SHARE), local),
    ]);
    let running = Running::start(PATIENT, rules, |spec| {
        (spec.envoys, spec.workers) = (2, 2);
    })
    .await;
    running.redis().kill().await.unwrap();
    // Eight connections to each Envoy; the system spreads them over its workers.
    let mut load = JoinSet::new();
    for envoy in running.envoys() {
        for _ in 0..8 {
            let (http, base) = (client(), envoy.front_url());
            load.spawn(async move {
                for turn in 0..60 {
                    let path = ["/allow/", "/deny/", "/local/"][turn % 3];
                    let request = http.get(format!("{base}{path}"));
                    Seen::of(request.header(KEY_HEADER, "a")).await;
                }
            });
        }
    }
    load.join_all().await;
    let admitted = |path: &str| running.upstream().hits_of(path, "a");
    assert_eq!(admitted("/deny/"), 0);
    assert_eq!(admitted("/allow/"), 2 * 8 * 20);
    let local = admitted("/local/");
    assert!(local <= WORKERS * SHARE, "{local}");
    assert!(local >= 2 * SHARE && local % SHARE == 0, "{local}");
    eventually("the filters count what was admitted", async || {
        let mut counts = (0, 0);
        for envoy in running.envoys() {
            let sample = EnvoySample::take(&running.http, envoy).await.unwrap();
            counts.0 += sample.requests["allow"]["degraded_allow"];
            counts.1 += sample.requests["local"]["degraded_local_allow"];
        }
        counts == (admitted("/allow/"), local)
    })
    .await;
}

#[tokio::test]
async fn i5_a_poisoned_key_gets_its_policy_and_changes_nothing_for_others() {
    let rules = json!([with(rule("deny", 4), json!({ "on_failure": "deny" }))]);
    let running = Running::start(PATIENT, rules, |spec| {
        spec.plugin["breaker"] = json!({ "minimum_calls": 1, "slow_call": "5s" });
    })
    .await;
    let mut poison = redis::cmd("LPUSH");
    poison.arg("vg:{deny:mallory}:tb").arg("no bucket");
    running.redis().ask::<u64>(poison).await.unwrap();
    for key in ["alice", "bob"] {
        for _ in 0..10 {
            let seen = Seen::of(running.get("/deny/", "mallory")).await;
            assert!(seen.status == 503 && !seen.has_limits(), "{seen:?}");
        }
        assert_limit_of_four_holds(&running, "/deny/", key).await;
    }
    eventually("the errors are counted", async || {
        running.sample().await.redis_errors["wrongtype"] == 20
    })
    .await;
    let sample = running.sample().await;
    assert_eq!(sample.breaker, Some(BreakerState::Closed));
    assert_eq!(sample.transitions["open"], 0);
}
