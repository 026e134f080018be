//! What routes say of filters, each mistake made in the shipped configuration.

use serde_json::{Value, json};

use super::tests::{MANAGER, said_of, shipped};
use super::wiring_tests::{FILTER, Mistake, assert_no_warning, assert_warning_of_each};

const NAME: &str = "envoy.filters.http.wasm";
const PLACE: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.";
const CORRECT: &str = " is the name of no HTTP filter here, so Envoy ignores it: correct it to one \
                       of envoy.filters.http.wasm, envoy.filters.http.router";

/// Where a route, or what it is in, may say something of a filter.
const LEVELS: [(&str, &str); 4] = [
    ("", "route_config"),
    ("/virtual_hosts/0", "route_config.virtual_hosts[0]"),
    (
        "/virtual_hosts/0/routes/0",
        "route_config.virtual_hosts[0].routes[0]",
    ),
    (
        "/virtual_hosts/0/routes/0/route/weighted_clusters/clusters/0",
        "route_config.virtual_hosts[0].routes[0].route.weighted_clusters.clusters[0]",
    ),
];

const MISTAKES: [Mistake; 4] = [
    (
        is_off,
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0].\
         disabled: no route turns \"envoy.filters.http.wasm\" on in its typed_per_filter_config, ",
        "turn it on as in envoy/per-route.yaml, or take this out",
    ),
    (
        |t| {
            is_off(t);
            says(t, "", NAME, json!({ "disabled": true }));
        },
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0].\
         disabled: no route turns \"envoy.filters.http.wasm\" on ",
        "or take this out",
    ),
    (
        |t| {
            is_double(t);
            says(t, "/virtual_hosts/0", NAME, json!({ "disabled": true }));
        },
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters: 2 have \
         the name \"envoy.filters.http.wasm\", so a route turns all of them on or off: ",
        "give each its own",
    ),
    // That of the plugin is not that of the filter.
    (
        |t| says(t, "", "velocitygate", json!({ "disabled": true })),
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config.\
         typed_per_filter_config: \"velocitygate\" is the name of no HTTP filter here, ",
        "envoy.filters.http.wasm, envoy.filters.http.router",
    ),
];

const VARIATIONS: [fn(&mut Value); 8] = [
    |t| {
        is_off(t);
        says(
            t,
            "/virtual_hosts/0/routes/0",
            NAME,
            json!({ "config": {} }),
        );
    },
    |t| says(t, "/virtual_hosts/0", NAME, json!({ "disabled": true })),
    // No route says which of them it means.
    is_double,
    // The routes come from elsewhere.
    |t| {
        is_off(t);
        let manager = t.pointer_mut(MANAGER).unwrap();
        manager.as_object_mut().unwrap().remove("route_config");
        manager["rds"] = json!({ "route_config_name": "all", "config_source": { "ads": {} } });
    },
    |t| {
        is_off(t);
        let routes = &mut t.pointer_mut(MANAGER).unwrap()["route_config"];
        routes["vhds"] = json!({ "config_source": { "ads": {} } });
    },
    // A filter of another listener, one that another one runs, and one of a cluster.
    |t| {
        let manager = &mut t["static_resources"]["listeners"][2]["filter_chains"][0]["filters"][0];
        let filters = &mut manager["typed_config"]["http_filters"];
        let filter = json!({ "name": "there", "typed_config": {} });
        filters.as_array_mut().unwrap().insert(0, filter);
        says(t, "", "there", json!({ "config": {} }));
    },
    |t| {
        let delegate = json!({ "name": "delegate", "typed_config": {} });
        let outer = json!({ "name": "outer", "typed_config": { "matcher": [delegate] } });
        let filters = &mut t.pointer_mut(MANAGER).unwrap()["http_filters"];
        filters.as_array_mut().unwrap().insert(1, outer);
        says(t, "", "delegate", json!({ "config": {} }));
    },
    |t| {
        let filter = json!({ "name": "late", "typed_config": {} });
        t["static_resources"]["clusters"][2]["typed_extension_protocol_options"] =
            json!({ "options": { "http_filters": [filter] } });
        says(t, "", "late", json!({ "config": {} }));
    },
];

/// Another filter with the name.
fn is_double(tree: &mut Value) {
    let filters = &mut tree.pointer_mut(MANAGER).unwrap()["http_filters"];
    let other = json!({ "name": NAME, "typed_config": {} });
    filters.as_array_mut().unwrap().insert(1, other);
}

fn is_off(tree: &mut Value) {
    tree.pointer_mut(FILTER).unwrap()["disabled"] = json!(true);
}

/// What is said of a filter at a place in the routes.
fn says(tree: &mut Value, level: &str, filter: &str, config: Value) {
    let routes = &mut tree.pointer_mut(MANAGER).unwrap()["route_config"];
    let level = routes.pointer_mut(level).unwrap();
    level["typed_per_filter_config"] = json!({ filter: config });
}

#[test]
fn a_filter_that_no_route_turns_on_and_a_name_of_no_filter_are_warnings_with_the_fix() {
    assert_warning_of_each(&MISTAKES);
}

#[test]
fn what_routes_may_say_of_filters_is_no_mistake() {
    assert_no_warning(&VARIATIONS);
}

#[test]
fn a_mistyped_name_is_found_wherever_envoy_looks_for_one() {
    for (level, place) in LEVELS {
        let mut tree = shipped();
        let weighted = json!({ "clusters": [{ "name": "upstream", "weight": 1 }] });
        let routes = &mut tree.pointer_mut(MANAGER).unwrap()["route_config"];
        routes["virtual_hosts"][0]["routes"][0]["route"] = json!({ "weighted_clusters": weighted });
        says(&mut tree, level, "velocity", json!({ "config": {} }));
        let expected =
            format!("warning: {PLACE}{place}.typed_per_filter_config: \"velocity\"{CORRECT}\nok, ");
        let (text, _) = said_of(&tree);
        assert!(text.starts_with(&expected), "{text}");
    }
}
