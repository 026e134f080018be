//! Limits that are counted in several places or in none, each so in the shipped configuration.

use serde_json::{Value, json};

use super::sharded_tests::leads_to_shards;
use super::wiring_tests::{
    BRIDGE, Mistake, assert_no_warning, assert_warning_of_each, leads_by_tcp, replace_in_rules,
};

const STORE: &str = "/static_resources/clusters/1";

const MISTAKES: [Mistake; 7] = [
    (
        |t| {
            has_hosts(
                t,
                "STATIC",
                &[json!({ "lb_endpoints": [host("192.0.2.1"), host("192.0.2.2")] })],
            )
        },
        "static_resources.clusters: \"redis\" has 2 endpoints, each of which counts on its own, ",
        "name one, or make them a Redis Cluster (envoy/cluster.yaml)",
    ),
    (
        |t| {
            let group = |address| json!({ "lbEndpoints": [host(address)] });
            has_hosts(
                t,
                "STATIC",
                &["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(group),
            );
        },
        "static_resources.clusters: \"redis\" has 3 endpoints, ",
        "name one, or make them a Redis Cluster (envoy/cluster.yaml)",
    ),
    // tcp_proxy sees no key to lead by.
    (
        |t| {
            leads_by_tcp(t, json!({ "cluster": "redis" }));
            has_hosts(
                t,
                "STATIC",
                &[json!({ "lb_endpoints": [host("192.0.2.1"), host("192.0.2.2")] })],
            );
            t.pointer_mut(STORE).unwrap()["lb_policy"] = json!("MAGLEV");
        },
        "static_resources.clusters: \"redis\" has 2 endpoints, ",
        "name one, or make them a Redis Cluster (envoy/cluster.yaml)",
    ),
    (
        |t| {
            let routes = json!([{ "prefix": "vg:", "cluster": "redis", "remove_prefix": true }]);
            routes_keys(t, json!({ "routes": routes }));
            has_two_rules(t);
        },
        "static_resources.listeners: remove_prefix in redis_proxy's prefix_routes renames the first ",
        "take it out",
    ),
    (
        |t| {
            let all = json!({ "cluster": "redis", "keyFormatter": "a:%KEY%" });
            routes_keys(t, json!({ "catchAllRoute": all }));
            has_two_rules(t);
        },
        "static_resources.listeners: key_formatter in redis_proxy's prefix_routes renames the first ",
        "take it out",
    ),
    (
        |t| {
            routes_keys(
                t,
                json!({ "routes": [{ "prefix": "other:", "cluster": "redis" }] }),
            )
        },
        "static_resources.listeners: redis_proxy's prefix_routes have none for keys that begin with \
         \"vg:{\" (redis.key_prefix), so every call would fail",
        "add a catch_all_route",
    ),
    (
        |t| {
            routes_keys(
                t,
                json!({ "routes": [{ "prefix": "VG:", "cluster": "redis" }] }),
            )
        },
        "static_resources.listeners: redis_proxy's prefix_routes have none for keys that begin with ",
        "add a catch_all_route",
    ),
];

const VARIATIONS: [fn(&mut Value); 7] = [
    // Envoy leads each key to one of them.
    |t| {
        has_hosts(
            t,
            "STATIC",
            &[json!({ "lb_endpoints": [host("192.0.2.1"), host("192.0.2.2")] })],
        );
        t.pointer_mut(STORE).unwrap()["lb_policy"] = json!("MAGLEV");
    },
    |t| {
        let group = |priority, host| json!({ "priority": priority, "lb_endpoints": [host] });
        has_hosts(
            t,
            "STATIC",
            &[group(0, host("192.0.2.1")), group(1, host("192.0.2.2"))],
        );
    },
    // Each key of a Redis Cluster has one host.
    |t| {
        has_hosts(
            t,
            "STRICT_DNS",
            &[json!({ "lb_endpoints": [host("a.test"), host("b.test")] })],
        );
        leads_to_shards(t, "0.03s", "0.03s");
    },
    // The one key of each command has another name; it is the same each time.
    |t| {
        let routes = json!([{ "prefix": "vg:", "cluster": "redis", "remove_prefix": true }]);
        routes_keys(t, json!({ "routes": routes }));
    },
    |t| {
        let others = json!([{ "prefix": "o:", "cluster": "redis", "remove_prefix": true }]);
        routes_keys(
            t,
            json!({ "routes": others, "catch_all_route": { "cluster": "redis" } }),
        );
        has_two_rules(t);
    },
    |t| {
        let routes = json!([{ "prefix": "VG:{per-", "cluster": "redis", "remove_prefix": false }]);
        routes_keys(t, json!({ "case_insensitive": true, "routes": routes }));
        has_two_rules(t);
    },
    |t| routes_keys(t, json!({ "routes": [{ "cluster": "redis" }] })),
];

#[test]
fn a_limit_that_is_counted_in_several_places_or_none_is_a_warning_with_the_fix() {
    assert_warning_of_each(&MISTAKES);
}

#[test]
fn what_has_one_count_for_each_limit_is_no_mistake() {
    assert_no_warning(&VARIATIONS);
}

fn has_hosts(tree: &mut Value, kind: &str, groups: &[Value]) {
    let store = tree.pointer_mut(STORE).unwrap();
    store["type"] = json!(kind);
    store["load_assignment"]["endpoints"] = json!(groups);
}

fn routes_keys(tree: &mut Value, routes: Value) {
    let proxy = &mut tree.pointer_mut(BRIDGE).unwrap()["filter_chains"][0]["filters"][1];
    proxy["typed_config"]["prefix_routes"] = routes;
}

fn has_two_rules(tree: &mut Value) {
    let second = r#""rules": [ { "name": "all", "limit": { "requests": 9, "per": "1s" } },"#;
    replace_in_rules(tree, "\"rules\": [", second);
}

fn host(address: &str) -> Value {
    let address = json!({ "address": address, "port_value": 6379 });
    json!({ "endpoint": { "address": { "socket_address": address } } })
}
