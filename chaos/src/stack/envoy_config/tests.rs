//! The shipped `envoy.yaml` is the fixture: what cannot be adapted in it is found here.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::tools::repository;

const STORE: [SocketAddr; 1] = [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4)];

fn source() -> String {
    std::fs::read_to_string(repository().join("envoy/envoy.yaml")).unwrap()
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn settings<'a>(module: Option<&'a Path>, plugin: &'a Value) -> Settings<'a> {
    Settings {
        ports: Ports {
            front: address(1),
            metrics: address(2),
            admin: address(3),
        },
        store: &STORE,
        upstream: address(5),
        module,
        plugin,
        wiring: Wiring::RedisProxy,
        files: Path::new("/run/of/mine"),
    }
}

/// Every address of the tree that is not loopback.
fn strangers(tree: &Value) -> Vec<String> {
    match tree {
        Value::Object(fields) => {
            let own = fields
                .get("socket_address")
                .map(|socket| socket["address"].clone());
            let own = own.filter(|ip| ip != "127.0.0.1").map(|ip| ip.to_string());
            own.into_iter()
                .chain(fields.values().flat_map(strangers))
                .collect()
        }
        Value::Array(items) => items.iter().flat_map(strangers).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn nothing_leaves_loopback_and_every_address_is_this_runs_own() {
    let module = tempfile::NamedTempFile::new().unwrap();
    let patch = json!({});
    let (tree, _) = adapt_text(&source(), &settings(Some(module.path()), &patch)).unwrap();
    assert_eq!(strangers(&tree), Vec::<String>::new());
    let text = tree.to_string();
    for port in 1..=5 {
        assert!(
            text.contains(&format!("\"port_value\":{port}}}")),
            "port {port}"
        );
    }
    assert_eq!(text.matches(module.path().to_str().unwrap()).count(), 2);
    assert!(!text.contains("target/wasm32"));
}

#[test]
fn the_plugins_configuration_takes_the_patch_and_keeps_the_rest() {
    let module = tempfile::NamedTempFile::new().unwrap();
    let patch = json!({ "redis": { "max_waiting": 7 }, "breaker": "off", "headers": null });
    let (mut tree, _) = adapt_text(&source(), &settings(Some(module.path()), &patch)).unwrap();
    let filter = http_filter(&mut tree).unwrap();
    let text = filter["typed_config"]["config"]["configuration"]["value"]
        .as_str()
        .unwrap();
    let plugin: Value = serde_json::from_str(text).unwrap();
    assert_eq!(plugin["redis"]["max_waiting"], 7);
    assert_eq!(plugin["redis"]["cluster"], "velocitygate_redis");
    assert_eq!(plugin["breaker"], "off");
    assert_eq!(plugin.get("headers"), None);
    assert!(plugin["rules"].is_array());
}

#[test]
fn a_merge_patch_does_what_rfc_7396_says() {
    let mut target = json!({ "a": { "b": 1, "c": 2 }, "d": [1, 2], "e": 1 });
    merge(
        &mut target,
        &json!({ "a": { "b": null, "x": { "y": null } }, "d": [3], "e": { "f": 1 } }),
    );
    assert_eq!(
        target,
        json!({ "a": { "c": 2, "x": {} }, "d": [3], "e": { "f": 1 } })
    );
}

#[test]
fn the_tcp_variant_has_no_redis_proxy() {
    let module = tempfile::NamedTempFile::new().unwrap();
    let patch = json!({});
    let settings = Settings {
        wiring: Wiring::TcpProxy,
        ..settings(Some(module.path()), &patch)
    };
    let text = adapt_text(&source(), &settings).unwrap().0.to_string();
    assert!(!text.contains("redis_proxy.v3"));
    assert!(text.contains("tcp_proxy.v3"));
}

#[test]
fn without_the_filter_no_wasm_and_no_bridge_are_left() {
    let patch = json!({});
    let (mut tree, _) = adapt_text(&source(), &settings(None, &patch)).unwrap();
    assert!(!tree["static_resources"].to_string().contains("wasm.v3"));
    assert!(http_filter(&mut tree).is_err());
}

fn example(name: &str) -> String {
    std::fs::read_to_string(repository().join("envoy").join(name)).unwrap()
}

#[test]
fn without_a_listener_for_metrics_the_admin_interface_shows_them() {
    let patch = json!({});
    let (tree, ports) = adapt_text(&example("minimal.yaml"), &settings(None, &patch)).unwrap();
    assert_eq!(ports.metrics, address(3));
    assert_eq!(strangers(&tree), Vec::<String>::new());
    let (_, ports) = adapt_text(&source(), &settings(None, &patch)).unwrap();
    assert_eq!(ports.metrics, address(2));
}

#[test]
fn certificates_and_passwords_are_those_of_the_run() {
    let patch = json!({});
    let (tree, _) = adapt_text(&example("tls.yaml"), &settings(None, &patch)).unwrap();
    let text = tree.to_string();
    assert!(text.contains("/run/of/mine/redis-ca.pem"));
    assert!(text.contains("/run/of/mine/redis-password"));
    assert!(!text.contains(FILES));
}

#[test]
fn a_redis_cluster_keeps_its_type_and_takes_every_address() {
    let patch = json!({});
    let masters = [address(6), address(7), address(8)];
    let settings = Settings {
        store: &masters,
        ..settings(None, &patch)
    };
    let (mut tree, _) = adapt_text(&example("cluster.yaml"), &settings).unwrap();
    assert_eq!(strangers(&tree), Vec::<String>::new());
    let cluster = store_cluster(&mut tree).unwrap();
    assert_eq!(cluster["cluster_type"]["name"], "envoy.clusters.redis");
    assert!(cluster.get("type").is_none());
    let text = cluster.to_string();
    for master in masters {
        assert!(text.contains(&format!("\"port_value\":{}}}", master.port())));
    }
}

#[test]
fn a_missing_part_is_named() {
    let patch = json!({});
    let source = source().replace("name: upstream", "name: upstreams");
    let error = adapt_text(&source, &settings(None, &patch)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "found no upstream in /static_resources/clusters"
    );
}

#[test]
fn a_module_that_is_not_built_says_how_to_build_it() {
    let patch = json!({});
    let nowhere = Path::new("nowhere.wasm");
    let error = adapt_text(&source(), &settings(Some(nowhere), &patch)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no module at nowhere.wasm; run `make wasm`"
    );
}
