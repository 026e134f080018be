//! Tokens taken ahead: fewer calls, and the same limit.

use serde_json::json;
use velocitygate_chaos::observe::RedisSample;
use velocitygate_chaos::stack::{EnvoyVersion, KEY_HEADER};

use crate::common::{PATIENT, Running, Seen};
use crate::excess::{LIMIT, two_envoys_with_two_workers_keep_one_limit};
use crate::page::counter;

#[tokio::test]
async fn i1_two_envoys_with_leases_never_admit_more_than_the_limit_in_any_interval() {
    let rule = json!({
        "name": "per-key", "key": [{ "header": KEY_HEADER }],
        "limit": { "requests": LIMIT.rate as u64, "per": "1s", "burst": LIMIT.burst as u64 },
        "lease": { "max": 10, "ttl": "100ms" },
    });
    two_envoys_with_two_workers_keep_one_limit(EnvoyVersion::Newest, rule).await;
}

#[tokio::test]
async fn a_busy_key_that_leases_asks_redis_for_few_of_its_requests() {
    const REQUESTS: u64 = 400;
    let rules = json!([{
        "name": "busy", "key": [{ "header": KEY_HEADER }],
        "limit": { "requests": 100_000, "per": "1m" },
        "lease": { "max": 100, "ttl": "1s" },
    }]);
    let running = Running::start(PATIENT, rules, |_| ()).await;
    for _ in 0..REQUESTS {
        let seen = Seen::of(running.get("/", "a")).await;
        assert!(seen.status == 200 && seen.has_limits(), "{seen:?}");
    }
    let sample = RedisSample::take(running.redis()).await.unwrap();
    let asked = sample.evalsha_calls + sample.eval_calls;
    let hits = counter(&running, "lease_hits_total").await;
    println!("{asked} commands and {hits} hits for {REQUESTS} requests");
    assert!(asked < REQUESTS / 2, "{asked} commands");
    assert!(hits > REQUESTS / 2, "{hits} hits");
    assert_eq!(running.upstream().hits_of("/", "a"), REQUESTS);
}
