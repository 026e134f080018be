//! The stack itself, with the real programs and without the filter: what every scenario relies on.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};
use velocitygate_chaos::fault::{Direction, Fault, Stream, Toxic, heal_all};
use velocitygate_chaos::observe::{EnvoySample, ProcessSample, RedisSample};
use velocitygate_chaos::stack::{
    EnvoyVersion, KEY_HEADER, REDIS_PROXY, Spec, Stack, Store, Wiring, envoy_config,
};

const DEADLINE: Duration = Duration::from_secs(30);

/// Without the filter and without Envoys beyond `envoys`.
fn bare(dir: &Path, envoys: usize) -> Spec {
    Spec {
        envoys,
        module: None,
        ..Spec::new(dir.to_owned())
    }
}

/// Waits until `condition` holds.
async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A process that ended but was not yet waited for still has an entry; it counts as gone.
fn is_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// Whether every thread of a process has stopped.
fn is_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.flatten().all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status"));
        status.is_ok_and(|status| status.contains("State:\tT"))
    })
}

/// Whether Redis answers through Toxiproxy within the given time.
async fn answers(stack: &Stack, within: Duration) -> bool {
    let ask = async {
        let proxies: serde_json::Value = stack.toxiproxy().proxies().await.ok()?;
        let listen = proxies[REDIS_PROXY]["listen"].as_str()?.to_owned();
        let client = redis::Client::open(format!("redis://{listen}")).ok()?;
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        redis::cmd("PING")
            .query_async::<String>(&mut connection)
            .await
            .ok()
    };
    tokio::time::timeout(within, ask)
        .await
        .is_ok_and(|pong| pong.as_deref() == Some("PONG"))
}

/// How many toxics stand in the way to Redis.
async fn toxics(stack: &Stack) -> usize {
    let toxics = stack.toxiproxy().toxics(REDIS_PROXY).await;
    toxics.unwrap().len()
}

#[tokio::test]
async fn a_request_passes_every_envoy_and_all_observers_count_it() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::start(bare(dir.path(), 2)).await.unwrap();
    let http = reqwest::Client::new();
    for envoy in stack.envoys() {
        let url = format!("{}/hello?x=1", envoy.front_url());
        let answer = http
            .get(url)
            .header(KEY_HEADER, "alice")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(
        (
            stack.upstream().hits(),
            stack.upstream().hits_of("/hello", "alice")
        ),
        (2, 2)
    );
    for envoy in stack.envoys() {
        eventually("Envoy counts the request", async || {
            let sample = EnvoySample::take(&http, envoy).await.unwrap();
            sample.answers.get("2") == Some(&1) && sample.upstream_requests == 1
        })
        .await;
        assert!(ProcessSample::take(envoy.pid()).unwrap().rss_bytes > 0);
    }
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn the_metrics_listener_shows_two_pages_and_nothing_else_of_the_admin_interface() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::start(bare(dir.path(), 1)).await.unwrap();
    let (http, base) = (reqwest::Client::new(), stack.envoys()[0].metrics_url());
    for (path, status) in [
        ("/ready", 200),
        ("/stats/prometheus", 200),
        ("/stats", 404),
        ("/", 404),
    ] {
        let answer = http.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
    let answer = http
        .post(format!("{base}/quitquitquit"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 404);
}

#[tokio::test]
async fn nothing_is_left_running_after_drop_or_stop() {
    for stop in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let stack = Stack::start(bare(dir.path(), 1)).await.unwrap();
        let pids = stack.pids().await;
        assert_eq!(pids.len(), 3);
        assert!(!pids.iter().any(|pid| is_gone(*pid)));
        // A frozen process must not survive either.
        stack.redis().freeze().await.unwrap();
        if stop {
            stack.stop().await.unwrap()
        } else {
            drop(stack)
        }
        eventually("all processes are gone", async || {
            pids.iter().all(|pid| is_gone(*pid))
        })
        .await;
    }
}

#[tokio::test]
async fn a_killed_or_restarted_redis_comes_back_empty_on_the_same_port() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::start(bare(dir.path(), 0)).await.unwrap();
    let address = stack.redis().address();
    for fault in [Fault::RedisKill, Fault::RedisRestart] {
        let before = stack.redis().pid().await;
        let mut set = redis::cmd("SET");
        set.arg("key").arg("value");
        stack.redis().ask::<()>(set).await.unwrap();
        assert_eq!(stack.redis().dbsize().await.unwrap(), 1);
        let applied = fault.apply(&stack).await.unwrap();
        let is_down = stack.redis().dbsize().await.is_err();
        assert_eq!(is_down, fault == Fault::RedisKill);
        applied.heal(&stack).await.unwrap();
        assert_eq!(stack.redis().dbsize().await.unwrap(), 0);
        assert_eq!(stack.redis().address(), address);
        assert_ne!(stack.redis().pid().await, before);
    }
}

