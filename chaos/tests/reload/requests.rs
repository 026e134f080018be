//! I8: no request is lost or answered twice while the configuration changes.

use serde_json::json;
use tokio::task::JoinSet;
use velocitygate_chaos::stack::{EnvoyVersion, KEY_HEADER};

use crate::common::{PATIENT, Seen, client, eventually, rule};
use crate::discovery::Reloading;
use crate::versions::on_both_envoys;

/// Requests that wait while the configuration changes.
const WAITING: u64 = 12;

/// Updates in a row.
const RELOADS: u64 = 10;

async fn i8_requests_that_wait_while_the_configuration_changes_are_all_answered(
    version: EnvoyVersion,
) {
    let reloading = Reloading::start(PATIENT, json!([rule("one", 3)]), |spec| {
        spec.envoy = version
    })
    .await;
    let running = &reloading.running;
    running.redis().freeze().await.unwrap();
    let mut waiting = JoinSet::new();
    for index in 0..WAITING {
        waiting.spawn(Seen::of(running.get("/one/", &format!("waiting {index}"))));
    }
    eventually("the requests wait", async || {
        running.sample().await.waiting == WAITING
    })
    .await;
    reloading
        .reload(&json!({ "rules": [rule("one", 4)] }))
        .await;
    running.redis().thaw().await.unwrap();
    for seen in waiting.join_all().await {
        // By the configuration under which it began to wait, and by Redis's count.
        let limits = seen.header("ratelimit");
        assert!(seen.status == 200 && limits.contains(";r=2;"), "{seen:?}");
    }
    for index in 0..WAITING {
        let key = format!("waiting {index}");
        assert_eq!(running.upstream().hits_of("/one/", &key), 1);
    }
    let seen = Seen::of(running.get("/one/", "new")).await;
    assert!(seen.header("ratelimit").contains(";r=3;"), "{seen:?}");
    eventually("the filter's counters survive", async || {
        let sample = running.sample().await;
        sample.requests["one"]["allowed"] == WAITING + 1 && sample.waiting == 0
    })
    .await;
    reloading.assert_no_trap();
}

/// Old instances go away, also when requests still wait in them: nothing adds up.
async fn i8_no_request_is_lost_over_many_reloads_under_load(version: EnvoyVersion) {
    let reloading = Reloading::start(PATIENT, json!([rule("one", 3)]), |spec| {
        spec.envoy = version
    })
    .await;
    let running = &reloading.running;
    let url = running.envoys()[0].front_url() + "/one/";
    let active = "^wasm\\..*\\.active$";
    let before = reloading.stats(active).await;
    let mut sent = 0;
    for round in 0..RELOADS {
        let reloads = reloading.updates("config_reload").await;
        reloading.publish(&json!({ "rules": [rule("one", 4 + round)] }));
        eventually("the update is in force", async || {
            let mut crowd = JoinSet::new();
            for index in 0..WAITING {
                let key = format!("{round} {sent} {index}");
                crowd.spawn(Seen::of(client().get(&url).header(KEY_HEADER, key)));
            }
            for seen in crowd.join_all().await {
                assert!(seen.status == 200 && seen.has_limits(), "{seen:?}");
                sent += 1;
            }
            reloading.updates("config_reload").await > reloads
        })
        .await;
    }
    assert_eq!(running.upstream().hits(), sent);
    eventually("the old VMs are gone", async || {
        reloading.stats(active).await == before && running.sample().await.waiting == 0
    })
    .await;
    let sample = running.sample().await;
    assert_eq!(sample.requests["one"]["allowed"], sent);
    reloading.assert_no_trap();
}

on_both_envoys![
    i8_requests_that_wait_while_the_configuration_changes_are_all_answered,
    i8_no_request_is_lost_over_many_reloads_under_load
];
