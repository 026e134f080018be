//! Envoy starts while the discovered file is bad: the default of `reload.yaml` is in force until a
//! good file comes.

use std::path::{Path, PathBuf};

use serde_json::json;
use velocitygate_chaos::observe::BreakerState;
use velocitygate_chaos::stack::envoy_config::discovery::FILE;
use velocitygate_chaos::stack::{EnvoyVersion, Spec};

use crate::common::{PATIENT, Seen, eventually, rule, tweak};
use crate::discovery::Reloading;
use crate::refused::REJECTED;
use crate::versions::on_both_envoys;

/// What makes a good file bad.
type Spoil = fn(&str) -> String;

/// A file that Envoy reads, and the filter refuses.
fn refused(good: &str) -> String {
    let bad = good.replace("366d", "1 fortnight");
    assert_ne!(bad, good);
    bad
}

/// A file that Envoy cannot read.
fn unreadable(_: &str) -> String {
    "}{".to_owned()
}

/// Starts a stack that finds its file spoilt.
async fn start(spoil: Spoil, change: impl FnOnce(&mut Spec)) -> Reloading {
    Reloading::start(PATIENT, json!([rule("one", 5)]), |spec| {
        let dir = spec.dir.clone();
        change(spec);
        tweak(spec, move |_| {
            std::fs::rename(dir.join(FILE), good_in(&dir)).unwrap();
            std::fs::write(dir.join(FILE), bad_for(&dir, spoil)).unwrap();
        });
    })
    .await
}

fn good_in(dir: &Path) -> PathBuf {
    dir.join("good")
}

fn bad_for(dir: &Path, spoil: Spoil) -> String {
    spoil(&std::fs::read_to_string(good_in(dir)).unwrap())
}

impl Reloading {
    fn publish_the_good_file(&self) {
        let good = good_in(self.dir());
        self.publish_text(&std::fs::read_to_string(good).unwrap());
    }

    /// The rule that the answer to a client names.
    async fn rule_in_force(&self, key: &str) -> String {
        let seen = Seen::of(self.running.get("/one/", key)).await;
        assert_eq!(seen.status, 200, "{seen:?}");
        let policy = seen.header("ratelimit-policy").split(';').next();
        policy.unwrap_or_default().replace('"', "")
    }

    async fn serves_by_default_until_a_good_file_comes(&self, spoil: Spoil) {
        assert_eq!(self.rule_in_force("a").await, "fallback");
        assert_eq!(self.updates("config_fail").await, 1);
        assert_eq!(self.updates("update_success").await, 0);
        self.publish_the_good_file();
        eventually("the good file takes over", async || {
            self.rule_in_force("a").await == "one"
        })
        .await;
        assert_eq!(self.updates("update_success").await, 1);
        self.publish_text(&bad_for(self.dir(), spoil));
        eventually("the bad file is counted", async || {
            self.updates("config_fail").await > 1
        })
        .await;
        // Both workers have one filter or the other: the one that was in force counts all of them.
        for _ in 0..4 {
            assert_eq!(self.rule_in_force("b").await, "one");
        }
        self.assert_no_trap();
    }
}

async fn a_file_that_is_refused_at_the_start_leaves_the_default_until_a_good_one_comes(
    version: EnvoyVersion,
) {
    let reloading = start(refused, |spec| spec.envoy = version).await;
    assert_eq!(reloading.stats(REJECTED).await, 1);
    let line = "configuration refused: rules[0].limit.per: expected ";
    assert!(reloading.log().contains(line), "{}", reloading.log());
    reloading
        .serves_by_default_until_a_good_file_comes(refused)
        .await;
    // Envoy remembers what it was told of this very one.
    assert_eq!(reloading.stats(REJECTED).await, 1);
}

async fn a_file_that_cannot_be_read_at_the_start_leaves_the_default_until_a_good_one_comes(
    version: EnvoyVersion,
) {
    let reloading = start(unreadable, |spec| spec.envoy = version).await;
    reloading
        .serves_by_default_until_a_good_file_comes(unreadable)
        .await;
    assert_eq!(reloading.stats(REJECTED).await, 0);
}

async fn an_open_breaker_stays_open_when_the_file_takes_over(version: EnvoyVersion) {
    let mut rule = rule("one", 5);
    rule["on_failure"] = json!("deny");
    let reloading = start(refused, |spec| {
        spec.plugin["rules"] = json!([rule]);
        spec.plugin["breaker"] = json!({ "minimum_calls": 2, "open": "1h" });
        (spec.workers, spec.envoy) = (1, version);
    })
    .await;
    let running = &reloading.running;
    let status = async || Seen::of(running.get("/one/", "a")).await.status;
    running.redis().kill().await.unwrap();
    eventually("the breaker opens", async || {
        assert_eq!(status().await, 200);
        running.sample().await.breaker == Some(BreakerState::Open)
    })
    .await;
    let calls = async || running.sample().await.redis_calls.values().sum::<u64>();
    let before = calls().await;
    reloading.publish_the_good_file();
    eventually("the good file takes over", async || status().await == 503).await;
    assert_eq!(calls().await, before, "nobody asked Redis");
    assert_eq!(running.sample().await.transitions["closed"], 0);
}

on_both_envoys![
    a_file_that_is_refused_at_the_start_leaves_the_default_until_a_good_one_comes,
    a_file_that_cannot_be_read_at_the_start_leaves_the_default_until_a_good_one_comes,
    an_open_breaker_stays_open_when_the_file_takes_over
];