#[tokio::test]
async fn every_fault_of_the_way_stops_answers_until_it_is_healed() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::start(bare(dir.path(), 0)).await.unwrap();
    let direction = Direction::Both;
    let faults = [
        Fault::ProxyDown,
        Fault::Latency {
            latency_ms: 60_000,
            jitter_ms: 0,
            direction,
        },
        Fault::Bandwidth {
            rate_kb: 0,
            direction,
        },
        Fault::BlackHole,
        Fault::RedisFreeze,
    ];
    for fault in faults {
        assert!(answers(&stack, DEADLINE).await, "before {fault:?}");
        let applied = fault.apply(&stack).await.unwrap();
        assert!(
            !answers(&stack, Duration::from_millis(200)).await,
            "during {fault:?}"
        );
        applied.heal(&stack).await.unwrap();
        heal_all(&stack)
            .await
            .expect("healing twice changes nothing");
        assert!(answers(&stack, DEADLINE).await, "after {fault:?}");
        assert_eq!(toxics(&stack).await, 0);
    }
}

#[tokio::test]
async fn a_hung_toxiproxy_is_restarted_by_healing_and_leads_to_redis_again() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::start(bare(dir.path(), 0)).await.unwrap();
    assert!(
        !heal_all(&stack).await.unwrap(),
        "a healthy one is left alone"
    );
    let applied = Fault::BlackHole.apply(&stack).await.unwrap();
    let hung = stack.pids().await[0];
    kill(Pid::from_raw(hung.cast_signed()), Signal::SIGSTOP).unwrap();
    // A thread of it may be at work still when the signal was sent.
    while !is_stopped(hung) {
        tokio::task::yield_now().await;
    }
    assert!(applied.heal(&stack).await.unwrap().toxiproxy_restarted);
    assert!(is_gone(hung));
    assert!(answers(&stack, DEADLINE).await);
}

#[tokio::test]
async fn every_toxic_reads_back_as_asked_in_both_directions() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::start(bare(dir.path(), 0)).await.unwrap();
    let all = [
        Toxic::Latency {
            latency: 5,
            jitter: 1,
        },
        Toxic::Bandwidth { rate: 1 },
        Toxic::Timeout { timeout: 7 },
        Toxic::ResetPeer { timeout: 8 },
        Toxic::Slicer {
            average_size: 9,
            size_variation: 2,
            delay: 3,
        },
        Toxic::LimitData { bytes: 10 },
        Toxic::SlowClose { delay: 11 },
    ];
    for toxic in all {
        for stream in [Stream::Upstream, Stream::Downstream] {
            let made = stack
                .toxiproxy()
                .add(REDIS_PROXY, toxic, stream)
                .await
                .unwrap();
            assert_eq!(made["stream"], serde_json::json!(stream));
        }
    }
    assert_eq!(toxics(&stack).await, 2 * all.len());
    stack.toxiproxy().reset().await.unwrap();
    assert_eq!(toxics(&stack).await, 0);
}

