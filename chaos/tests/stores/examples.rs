//! The configurations of `envoy/`, each with the store that it is for.

use serde_json::json;
use velocitygate_chaos::observe::RedisSample;
use velocitygate_chaos::stack::envoy_config::store_cluster;
use velocitygate_chaos::stack::{EnvoyVersion, Redis, RedisSpec, Spec, Store, Wiring};

use crate::bed::{LIMIT, PATH, assert_limit_holds, errors, example, guarded, openings, start};
use crate::common::{PATIENT, Running, Seen, eventually, tweak};
use crate::stat::stat;

/// The limit in the files themselves.
const OWN_LIMIT: usize = 10;

/// Starts what `name` says with the rules that it has. Only the time a request may take is
/// longer: the machine may be busy.
async fn as_it_is(name: &str, change: impl FnOnce(&mut Spec)) -> Running {
    start(|spec| {
        example(spec, name);
        spec.plugin = json!({ "redis": { "timeout": format!("{PATIENT}ms") } });
        change(spec);
    })
    .await
}

/// The file's own rule holds, by counters that are in Redis.
async fn assert_own_limit_holds(running: &Running) {
    for _ in 0..OWN_LIMIT {
        let seen = Seen::of(running.get("/any", "alice")).await;
        assert!(seen.status == 200 && seen.has_limits(), "{seen:?}");
    }
    assert_eq!(Seen::of(running.get("/any", "alice")).await.status, 429);
    assert_eq!(Seen::of(running.get("/any", "bob")).await.status, 200);
}

#[tokio::test]
async fn the_minimal_configuration_limits_on_both_ends_of_envoy() {
    for envoy in [EnvoyVersion::Newest, EnvoyVersion::Oldest] {
        let running = as_it_is("minimal.yaml", |spec| {
            (spec.envoy, spec.store) = (envoy, Store::Direct);
            // As in the file: for other tests it is STATIC.
            tweak(spec, |tree| {
                store_cluster(tree).unwrap()["type"] = json!("STRICT_DNS");
            });
        })
        .await;
        assert_own_limit_holds(&running).await;
        let sample = RedisSample::take(running.redis()).await.unwrap();
        assert_eq!(sample.keys, 2);
    }
}

/// The Redis of `envoy/tls.yaml`.
fn with_tls() -> RedisSpec {
    RedisSpec {
        tls: true,
        ..guarded()
    }
}

/// Gives the user no more rights than `envoy/tls.yaml` says it needs.
async fn restrict(redis: &Redis) {
    let file = include_str!("../../../envoy/tls.yaml");
    let (_, rest) = file.split_once("#   ACL SETUSER ").expect("rights");
    let (rights, _) = rest.split_once('\n').unwrap();
    let password = guarded().login.unwrap().password;
    let mut command = redis::cmd("ACL");
    command.arg("SETUSER").arg("velocitygate").arg("reset");
    for word in rights.split(' ').skip(1) {
        command.arg(word.replace("PASSWORD", &password));
    }
    redis.ask::<()>(command).await.unwrap();
}

#[tokio::test]
async fn the_tls_configuration_limits_with_the_rights_it_asks_for_on_both_ends_of_envoy() {
    for envoy in [EnvoyVersion::Newest, EnvoyVersion::Oldest] {
        let running = as_it_is("tls.yaml", |spec| {
            (spec.envoy, spec.redis, spec.store) = (envoy, with_tls(), Store::Direct);
        })
        .await;
        restrict(running.redis()).await;
        assert_own_limit_holds(&running).await;
        assert!(running.redis().info().await.is_err(), "more rights");
        assert_eq!(running.sample().await.requests["per-key"]["allowed"], 11);
    }
}

#[tokio::test]
async fn a_wrong_password_is_an_auth_error_and_nobody_passes() {
    let running = start(|spec| {
        example(spec, "tls.yaml");
        (spec.redis, spec.store) = (with_tls(), Store::Direct);
        tweak(spec, |tree| {
            let cluster = store_cluster(tree).unwrap();
            let options = &mut cluster["typed_extension_protocol_options"];
            options["envoy.filters.network.redis_proxy"]["auth_password"] =
                json!({ "inline_string": "guessed" });
        });
    })
    .await;
    eventually("the breaker opens", async || {
        let seen = Seen::of(running.get(PATH, "alice")).await;
        assert!(seen.status == 503 && !seen.has_limits(), "{seen:?}");
        openings(&running).await > 0
    })
    .await;
    assert!(errors(&running, "auth").await > 0);
}

/// Its authority is not the one that `redis-ca.pem` names.
#[tokio::test]
async fn a_redis_with_another_certificate_is_not_spoken_to() {
    let other = tempfile::tempdir().unwrap();
    let stranger = Redis::start(&with_tls(), other.path()).await.unwrap();
    let running = start(|spec| {
        example(spec, "tls.yaml");
        (spec.redis, spec.store) = (with_tls(), Store::At(stranger.store_address()));
    })
    .await;
    for _ in 0..LIMIT {
        let seen = Seen::of(running.get(PATH, "alice")).await;
        assert!(seen.status == 503 && !seen.has_limits(), "{seen:?}");
    }
    let sample = RedisSample::take(&stranger).await.unwrap();
    assert_eq!((sample.evalsha_calls, sample.eval_calls), (0, 0));
    assert!(stat(&running, "cluster.redis.ssl.fail_verify_error").await > 0);
}

/// Behind `tcp_proxy` the TLS is Envoy's as well.
#[tokio::test]
async fn tls_works_behind_tcp_proxy_too() {
    let running = start(|spec| {
        example(spec, "tls.yaml");
        let open = RedisSpec {
            tls: true,
            ..RedisSpec::default()
        };
        (spec.redis, spec.store) = (open, Store::Direct);
        std::fs::write(spec.dir.join("redis-password"), "unused").unwrap();
        spec.wiring = Wiring::TcpProxy;
    })
    .await;
    assert_limit_holds(&running, "alice").await;
}
