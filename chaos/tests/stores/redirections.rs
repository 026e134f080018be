//! Answers of a Redis Cluster that nobody follows: behind `tcp_proxy` they reach the filter.

use velocitygate_chaos::stack::{MASTERS, RedisCluster, RedisSpec, Store, Wiring};

use crate::bed::{PATH, assert_limit_holds, client_of, errors, log, openings, recovered, start};
use crate::common::{Running, Seen, eventually};

/// This client gets the policy until the breaker has opened for an error of the cluster; the
/// others are counted again afterwards.
async fn assert_is_an_error(running: &Running, key: &str) {
    let (opened, counted) = (openings(running).await, errors(running, "cluster").await);
    eventually("the breaker opens", async || {
        let seen = Seen::of(running.get(PATH, key)).await;
        assert!(seen.status == 503 && !seen.has_limits(), "{key}: {seen:?}");
        openings(running).await > opened
    })
    .await;
    assert!(errors(running, "cluster").await > counted, "{key}");
}

#[tokio::test]
async fn moved_ask_and_clusterdown_behind_tcp_proxy_are_errors_of_the_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let spec = RedisSpec::default();
    let cluster = RedisCluster::start(&spec, MASTERS, &dir.path().join("cluster"))
        .await
        .unwrap();
    // All that Envoy knows is one master.
    let (known, there) = (0, 1);
    let here = &cluster.masters()[known];
    let running = start(|spec| {
        spec.dir = dir.path().to_owned();
        (spec.wiring, spec.store) = (Wiring::TcpProxy, Store::At(here.address()));
    })
    .await;
    let (own, _) = client_of(&cluster, known, "own").await;
    assert_limit_holds(&running, &own).await;

    let (moved, _) = client_of(&cluster, there, "moved").await;
    assert_is_an_error(&running, &moved).await;
    let (pilot, _) = client_of(&cluster, known, "after-moved").await;
    recovered(&running, &pilot).await;

    let (asked, slot) = client_of(&cluster, known, "asked").await;
    cluster.begin_move(slot, known, there).await.unwrap();
    assert_is_an_error(&running, &asked).await;
    let (pilot, _) = client_of(&cluster, known, "after-asked").await;
    recovered(&running, &pilot).await;

    let (down, slot) = client_of(&cluster, known, "down").await;
    let mut forget = redis::cmd("CLUSTER");
    forget.arg("DELSLOTS").arg(slot);
    here.ask::<()>(forget).await.unwrap();
    assert_is_an_error(&running, &down).await;
    let (pilot, _) = client_of(&cluster, known, "after-down").await;
    recovered(&running, &pilot).await;
    let openings = log(dir.path()).matches("(last: cluster)").count();
    assert!(openings >= 3, "{openings}");
}