#[tokio::test]
async fn a_flapping_records_its_toggles_in_turn_and_ends_up() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::start(bare(dir.path(), 0)).await.unwrap();
    let applied = Fault::Flap { every_ms: 20 }.apply(&stack).await.unwrap();
    // Seen from outside: up at least once, and down at least once after it.
    eventually("the way is up", async || answers(&stack, DEADLINE).await).await;
    eventually("the way is down", async || !answers(&stack, DEADLINE).await).await;
    let toggles = applied.heal(&stack).await.unwrap().toggles;
    assert!(toggles.len() >= 3, "{toggles:?}");
    for (index, toggle) in toggles.iter().enumerate() {
        assert_eq!(toggle.up, index % 2 == 1, "down first, then in turn");
    }
    assert!(toggles.is_sorted_by_key(|toggle| toggle.at));
    assert!(answers(&stack, DEADLINE).await);
}

#[tokio::test]
async fn a_script_flush_makes_redis_forget_and_its_calls_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let stack = Stack::start(bare(dir.path(), 0)).await.unwrap();
    let mut load = redis::cmd("SCRIPT");
    load.arg("LOAD").arg("return 1");
    let digest: String = stack.redis().ask(load).await.unwrap();
    let evalsha = || {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&digest).arg(0);
        command
    };
    assert_eq!(stack.redis().ask::<u64>(evalsha()).await.unwrap(), 1);
    let applied = Fault::ScriptFlush.apply(&stack).await.unwrap();
    assert!(stack.redis().ask::<u64>(evalsha()).await.is_err());
    applied.heal(&stack).await.unwrap();
    let sample = RedisSample::take(stack.redis()).await.unwrap();
    assert_eq!(
        (sample.evalsha_calls, sample.eval_calls, sample.keys),
        (2, 0, 0)
    );
}

#[tokio::test]
async fn an_envoy_that_refuses_its_configuration_shows_the_end_of_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = bare(dir.path(), 1);
    spec.tweak = Some(std::sync::Arc::new(|tree| {
        envoy_config::connection_manager(tree).unwrap()["no_such_field"] = true.into();
    }));
    let error = Stack::start(spec).await.unwrap_err();
    assert!(format!("{error:#}").contains("no_such_field"), "{error:#}");
}

#[tokio::test]
async fn a_store_of_the_callers_is_where_envoy_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let store = velocitygate_chaos::stack::ports::free().unwrap();
    let spec = Spec {
        store: Store::At(store),
        ..bare(dir.path(), 1)
    };
    let _stack = Stack::start(spec).await.unwrap();
    let written = std::fs::read_to_string(dir.path().join("envoy-0.json")).unwrap();
    assert!(written.contains(&format!("\"port_value\": {}", store.port())));
}

#[tokio::test]
async fn the_shipped_configuration_decides_by_redis_on_both_ends_of_envoy_and_both_wirings() {
    for envoy in [EnvoyVersion::Newest, EnvoyVersion::Oldest] {
        for wiring in [Wiring::RedisProxy, Wiring::TcpProxy] {
            let dir = tempfile::tempdir().unwrap();
            let spec = Spec {
                envoy: envoy.clone(),
                wiring,
                ..Spec::new(dir.path().to_owned())
            };
            let stack = Stack::start(spec).await.unwrap();
            let (http, envoy) = (reqwest::Client::new(), &stack.envoys()[0]);
            let ask = || http.get(envoy.front_url()).header(KEY_HEADER, "alice");
            // The file gives Redis 50 ms, which a busy machine may miss.
            let decided = async || {
                assert_eq!(ask().send().await.unwrap().status(), 200, "{wiring:?}");
                let sample = EnvoySample::take(&http, envoy).await.unwrap();
                let per_key = sample.requests.get("per-key");
                per_key.is_some_and(|rule| rule.get("allowed") > Some(&0))
            };
            eventually("Redis decides, and it shows with labels", decided).await;
            let sample = RedisSample::take(stack.redis()).await.unwrap();
            assert!(sample.evalsha_calls + sample.eval_calls > 0, "{wiring:?}");
            stack.stop().await.unwrap();
        }
    }
}
