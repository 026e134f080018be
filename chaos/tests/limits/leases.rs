//! Tokens taken ahead: fewer calls, and the same limit.

use std::time::Duration;

use serde_json::json;
use velocitygate_chaos::observe::RedisSample;
use velocitygate_chaos::stack::{EnvoyVersion, KEY_HEADER};

use crate::common::{PATIENT, Running, Seen};
use crate::excess::two_envoys_admit_no_more_than_promised;
use crate::page::counter;
use crate::promise::Promise;

/// What is held while nobody asks for it costs a part of the limit, and so does a longer window.
async fn two_envoys_that_lease_keep_the_promise(algorithm: &'static str) {
    let lease = json!({ "lease": { "max": 10, "ttl": "100ms" } });
    let judged =
        two_envoys_admit_no_more_than_promised(algorithm, EnvoyVersion::Newest, lease).await;
    // A window is a `ttl` longer, and for as long a refusal may be remembered.
    let spaced = Promise {
        per: judged.promise.per + 2 * Duration::from_millis(100),
        ..judged.promise
    };
    let times = spaced.times_used_up(&judged.seen.refused);
    // Four workers may each have held 10 of 100 then.
    let least = times * judged.promise.requests / 2;
    let admitted = judged.seen.admitted.len();
    let hits = counter(&judged.running, "lease_hits_total").await;
    println!("{algorithm}: {hits} hits, {admitted} admitted of {least} at least");
    assert!(admitted >= least as usize, "{admitted} of {least}");
    assert!(hits > 0);
}

#[tokio::test]
async fn i1_two_envoys_with_leases_never_admit_more_than_the_limit_in_any_interval() {
    two_envoys_that_lease_keep_the_promise("token_bucket").await;
}

#[tokio::test]
async fn i1_two_envoys_with_leases_never_admit_more_than_a_sliding_log_promises() {
    two_envoys_that_lease_keep_the_promise("sliding_log").await;
}

#[tokio::test]
async fn i1_two_envoys_with_leases_never_admit_more_than_a_fixed_window_promises() {
    two_envoys_that_lease_keep_the_promise("fixed_window").await;
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
