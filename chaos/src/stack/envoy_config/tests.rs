//! The shipped `envoy.yaml` is the fixture: what cannot be adapted in it is found here.

use super::*;
use crate::tools::repository;

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
        store: address(4),
        upstream: address(5),
        module,
        plugin,
        wiring: Wiring::RedisProxy,
        files: Path::new("."),
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
