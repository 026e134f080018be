//! The same limits by every Redis and Valkey, behind both proxies, on both ends of Envoy.

use velocitygate_chaos::observe::RedisSample;
use velocitygate_chaos::stack::{EnvoyVersion, RedisProgram, RedisSpec, Store, Wiring};

use crate::bed::{PATH, assert_limit_holds, recovered, start};
use crate::common::Seen;

/// Limits hold, a flushed script is sent again, a crash means the policy, and a Redis that comes
/// back empty is counted on at once.
async fn serves(program: RedisProgram, envoy: EnvoyVersion, wiring: Wiring) {
    let running = start(|spec| {
        (spec.envoy, spec.wiring, spec.store) = (envoy, wiring, Store::Direct);
        spec.redis = RedisSpec {
            program,
            ..RedisSpec::default()
        };
    })
    .await;
    assert_limit_holds(&running, "alice").await;
    let sample = RedisSample::take(running.redis()).await.unwrap();
    assert_eq!((sample.keys, sample.eval_calls), (1, 1));
    running.redis().script_flush().await.unwrap();
    assert_limit_holds(&running, "bob").await;
    running.redis().kill().await.unwrap();
    let seen = Seen::of(running.get(PATH, "carol")).await;
    assert!(seen.status == 503 && !seen.has_limits(), "{seen:?}");
    running.redis().ensure_running().await.unwrap();
    recovered(&running, "dave").await;
    assert_limit_holds(&running, "erin").await;
}

#[tokio::test]
async fn the_installed_redis_serves_both_ends_of_envoy() {
    for envoy in [EnvoyVersion::Newest, EnvoyVersion::Oldest] {
        serves(RedisProgram::Installed, envoy.clone(), Wiring::RedisProxy).await;
        serves(RedisProgram::Installed, envoy, Wiring::TcpProxy).await;
    }
}

#[tokio::test]
async fn the_oldest_redis_serves_both_ends_of_envoy() {
    serves(
        RedisProgram::Oldest,
        EnvoyVersion::Newest,
        Wiring::RedisProxy,
    )
    .await;
    serves(RedisProgram::Oldest, EnvoyVersion::Oldest, Wiring::TcpProxy).await;
}

#[tokio::test]
async fn valkey_serves_both_ends_of_envoy() {
    serves(RedisProgram::Valkey, EnvoyVersion::Newest, Wiring::TcpProxy).await;
    serves(
        RedisProgram::Valkey,
        EnvoyVersion::Oldest,
        Wiring::RedisProxy,
    )
    .await;
}
