//! Envoy gives up a master of a Redis Cluster that does not answer while there is time for the others.

use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use velocitygate_chaos::stack::envoy_config::{redis_proxy, store_cluster};
use velocitygate_chaos::stack::{MASTERS, Redis};

use crate::bed::{PATH, counted_again, openings};
use crate::common::{Seen, rule, tweak, with};
use crate::sharded::Sharded;

/// The master that does not answer.
const SILENT: usize = 2;
/// Long enough for the others on a busy machine.
const PATIENCE: &str = "2s";
/// `redis.timeout`, which is well above it.
const TIMEOUT: &str = "8s";

/// Each request asks two masters in one call: that of its client, and that of all. Envoy gives up a
/// silent one before the filter gives up the call.
async fn start() -> Sharded {
    let sharded = Sharded::start(MASTERS, |spec| {
        spec.workers = 1;
        spec.plugin["redis"]["timeout"] = json!(TIMEOUT);
        spec.plugin["breaker"] = json!({ "minimum_calls": 2, "slow_call": TIMEOUT });
        spec.plugin["rules"] = json!([
            with(rule("deny", 1_000), json!({ "on_failure": "allow" })),
            { "name": "all", "limit": { "requests": 1_000, "per": "366d" } },
        ]);
        tweak(spec, |tree| {
            redis_proxy(tree).unwrap()["settings"]["op_timeout"] = json!(PATIENCE);
            store_cluster(tree).unwrap()["connect_timeout"] = json!(PATIENCE);
        });
    })
    .await;
    let slot = sharded.cluster.slot_of("vg:{all:}:tb").await.unwrap();
    assert_ne!(sharded.cluster.first_owner(slot), SILENT);
    // The filter learns that there is a cluster.
    let key = sharded.client_of(SILENT, "before").await;
    counted_again(&sharded.running, &key).await;
    sharded
}

/// Redis answers in the order of the commands, and so does `redis_proxy`: the counts of the others
/// were there, but the call did not end in time, and the breaker opened for all.
async fn assert_costs_no_count_of_the_others(sharded: &Sharded) {
    const REQUESTS: u64 = 3;
    let running = &sharded.running;
    let before = running.sample().await.requests;
    let key = sharded.client_of(SILENT, "meanwhile").await;
    for _ in 0..REQUESTS {
        let seen = Seen::of(running.get(PATH, &key)).await;
        assert_eq!(seen.status, 200, "{seen:?}");
    }
    let after = running.sample().await.requests;
    let more = |rule: &str, decision: &str| {
        let [before, after] = [&before, &after].map(|it| it[rule].get(decision).unwrap_or(&0));
        after - before
    };
    assert_eq!(more("deny", "degraded_allow"), REQUESTS);
    assert_eq!(more("all", "allowed"), REQUESTS);
    assert_eq!(openings(running).await, 0);
}

/// And all is well when it is back.
async fn assert_comes_back(sharded: &Sharded) {
    sharded.cluster.agreed().await.unwrap();
    counted_again(&sharded.running, &sharded.client_of(SILENT, "after").await).await;
}

#[tokio::test]
async fn i5_a_master_that_is_silent_costs_no_count_of_the_others() {
    let sharded = start().await;
    let silent = &sharded.cluster.masters()[SILENT];
    silent.freeze().await.unwrap();
    assert_costs_no_count_of_the_others(&sharded).await;
    silent.thaw().await.unwrap();
    assert_comes_back(&sharded).await;
}

/// Takes the place of a master whose host is gone: connections are neither accepted nor refused.
struct Gone {
    _listener: TcpListener,
    _only: TcpStream,
}

impl Gone {
    async fn instead_of(master: &Redis) -> Self {
        master.kill().await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(master.address()).unwrap();
        // Room for one that waits to be accepted; whoever comes after it is not answered.
        let listener = socket.listen(0).unwrap();
        let only = TcpStream::connect(master.address()).await.unwrap();
        Self {
            _listener: listener,
            _only: only,
        }
    }
}

#[tokio::test]
async fn i5_a_master_whose_host_is_gone_costs_no_count_of_the_others() {
    let sharded = start().await;
    let master = &sharded.cluster.masters()[SILENT];
    let gone = Gone::instead_of(master).await;
    assert_costs_no_count_of_the_others(&sharded).await;
    drop(gone);
    master.ensure_running().await.unwrap();
    assert_comes_back(&sharded).await;
}
