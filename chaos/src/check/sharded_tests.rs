//! Mistakes with a Redis Cluster, each made in the shipped configuration.

use serde_json::{Value, json};

use super::wiring_tests::{
    BRIDGE, Mistake, assert_no_warning, assert_warning_of_each, leads_by_tcp, replace_in_rules,
};

const STORE: &str = "/static_resources/clusters/1";

const MISTAKES: [Mistake; 6] = [
    (
        |t| {
            leads_to_shards(t, "0.03s", "0.03s");
            leads_by_tcp(t, json!({ "cluster": "redis" }));
        },
        "static_resources.listeners: tcp_proxy finds no node of the Redis Cluster \"redis\", so every ",
        "put redis_proxy in its place (envoy/cluster.yaml)",
    ),
    (
        |t| {
            leads_to_shards(t, "0.03s", "0.03s");
            let cluster = t.pointer_mut(STORE).unwrap().as_object_mut().unwrap();
            cluster.remove("lb_policy");
        },
        "static_resources.clusters: lb_policy of the Redis Cluster \"redis\" leads commands to any ",
        "set it to CLUSTER_PROVIDED",
    ),
    (
        |t| {
            leads_to_shards(t, "0.03s", "0.03s");
            t.pointer_mut(STORE).unwrap()["lb_policy"] = json!("MAGLEV");
        },
        "static_resources.clusters: lb_policy of the Redis Cluster \"redis\" leads commands to any ",
        "set it to CLUSTER_PROVIDED",
    ),
    (
        |t| {
            leads_to_shards(t, "0.03s", "0.03s");
            settings(t)["enable_redirection"] = json!(false);
        },
        "static_resources.listeners: redis_proxy does not follow MOVED and ASK of the Redis Cluster ",
        "so calls fail while slots move: set enable_redirection to true",
    ),
    (
        |t| leads_to_shards(t, "0.04s", "0.03s"),
        "static_resources: with op_timeout \"0.04s\" a silent master of the Redis Cluster \"redis\" ",
        "make it shorter than breaker.slow_call (40ms)",
    ),
    (
        |t| {
            leads_to_shards(t, "0.049s", "0.05s");
            replace_in_rules(t, "\"rules\":", "\"breaker\": \"off\", \"rules\":");
        },
        "static_resources: with connect_timeout \"0.05s\" a silent master of the Redis Cluster ",
        "make it shorter than redis.timeout (50ms)",
    ),
];

#[test]
fn each_mistake_with_a_redis_cluster_is_a_warning_with_the_fix() {
    assert_warning_of_each(&MISTAKES);
}

#[test]
fn a_redis_cluster_with_its_policy_and_timeouts_just_short_enough_is_no_mistake() {
    assert_no_warning(&[
        |t| leads_to_shards(t, "0.039s", "0.039s"),
        |t| {
            leads_to_shards(t, "0.03s", "0.03s");
            let cluster = t.pointer_mut(STORE).unwrap().as_object_mut().unwrap();
            cluster.remove("lb_policy");
            cluster.insert(
                "load_balancing_policy".to_owned(),
                json!({ "policies": [] }),
            );
        },
    ]);
}

/// A Redis Cluster with these timeouts.
pub(super) fn leads_to_shards(tree: &mut Value, op_timeout: &str, connect_timeout: &str) {
    *settings(tree) = json!({ "op_timeout": op_timeout, "enable_redirection": true });
    let cluster = tree.pointer_mut(STORE).unwrap();
    cluster["cluster_type"] = json!({ "name": "envoy.clusters.redis" });
    cluster["lb_policy"] = json!("CLUSTER_PROVIDED");
    cluster["connect_timeout"] = json!(connect_timeout);
}

/// Those of `redis_proxy`.
fn settings(tree: &mut Value) -> &mut Value {
    let proxy = &mut tree.pointer_mut(BRIDGE).unwrap()["filter_chains"][0]["filters"][1];
    &mut proxy["typed_config"]["settings"]
}
