//! What the tests of stores share.

use std::path::Path;

use serde_json::{Value, json};
use velocitygate_chaos::observe::BreakerState;
use velocitygate_chaos::stack::{Login, RedisCluster, RedisSpec, Spec};
use velocitygate_chaos::tools::repository;

use crate::common::{PATIENT, Running, Seen, eventually, rule, with};

/// Tokens of each key.
pub(crate) const LIMIT: u64 = 4;

/// The path that [`rules`] limit.
pub(crate) const PATH: &str = "/deny/";

/// One rule that fails closed: whoever passes was counted.
pub(crate) fn rules() -> Value {
    json!([with(rule("deny", LIMIT), json!({ "on_failure": "deny" }))])
}

/// A stack with these rules, and a breaker that opens at the second failure of three calls and
/// looks again at once.
pub(crate) async fn start(change: impl FnOnce(&mut Spec)) -> Running {
    Running::start(PATIENT, rules(), |spec| {
        spec.plugin["breaker"] = json!({
            "window": 4, "minimum_calls": 2, "failure_rate": 0.5, "slow_call": "5s",
            "open": "20ms", "max_open": "100ms", "probes": 1,
        });
        change(spec);
    })
    .await
}

/// A configuration beside `envoy/envoy.yaml`.
pub(crate) fn example(spec: &mut Spec, name: &str) {
    spec.config = repository().join("envoy").join(name);
}

/// A Redis that knows this one user alone; `envoy/tls.yaml` has the same name.
pub(crate) fn guarded() -> RedisSpec {
    RedisSpec {
        login: Some(Login {
            user: "velocitygate".to_owned(),
            password: "open sesame".to_owned(),
        }),
        ..RedisSpec::default()
    }
}

/// A client that was not seen yet has all of its limit and no more, and is told so.
pub(crate) async fn assert_limit_holds(running: &Running, key: &str) {
    for left in (0..LIMIT).rev() {
        let seen = Seen::of(running.get(PATH, key)).await;
        assert_eq!(seen.status, 200, "{key}: {seen:?}");
        let limits = seen.header("ratelimit");
        assert!(limits.contains(&format!(";r={left};")), "{key}: {limits}");
    }
    let refused = Seen::of(running.get(PATH, key)).await;
    assert!(refused.status == 429 && refused.has_limits(), "{refused:?}");
}

/// Requests of a client of their own go on until one is counted by Redis.
pub(crate) async fn counted_again(running: &Running, key: &str) {
    eventually(&format!("Redis counts {key}"), async || {
        Seen::of(running.get(PATH, key)).await.has_limits()
    })
    .await;
}

/// How often the breaker opened.
pub(crate) async fn openings(running: &Running) -> u64 {
    let transitions = running.sample().await.transitions;
    transitions.get("open").copied().unwrap_or(0)
}

/// How many errors of this class Redis answered.
pub(crate) async fn errors(running: &Running, class: &str) -> u64 {
    let errors = running.sample().await.redis_errors;
    errors.get(class).copied().unwrap_or(0)
}

/// Waits until a request of a new client is counted, and the breaker is closed.
pub(crate) async fn recovered(running: &Running, key: &str) {
    counted_again(running, key).await;
    eventually("the breaker is closed", async || {
        running.sample().await.breaker == Some(BreakerState::Closed)
    })
    .await;
}

/// A client whose counter was with this master of the cluster from the start, and the slot of it;
/// each `name`, of letters and digits, gives another.
pub(crate) async fn client_of(
    cluster: &RedisCluster,
    master: usize,
    name: &str,
) -> (String, usize) {
    for number in 0.. {
        let key = format!("{name}-{number}");
        let bucket = format!("vg:{{deny:{key}}}:tb");
        let slot = cluster.slot_of(&bucket).await.unwrap();
        if cluster.first_owner(slot) == master {
            return (key, slot);
        }
    }
    unreachable!("every master has slots")
}

/// What the first Envoy of the stack in `dir` has logged.
pub(crate) fn log(dir: &Path) -> String {
    let log = std::fs::read(dir.join("envoy-0.log")).unwrap();
    String::from_utf8_lossy(&log).into_owned()
}
