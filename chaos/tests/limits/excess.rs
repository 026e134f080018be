//! I1: excess load on many workers at once, judged by what the clients saw.

use std::time::Duration;

use serde_json::{Value, json};
use velocitygate_chaos::judge::worst_excess;
use velocitygate_chaos::observe::EnvoySample;
use velocitygate_chaos::scenario::Limit;
use velocitygate_chaos::stack::{EnvoyVersion, KEY_HEADER};

use crate::common::{PATIENT, Running, eventually};
use crate::load::{Load, RedisClock, Tally};
use crate::statuses;

pub(crate) const LIMIT: Limit = Limit {
    rate: 100.0,
    burst: 100.0,
};

fn strict() -> Value {
    json!({
        "name": "per-key", "key": [{ "header": KEY_HEADER }],
        "limit": { "requests": LIMIT.rate as u64, "per": "1s", "burst": LIMIT.burst as u64 },
    })
}

/// `rule` is called `per-key`, and its limit is [`LIMIT`].
pub(crate) async fn two_envoys_with_two_workers_keep_one_limit(version: EnvoyVersion, rule: Value) {
    let running = Running::start(PATIENT, json!([rule]), |spec| {
        (spec.envoys, spec.workers, spec.envoy) = (2, 2, version);
    })
    .await;
    let load = Load {
        clock: RedisClock::of(&running).await,
        length: Duration::from_secs(3),
        connections: 6,
    };
    let start_s = load.clock.latest_s();
    // Meanwhile a second key has all of its own.
    let calm = async {
        for _ in 0..5 {
            assert_eq!(statuses(&running, "/", "calm", 4).await, [200; 4]);
        }
    };
    let (Tally { admitted, refused }, ()) = tokio::join!(load.press(&running, "/"), calm);

    let excess = worst_excess(&admitted, &LIMIT);
    assert!(excess <= 0.0, "{excess} requests above the limit");
    let last_sent_s = admitted.iter().map(|it| it.sent_s).fold(0.0, f64::max);
    let due = LIMIT.burst + LIMIT.rate * (last_sent_s - start_s);
    let share = admitted.len() as f64 / due;
    assert!(share >= 0.95, "{} admitted of {due}", admitted.len());
    assert!(refused > admitted.len() as u64 / 2, "no excess: {refused}");
    let admitted = admitted.len() as u64;
    assert_eq!(running.upstream().hits_of("/", "hot"), admitted);
    eventually("the filters count what the clients saw", async || {
        let mut counts = (0, 0);
        for envoy in running.envoys() {
            let sample = EnvoySample::take(&running.http, envoy).await.unwrap();
            counts.0 += sample.requests["per-key"]["allowed"];
            counts.1 += sample.requests["per-key"]["denied"];
        }
        counts == (admitted + 20, refused)
    })
    .await;
}

#[tokio::test]
async fn i1_two_envoys_with_two_workers_each_never_admit_more_than_the_limit_in_any_interval() {
    two_envoys_with_two_workers_keep_one_limit(EnvoyVersion::Newest, strict()).await;
}

#[tokio::test]
async fn i1_the_oldest_envoy_never_admits_more_than_the_limit_in_any_interval() {
    two_envoys_with_two_workers_keep_one_limit(EnvoyVersion::Oldest, strict()).await;
}
