//! Limits that are counted in more than one place, each so in the shipped configuration.

use serde_json::{Value, json};

use super::wiring_tests::{Mistake, assert_no_warning, assert_warning_of_each, leads_to_shards};

const STORE: &str = "/static_resources/clusters/1";

const MISTAKES: [Mistake; 4] = [
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
    (
        |t| t.pointer_mut(STORE).unwrap()["type"] = json!("STRICT_DNS"),
        "static_resources.clusters: \"redis\" is STRICT_DNS, so each address that \"toxiproxy\" has ",
        "make it LOGICAL_DNS, which takes one at a time",
    ),
    (
        |t| {
            let stand_by = json!({ "priority": 1, "lb_endpoints": [host("redis-2.test")] });
            let first = json!({ "priority": 0, "lb_endpoints": [host("redis-1.test")] });
            has_hosts(t, "STRICT_DNS", &[stand_by, first]);
        },
        "static_resources.clusters: \"redis\" is STRICT_DNS, so each address that \"redis-1.test\" ",
        "make it LOGICAL_DNS, which takes one at a time",
    ),
];

const VARIATIONS: [fn(&mut Value); 4] = [
    // An address that is no name is one.
    |t| {
        has_hosts(
            t,
            "STRICT_DNS",
            &[json!({ "lb_endpoints": [host("2001:db8::1")] })],
        )
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
    // Not where counters are.
    |t| t["static_resources"]["clusters"][2]["type"] = json!("STRICT_DNS"),
];

#[test]
fn a_limit_that_several_hosts_count_is_a_warning_with_the_fix() {
    assert_warning_of_each(&MISTAKES);
}

#[test]
fn hosts_that_do_not_count_the_same_limit_are_no_mistake() {
    assert_no_warning(&VARIATIONS);
}

fn has_hosts(tree: &mut Value, kind: &str, groups: &[Value]) {
    let store = tree.pointer_mut(STORE).unwrap();
    store["type"] = json!(kind);
    store["load_assignment"]["endpoints"] = json!(groups);
}

fn host(address: &str) -> Value {
    let address = json!({ "address": address, "port_value": 6379 });
    json!({ "endpoint": { "address": { "socket_address": address } } })
}
