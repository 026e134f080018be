//! A configuration that is refused changes nothing, and is seen.

use serde_json::json;
use velocitygate_chaos::stack::EnvoyVersion;

use crate::common::{PATIENT, Seen, eventually, rule};
use crate::discovery::Reloading;
use crate::versions::on_both_envoys;

pub(crate) const REJECTED: &str = "^wasmcustom\\.velocitygate_config_rejected_total$";

async fn a_refused_configuration_keeps_the_old_one_and_is_in_every_counter_and_the_log(
    version: EnvoyVersion,
) {
    let reloading = Reloading::start(PATIENT, json!([rule("one", 2)]), |spec| {
        spec.envoy = version
    })
    .await;
    let running = &reloading.running;
    assert_eq!(Seen::of(running.get("/one/", "a")).await.status, 200);
    let failures = reloading.updates("config_fail").await;
    let mut bad = rule("Bad", 0);
    bad["limit"]["per"] = json!("1 fortnight");
    reloading.publish(&json!({ "rules": [bad] }));
    eventually("the refusal is counted by Envoy", async || {
        reloading.updates("config_fail").await > failures
    })
    .await;
    eventually("the refusal is counted by the filter", async || {
        reloading.stats(REJECTED).await > 0
    })
    .await;
    let log = reloading.log();
    let line = log
        .lines()
        .find(|line| line.contains("configuration refused: "));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    for place in [
        "rules[0].name",
        "rules[0].limit.requests",
        "rules[0].limit.per",
    ] {
        assert!(line.contains(&format!("{place}: expected")), "{line}");
    }
    // The old one goes on, counters and all.
    for status in [200, 429] {
        assert_eq!(Seen::of(running.get("/one/", "a")).await.status, status);
    }
    let rejected = reloading.stats(REJECTED).await;
    reloading
        .reload(&json!({ "rules": [rule("one", 5)] }))
        .await;
    let seen = Seen::of(running.get("/one/", "b")).await;
    assert!(seen.header("ratelimit").contains(";r=4;"), "{seen:?}");
    assert_eq!(
        reloading.stats(REJECTED).await,
        rejected,
        "the counter stays"
    );
    reloading.assert_no_trap();
}

on_both_envoys![a_refused_configuration_keeps_the_old_one_and_is_in_every_counter_and_the_log];
