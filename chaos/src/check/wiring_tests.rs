//! Mistakes around the filter, each made in the shipped configuration.

use serde_json::{Value, json};

use super::tests::{CONFIG, MANAGER, PLACE, said_of, shipped};
use crate::exit::Exit;

pub(super) const BRIDGE: &str = "/static_resources/listeners/1";
pub(super) const FILTER: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0";

/// What is done to the shipped configuration, and what the warning about it begins and ends with.
pub(super) type Mistake = (fn(&mut Value), &'static str, &'static str);

const MISTAKES: [Mistake; 25] = [
    (
        |t| drop(take(t, CONFIG, "failure_policy")),
        PLACE,
        ".failure_policy: after one crash every request would get a 503: set it to FAIL_RELOAD",
    ),
    (
        |t| t.pointer_mut(CONFIG).unwrap()["failure_policy"] = json!("FAIL_OPEN"),
        PLACE,
        ".failure_policy: after one crash requests would pass unlimited: set it to FAIL_RELOAD",
    ),
    (
        |t| {
            t.pointer_mut(BRIDGE).unwrap()["filter_chains"][0]["filters"][0]["typed_config"]["config"]
                ["failure_policy"] = json!("FAIL_OPEN")
        },
        "static_resources.listeners[1]",
        "after one crash every call to Redis would fail: set it to FAIL_RELOAD",
    ),
    (
        |t| drop(take(t, MANAGER, "stream_idle_timeout")),
        "static_resources",
        "a few seconds",
    ),
    (
        |t| t.pointer_mut(MANAGER).unwrap()["stream_idle_timeout"] = json!("0s"),
        "static_resources",
        "a few seconds",
    ),
    (
        |t| t.pointer_mut(MANAGER).unwrap()["stream_idle_timeout"] = json!("0.05s"),
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.stream_idle_timeout: \
         \"0.05s\" ends requests with a 504 before redis.timeout (50ms) ends their wait",
        "make it longer",
    ),
    (
        |t| t["static_resources"]["clusters"][0]["name"] = json!("other"),
        "static_resources.clusters: there is no cluster \"velocitygate_redis\"",
        "from envoy/envoy.yaml",
    ),
    (
        |t| t["static_resources"]["clusters"][0]["load_assignment"] = json!({}),
        "static_resources.clusters: \"velocitygate_redis\" leads to no",
        "from envoy/envoy.yaml",
    ),
    (
        |t| drop(take(t, BRIDGE, "internal_listener")),
        "static_resources.listeners: there is no internal_listener \"velocitygate_redis\"",
        "from envoy/envoy.yaml",
    ),
    (
        |t| t.pointer_mut(BRIDGE).unwrap()["filter_chains"][0]["filters"][0] = json!({}),
        "static_resources.listeners: there is no internal_listener",
        "from envoy/envoy.yaml",
    ),
    (
        |t| {
            t.pointer_mut(BRIDGE).unwrap()["filter_chains"][0]["filters"][1]["typed_config"]["settings"]
                ["op_timeout"] = json!("0.049s")
        },
        "static_resources.listeners: redis_proxy's op_timeout \"0.049s\"",
        "before redis.timeout (50ms) does: make it slightly longer",
    ),
    (
        |t| flushes_after(t, 1024, "0.04s"),
        "static_resources.listeners: redis_proxy's buffer_flush_timeout \"0.04s\" may hold each call ",
        "make it much shorter than breaker.slow_call (40ms)",
    ),
    (
        |t| drop(take(t, "", "bootstrap_extensions")),
        "bootstrap_extensions: ",
        "from envoy/envoy.yaml",
    ),
    (
        |t| t.pointer_mut(CONFIG).unwrap()["vm_config"]["vm_id"] = json!("velocitygate_redis"),
        PLACE,
        "give each its own",
    ),
    // To have none and to have an empty one is the same.
    (
        |t| {
            t.pointer_mut(CONFIG).unwrap()["vm_config"]["vm_id"] = json!("");
            let bridge = &mut t.pointer_mut(BRIDGE).unwrap()["filter_chains"][0]["filters"][0];
            take(&mut bridge["typed_config"]["config"], "/vm_config", "vm_id");
        },
        PLACE,
        "give each its own",
    ),
    (
        |t| {
            drop(
                t["stats_config"]["stats_tags"]
                    .as_array_mut()
                    .unwrap()
                    .split_off(4),
            )
        },
        "stats_config.stats_tags: no state, to, ",
        "from envoy/envoy.yaml",
    ),
    (
        |t| {
            counts_by_client(t);
            take(t, MANAGER, "use_remote_address");
        },
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.use_remote_address: \
         a rule counts by client_ip, but clients choose theirs in x-forwarded-for: ",
        "also xff_num_trusted_hops",
    ),
    (
        |t| {
            replace_in_rules(
                t,
                "\"key\": [",
                "\"match\": { \"path\": { \"exact\": \"/login\" } }, \"key\": [",
            );
            take(t, MANAGER, "normalize_path");
            t.pointer_mut(MANAGER).unwrap()["merge_slashes"] = json!(false);
        },
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.normalize_path: rule \
         \"per-key\" looks at the path, which clients may spell in other ways (//login, /x/../login): ",
        "set normalize_path and merge_slashes to true",
    ),
    (
        |t| {
            counts_by_path(t);
            take(t, MANAGER, "normalize_path");
        },
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.normalize_path: rule ",
        ": set normalize_path to true",
    ),
    (
        |t| {
            counts_by_path(t);
            take(t, MANAGER, "merge_slashes");
        },
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.merge_slashes: rule ",
        ": set merge_slashes to true",
    ),
    (
        |t| t["static_resources"]["clusters"][1]["name"] = json!("other"),
        "static_resources.clusters: there is no cluster \"redis\", to which the internal listener",
        "add it, or correct the name",
    ),
    (
        |t| {
            leads_by_tcp(
                t,
                json!({ "weighted_clusters": { "clusters": [
                { "name": "redis", "weight": 1 }, { "name": "gone", "weight": 1 } ] } }),
            );
        },
        "static_resources.clusters: there is no cluster \"gone\"",
        "add it, or correct the name",
    ),
    (
        |t| {
            let thresholds = json!([
                { "priority": "HIGH", "max_requests": 1 },
                { "max_connections": 1024, "max_pending_requests": "1023" },
            ]);
            t["static_resources"]["clusters"][0]["circuit_breakers"]["thresholds"] = thresholds;
        },
        "static_resources.clusters: circuit_breakers of \"velocitygate_redis\" allow \
         max_pending_requests 1023, but 1024 requests of a worker may wait (redis.max_waiting): ",
        "for all workers together",
    ),
    (
        |t| {
            leads_by_tcp(t, json!({ "cluster": "redis" }));
            replace_in_rules(t, "\"max_waiting\": 1024", "\"max_waiting\": 1025");
            take(t, "/static_resources/clusters/1", "circuit_breakers");
        },
        "static_resources.clusters: circuit_breakers of \"redis\" allow max_connections 1024, \
         max_pending_requests 1024, but 1025 ",
        "for all workers together",
    ),
    (
        |t| {
            discovers(t);
            let filter = t.pointer_mut(FILTER).unwrap();
            let default = take(filter, "/config_discovery", "default_config");
            filter["config_discovery(rules.yaml)"] = json!({ "resources": [{
                    "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
                    "typed_config": default }] });
        },
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0].\
         config_discovery.default_config: ",
        "copy it from envoy/reload.yaml",
    ),
];

