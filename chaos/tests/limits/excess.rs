//! I1: excess load on many workers at once, on Redis's own clock, judged by what the clients saw.

use std::time::Duration;

use serde_json::{Value, json};
use velocitygate_chaos::observe::EnvoySample;
use velocitygate_chaos::stack::{EnvoyVersion, KEY_HEADER};

use crate::common::{PATIENT, Running, eventually, with};
use crate::load::{Load, RedisClock, Tally};
use crate::promise::Promise;
use crate::statuses;

/// A promise, and what clients saw of it.
pub(crate) struct Judged {
    pub(crate) running: Running,
    pub(crate) promise: Promise,
    pub(crate) seen: Tally,
}

/// Two Envoys with two workers each. `more` are further fields of the rule.
pub(crate) async fn two_envoys_admit_no_more_than_promised(
    algorithm: &'static str,
    version: EnvoyVersion,
    more: Value,
) -> Judged {
    let promise = Promise {
        algorithm,
        requests: 100,
        per: Duration::from_secs(1),
    };
    let rule = json!({
        "name": "per-key", "key": [{ "header": KEY_HEADER }], "limit": promise.limit(),
    });
    let running = Running::start(PATIENT, json!([with(rule, more)]), |spec| {
        (spec.envoys, spec.workers, spec.envoy) = (2, 2, version);
    })
    .await;
    let load = Load {
        clock: RedisClock::of(&running).await,
        length: Duration::from_secs(4),
        connections: 6,
    };
    // What comes just before a window ends is what the next one knows least of.
    eventually("a window is about to end", async || {
        promise.part_of_window(load.clock.earliest_s()) > 0.85
    })
    .await;
    // Meanwhile a second key has all of its own.
    let calm = async {
        for _ in 0..5 {
            assert_eq!(statuses(&running, "/", "calm", 4).await, [200; 4]);
        }
    };
    let (seen, ()) = tokio::join!(load.press(&running, "/"), calm);

    let excess = promise.excess(&seen.admitted);
    assert!(excess <= 0.0, "{excess} requests above the promise");
    let times = promise.times_used_up(&seen.refused);
    assert!(times > 1, "no excess: used up {times} times");
    let judged = Judged {
        running,
        promise,
        seen,
    };
    judged.all_count_alike().await;
    judged
}

impl Judged {
    async fn all_count_alike(&self) {
        let [admitted, refused] =
            [&self.seen.admitted, &self.seen.refused].map(|spans| spans.len() as u64);
        let upstream = self.running.upstream();
        assert_eq!(upstream.hits_of("/", "hot"), admitted);
        eventually("the filters count what the clients saw", async || {
            let mut counts = (0, 0);
            for envoy in self.running.envoys() {
                let sample = EnvoySample::take(&self.running.http, envoy).await.unwrap();
                counts.0 += sample.requests["per-key"]["allowed"];
                counts.1 += sample.requests["per-key"]["denied"];
            }
            counts == (admitted + 20, refused)
        })
        .await;
    }

    /// Nobody was refused who had room.
    pub(crate) fn assert_used_up(&self) {
        let room = self.promise.room(&self.seen.admitted, &self.seen.refused);
        assert!(room < 1.0, "refused with room for {room}");
    }
}

async fn two_envoys_keep_the_promise(algorithm: &'static str, version: EnvoyVersion) {
    two_envoys_admit_no_more_than_promised(algorithm, version, json!({}))
        .await
        .assert_used_up();
}

#[tokio::test]
async fn i1_two_envoys_with_two_workers_each_never_admit_more_than_the_limit_in_any_interval() {
    two_envoys_keep_the_promise("token_bucket", EnvoyVersion::Newest).await;
}

#[tokio::test]
async fn i1_the_oldest_envoy_never_admits_more_than_the_limit_in_any_interval() {
    two_envoys_keep_the_promise("token_bucket", EnvoyVersion::Oldest).await;
}

#[tokio::test]
async fn i1_two_envoys_never_admit_more_than_a_sliding_window_promises() {
    two_envoys_keep_the_promise("sliding_window", EnvoyVersion::Newest).await;
}

#[tokio::test]
async fn i1_two_envoys_never_admit_more_than_a_sliding_log_promises() {
    two_envoys_keep_the_promise("sliding_log", EnvoyVersion::Newest).await;
}

#[tokio::test]
async fn i1_two_envoys_never_admit_more_than_a_fixed_window_promises() {
    two_envoys_keep_the_promise("fixed_window", EnvoyVersion::Newest).await;
}
