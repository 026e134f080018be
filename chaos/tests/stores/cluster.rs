//! A Redis Cluster by `envoy/cluster.yaml`: slots that move and masters that go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use velocitygate_chaos::observe::RedisSample;
use velocitygate_chaos::stack::{EnvoyVersion, KEY_HEADER, MASTERS, Redis};

use crate::bed::{PATH, assert_limit_holds, client_of, counted_again, openings};
use crate::common::{Seen, client, eventually, rule, with};
use crate::sharded::Sharded;
use crate::stat::stat;

/// Requests of one connection for all clients in turn, until `over`. Every one is counted: the
/// answer is yes or no.
async fn press(http: Client, url: String, clients: Arc<Vec<(String, usize)>>, load: Arc<Load>) {
    while !load.over.load(Ordering::Relaxed) {
        for (key, _) in clients.iter() {
            let seen = Seen::of(http.get(&url).header(KEY_HEADER, key)).await;
            let is_counted = [200, 429].contains(&seen.status) && seen.has_limits();
            assert!(is_counted, "{key}: {seen:?}");
            load.asked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[derive(Default)]
struct Load {
    asked: AtomicU64,
    over: AtomicBool,
}

impl Load {
    /// Waits until `more` requests were answered, for each hundred of them as long as it takes
    /// anything to come.
    async fn goes_on(&self, more: u64) {
        let begin = self.asked.load(Ordering::Relaxed);
        for answered in (1..=more).filter(|it| it % 100 == 0 || *it == more) {
            eventually("the load goes on", async || {
                self.asked.load(Ordering::Relaxed) >= begin + answered
            })
            .await;
        }
    }
}

/// Two Envoys with two workers share the limits of twelve clients on three shards while the slot
/// of each is moved: with its counter still there, with the counter gone (ASK) and after (MOVED).
async fn limits_hold_while_slots_move(envoy: EnvoyVersion) {
    const CLIENTS: usize = 12;
    const LIMIT: u64 = 100;
    let sharded = Sharded::start(MASTERS, |spec| {
        (spec.envoys, spec.workers, spec.envoy) = (2, 2, envoy);
        let rule = with(rule("deny", LIMIT), json!({ "on_failure": "deny" }));
        spec.plugin["rules"] = json!([rule]);
    })
    .await;
    let (running, cluster) = (&sharded.running, &sharded.cluster);
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let name = format!("client{number}");
        clients.push(client_of(cluster, number % MASTERS, &name).await);
    }
    let (clients, load) = (Arc::new(clients), Arc::new(Load::default()));
    let mut pressing = JoinSet::new();
    for envoy in running.envoys() {
        for _ in 0..3 {
            let url = envoy.front_url() + PATH;
            pressing.spawn(press(client(), url, clients.clone(), load.clone()));
        }
    }
    load.goes_on(50).await;
    for &(_, slot) in clients.iter() {
        let from = cluster.first_owner(slot);
        let to = (from + 1) % MASTERS;
        cluster.begin_move(slot, from, to).await.unwrap();
        load.goes_on(20).await;
        cluster.move_keys(slot, from, to).await.unwrap();
        load.goes_on(20).await;
        cluster.end_move(slot, to).await.unwrap();
        load.goes_on(20).await;
    }
    load.goes_on(CLIENTS as u64 * LIMIT).await;
    load.over.store(true, Ordering::Relaxed);
    pressing.join_all().await;
    for (key, _) in clients.iter() {
        assert_eq!(running.upstream().hits_of(PATH, key), LIMIT, "{key}");
    }
    let mut shards = 0;
    for master in cluster.masters() {
        let sample = RedisSample::take(master).await.unwrap();
        shards += usize::from(sample.keys == CLIENTS as u64 / MASTERS as u64);
    }
    assert_eq!(shards, MASTERS, "each has the counters of another by now");
    assert_eq!(openings(running).await, 0);
    let followed = "cluster.redis.upstream_internal_redirect_succeeded_total";
    assert!(stat(running, followed).await > 0, "no redirection");
}

#[tokio::test]
async fn i1_limits_hold_across_shards_and_envoys_while_slots_move() {
    limits_hold_while_slots_move(EnvoyVersion::Newest).await;
}

#[tokio::test]
async fn i1_limits_hold_across_shards_on_the_oldest_envoy_while_slots_move() {
    limits_hold_while_slots_move(EnvoyVersion::Oldest).await;
}

#[tokio::test]
async fn a_lost_master_means_the_policy_for_its_clients_and_nothing_for_others() {
    let sharded = Sharded::start(MASTERS, |_| ()).await;
    let (running, cluster) = (&sharded.running, &sharded.cluster);
    for master in 0..MASTERS {
        let key = sharded.client_of(master, "before").await;
        assert_limit_holds(running, &key).await;
    }
    let lost = &cluster.masters()[2];
    lost.kill().await.unwrap();
    // As many requests for each shard: a third of the calls fails, fewer than open the breaker.
    for turn in 0..10 {
        let key = sharded.client_of(2, "lost").await;
        let seen = Seen::of(running.get(PATH, &key)).await;
        assert!(seen.status == 503 && !seen.has_limits(), "{seen:?}");
        for master in [0, 1] {
            let key = sharded.client_of(master, &format!("other{turn}")).await;
            let seen = Seen::of(running.get(PATH, &key)).await;
            assert!(seen.status == 200 && seen.has_limits(), "{key}: {seen:?}");
        }
    }
    assert_eq!(openings(running).await, 0);
    // When most requests are for the lost one, the one breaker of the process opens.
    let key = sharded.client_of(2, "lost").await;
    eventually("the breaker opens", async || {
        let seen = Seen::of(running.get(PATH, &key)).await;
        assert!(seen.status == 503 && !seen.has_limits(), "{seen:?}");
        openings(running).await > 0
    })
    .await;
    // Its probes find the others, though the lost one stays away.
    for master in [0, 1] {
        counted_again(running, &sharded.client_of(master, "pilot").await).await;
        assert_limit_holds(running, &sharded.client_of(master, "meanwhile").await).await;
    }
    let seen = Seen::of(running.get(PATH, &key)).await;
    assert!(seen.status == 503 && !seen.has_limits(), "{seen:?}");

    lost.ensure_running().await.unwrap();
    cluster.agreed().await.unwrap();
    counted_again(running, &sharded.client_of(2, "pilot").await).await;
    for master in 0..MASTERS {
        let key = sharded.client_of(master, "after").await;
        counted_again(running, &sharded.client_of(master, "pilot").await).await;
        assert_limit_holds(running, &key).await;
    }
}

/// Rules of one request live on different shards and are charged one by one. What the first Envoy
/// knows of a client the second does not, so it asks: the client's own rule refuses, and what the
/// rule for all has charged meanwhile is given back.
#[tokio::test]
async fn i4_a_request_that_one_shard_refuses_costs_nothing_on_another() {
    let sharded = Sharded::start(MASTERS, |spec| {
        spec.envoys = 2;
        let limit = |requests: u64| json!({ "requests": requests, "per": "366d" });
        spec.plugin["rules"] = json!([
            { "name": "all", "limit": limit(10), "on_failure": "deny" },
            { "name": "own", "key": [{ "header": KEY_HEADER }], "limit": limit(2), "on_failure": "deny" },
        ]);
    })
    .await;
    let running = &sharded.running;
    let ask = async |envoy: usize, key: &str| {
        let url = running.envoys()[envoy].front_url() + "/";
        Seen::of(running.http.get(url).header(KEY_HEADER, key))
            .await
            .status
    };
    for _ in 0..2 {
        assert_eq!(ask(0, "greedy").await, 200);
    }
    for _ in 0..4 {
        assert_eq!(ask(1, "greedy").await, 429);
    }
    for other in 0..8 {
        assert_eq!(ask(1, &format!("other{other}")).await, 200, "{other}");
    }
    assert_eq!(ask(1, "late").await, 429);
    assert_eq!(openings(running).await, 0);
}

/// All masters forget the script again and again while requests with three rules are under way,
/// whose keys live on any of them.
async fn no_request_loses_its_count_when_all_lost_the_script(masters: usize) {
    const FLUSHES: u64 = 5;
    const CLIENTS: u64 = 24;
    const CONNECTIONS: u64 = 64;
    // One of the connections has asked for every client.
    const ROUND: u64 = CONNECTIONS * (CLIENTS + 1);
    let sharded = Sharded::start(masters, |spec| {
        spec.workers = 2;
        let rule = |name: &str, key: Value| {
            let limit = json!({ "requests": 1_000_000, "per": "1h" });
            json!({ "name": name, "key": key, "limit": limit, "on_failure": "deny" })
        };
        let header = json!({ "header": KEY_HEADER });
        spec.plugin["rules"] = json!([
            rule("all", json!([{ "value": "shared" }])),
            rule("own", json!([header])),
            rule("path", json!([header, { "path": true }])),
        ]);
    })
    .await;
    let (running, cluster) = (&sharded.running, &sharded.cluster);
    let clients = (0..CLIENTS).map(|number| (format!("client{number}"), 0));
    let (clients, load) = (Arc::new(clients.collect()), Arc::new(Load::default()));
    let mut pressing = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let url = running.envoys()[0].front_url() + PATH;
        pressing.spawn(press(client(), url, Arc::clone(&clients), load.clone()));
    }
    load.goes_on(ROUND).await;
    for _ in 0..FLUSHES {
        for master in cluster.masters() {
            master.script_flush().await.unwrap();
        }
        load.goes_on(ROUND).await;
    }
    load.over.store(true, Ordering::Relaxed);
    pressing.join_all().await;
    for master in cluster.masters() {
        let loads = RedisSample::take(master).await.unwrap().eval_calls;
        assert!(loads > FLUSHES, "{loads} texts");
    }
    let asked = load.asked.load(Ordering::Relaxed);
    eventually("all were allowed by Redis", async || {
        let requests = running.sample().await.requests;
        let allowed = |rule: &str| requests[rule]["allowed"] == asked;
        ["all", "own", "path"].into_iter().all(allowed)
    })
    .await;
    assert_eq!(openings(running).await, 0);
}

#[tokio::test]
async fn i5_masters_that_all_lost_the_script_cost_no_request_its_count() {
    no_request_loses_its_count_when_all_lost_the_script(MASTERS).await;
}

#[tokio::test]
async fn i5_nine_masters_that_all_lost_the_script_cost_no_request_its_count() {
    no_request_loses_its_count_when_all_lost_the_script(9).await;
}

#[tokio::test]
async fn a_replica_takes_the_place_of_a_lost_master_and_knows_its_counts() {
    let sharded = Sharded::start(MASTERS, |_| ()).await;
    let (running, cluster) = (&sharded.running, &sharded.cluster);
    let dir = tempfile::tempdir().unwrap();
    let replica = cluster.add_replica(dir.path(), 2).await.unwrap();
    let key = sharded.client_of(2, "alice").await;
    for left in [3, 2, 1] {
        let seen = Seen::of(running.get(PATH, &key)).await;
        let limits = seen.header("ratelimit");
        assert!(limits.contains(&format!(";r={left};")), "{seen:?}");
    }
    let charged = offset(&cluster.masters()[2], "master_repl_offset").await;
    eventually("the replica has the count", async || {
        offset(&replica, "slave_repl_offset").await >= charged
    })
    .await;
    cluster.miss_the_lost().await.unwrap();
    cluster.masters()[2].kill().await.unwrap();
    // Should the machine stop one of the others now, it is missed as well for a while.
    let mut last = Seen::of(running.get(PATH, &key)).await;
    eventually("the replica counts", async || {
        let counts = last.has_limits();
        if !counts {
            last = Seen::of(running.get(PATH, &key)).await;
        }
        counts
    })
    .await;
    assert!(last.header("ratelimit").contains(";r=0;"), "{last:?}");
    assert_eq!(Seen::of(running.get(PATH, &key)).await.status, 429);
}

/// How far a Redis is in the stream of its writes, by this line of its own account.
async fn offset(redis: &Redis, line: &str) -> u64 {
    let info = redis.info().await.unwrap();
    let told = info.lines().find_map(|it| it.strip_prefix(line));
    let bytes = told.and_then(|it| it.strip_prefix(':'));
    bytes.expect("an offset").parse().unwrap()
}