/// The filter as a default. Nothing that a wasm filter could come from is asked.
fn discovers(tree: &mut Value) {
    let default = take(tree, FILTER, "typed_config");
    let discovery = json!({ "type_urls": [], "default_config": default });
    tree.pointer_mut(FILTER).unwrap()["config_discovery"] = discovery;
}

pub(super) fn replace_in_rules(tree: &mut Value, from: &str, to: &str) {
    let rules = &mut tree.pointer_mut(CONFIG).unwrap()["configuration"]["value"];
    let text = rules.as_str().unwrap();
    assert!(text.contains(from), "{text}");
    *rules = json!(text.replace(from, to));
}

fn counts_by_client(tree: &mut Value) {
    replace_in_rules(
        tree,
        r#"{ "header": "x-api-key" }"#,
        r#"{ "client_ip": {} }"#,
    );
}

fn counts_by_path(tree: &mut Value) {
    replace_in_rules(tree, r#"{ "header": "x-api-key" }"#, r#"{ "path": true }"#);
}

/// `redis_proxy` that waits so long for so many bytes.
fn flushes_after(tree: &mut Value, bytes: u32, timeout: &str) {
    let proxy = &mut tree.pointer_mut(BRIDGE).unwrap()["filter_chains"][0]["filters"][1];
    let settings = &mut proxy["typed_config"]["settings"];
    settings["max_buffer_size_before_flush"] = json!(bytes);
    settings["buffer_flush_timeout"] = json!(timeout);
}

/// `tcp_proxy` with these fields in the place of `redis_proxy`.
pub(super) fn leads_by_tcp(tree: &mut Value, fields: Value) {
    let mut config = fields;
    config["@type"] =
        json!("type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy");
    tree.pointer_mut(BRIDGE).unwrap()["filter_chains"][0]["filters"][1]["typed_config"] = config;
}

/// What is done to the shipped configuration without making a mistake.
const VARIATIONS: [fn(&mut Value); 12] = [
    counts_by_client,
    discovers,
    counts_by_path,
    |t| {
        drop((
            take(t, MANAGER, "normalize_path"),
            take(t, MANAGER, "merge_slashes"),
        ))
    },
    |t| drop(take(t, MANAGER, "use_remote_address")),
    |t| {
        counts_by_client(t);
        take(t, MANAGER, "use_remote_address");
        t.pointer_mut(MANAGER).unwrap()["xffNumTrustedHops"] = json!(1);
    },
    |t| {
        counts_by_client(t);
        t.pointer_mut(MANAGER).unwrap()["use_remote_address"] = json!(false);
        t.pointer_mut(MANAGER).unwrap()["original_ip_detection_extensions"] = json!([{}]);
    },
    |t| leads_by_tcp(t, json!({ "cluster": "redis" })),
    |t| t.pointer_mut(MANAGER).unwrap()["stream_idle_timeout"] = json!("0.051s"),
    |t| flushes_after(t, 1024, "0.003s"),
    // Without a size each command is sent at once.
    |t| flushes_after(t, 0, "0.04s"),
    // redis_proxy asks no circuit breaker.
    |t| {
        let thresholds = json!([{ "max_connections": 1, "max_pending_requests": 1 }]);
        t["static_resources"]["clusters"][1]["circuit_breakers"]["thresholds"] = thresholds;
    },
];

#[test]
fn what_is_no_mistake_is_no_warning() {
    assert_no_warning(&VARIATIONS);
}

#[test]
fn each_mistake_of_wiring_is_a_warning_of_its_own_with_the_fix() {
    assert_warning_of_each(&MISTAKES);
}

pub(super) fn assert_no_warning(variations: &[fn(&mut Value)]) {
    for (number, vary) in variations.iter().enumerate() {
        let mut tree = shipped();
        vary(&mut tree);
        let (text, _) = said_of(&tree);
        assert_eq!(text, "ok, 1 configuration\n", "{number}");
    }
}

pub(super) fn assert_warning_of_each(mistakes: &[Mistake]) {
    for (number, (make, begin, end)) in mistakes.iter().enumerate() {
        let mut tree = shipped();
        make(&mut tree);
        let (text, exit) = said_of(&tree);
        assert_eq!(exit, Exit::Success, "{number}: {text}");
        let lines: Vec<_> = text.lines().collect();
        let [warning, "ok, 1 configuration, 1 warning"] = lines[..] else {
            panic!("{number}: {text}");
        };
        assert!(
            warning.starts_with(&format!("warning: {begin}")),
            "{number}: {warning}"
        );
        assert!(warning.ends_with(end), "{number}: {warning}");
    }
}

#[test]
fn a_default_is_checked_as_any_filter_is() {
    let mut tree = shipped();
    replace_in_rules(&mut tree, "\"1m\"", "\"1 fortnight\"");
    discovers(&mut tree);
    let default = tree.pointer_mut(FILTER).unwrap();
    let config = &mut default["config_discovery"]["default_config"]["config"];
    config["failure_policy"] = json!("FAIL_OPEN");
    let (text, exit) = said_of(&tree);
    assert_eq!(exit, Exit::Usage);
    let place = PLACE.replace(
        "typed_config.config",
        "config_discovery.default_config.config",
    );
    assert!(
        text.contains(&format!(
            "error: {place}.configuration: rules[0].limit.per: "
        )),
        "{text}"
    );
    assert!(
        text.contains(&format!("warning: {place}.failure_policy: ")),
        "{text}"
    );
}

pub(super) fn take(tree: &mut Value, at: &str, name: &str) -> Value {
    let fields = tree.pointer_mut(at).unwrap().as_object_mut().unwrap();
    fields.remove(name).unwrap()
}
