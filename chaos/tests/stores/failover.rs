//! A failover under Envoy's feet: the Redis that it talks to becomes a replica, and later the
//! master again.

use velocitygate_chaos::observe::RedisSample;
use velocitygate_chaos::stack::{Redis, RedisSpec, Store};

use crate::bed::{PATH, counted_again, errors, openings, start};
use crate::common::{Running, Seen, eventually};

/// Makes `replica` follow `master`, or nobody, and waits until it is in step.
async fn follow(replica: &Redis, master: Option<&Redis>) {
    let mut command = redis::cmd("REPLICAOF");
    match master.map(Redis::address) {
        Some(address) => command.arg(address.ip().to_string()).arg(address.port()),
        None => command.arg("NO").arg("ONE"),
    };
    replica.ask::<()>(command).await.unwrap();
    let state = match master {
        Some(_) => "master_link_status:up",
        None => "role:master",
    };
    eventually(state, async || {
        replica.info().await.unwrap().contains(state)
    })
    .await;
}

async fn evals(redis: &Redis) -> u64 {
    let sample = RedisSample::take(redis).await.unwrap();
    sample.eval_calls + sample.evalsha_calls
}

/// How many requests the client has left, by the answer to one.
async fn left(running: &Running, key: &str) -> String {
    let seen = Seen::of(running.get(PATH, key)).await;
    let limits = seen.header("ratelimit");
    format!(
        "{} {}",
        seen.status,
        limits.split(';').nth(1).unwrap_or("?")
    )
}

#[tokio::test]
async fn a_demoted_master_opens_the_breaker_and_a_promoted_one_closes_it_and_kept_the_counts() {
    let running = start(|spec| spec.store = Store::Direct).await;
    let dir = tempfile::tempdir().unwrap();
    let other = Redis::start(&RedisSpec::default(), dir.path())
        .await
        .unwrap();
    let own = running.redis();
    for expected in ["200 r=3", "200 r=2", "200 r=1"] {
        assert_eq!(left(&running, "alice").await, expected);
    }
    follow(&other, Some(own)).await;
    assert_eq!(other.dbsize().await.unwrap(), 1);

    // The failover: Envoy still talks to the one that was the master.
    follow(&other, None).await;
    follow(own, Some(&other)).await;
    eventually("the breaker opens", async || {
        let seen = Seen::of(running.get(PATH, "alice")).await;
        assert!(seen.status == 503 && !seen.has_limits(), "{seen:?}");
        openings(&running).await > 0
    })
    .await;
    assert!(errors(&running, "readonly").await > 0);

    follow(&other, None).await;
    follow(own, None).await;
    counted_again(&running, "pilot").await;
    assert_eq!(left(&running, "alice").await, "200 r=0");
    assert_eq!(left(&running, "alice").await, "429 r=0");
    assert_eq!(evals(&other).await, 0, "Envoy never met the other one");
}
