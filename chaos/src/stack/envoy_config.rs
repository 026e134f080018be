//! A configuration of `envoy/` made this run's own: loopback addresses, paths, the plugin's
//! configuration. Done on the parsed tree, so that the file users copy from is the file tested.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Ports;

pub mod discovery;

const LISTENERS: &str = "/static_resources/listeners";
const CLUSTERS: &str = "/static_resources/clusters";
const HTTP_FILTERS: &str = "/typed_config/http_filters";
const HTTP_WASM: &str = "envoy.filters.http.wasm";
/// Ends the type of every HTTP wasm filter, whatever its name.
const HTTP_WASM_TYPE: &str = "http.wasm.v3.Wasm";
const NETWORK_WASM: &str = "envoy.filters.network.wasm";
const HCM: &str = "envoy.filters.network.http_connection_manager";
const REDIS_PROXY: &str = "envoy.filters.network.redis_proxy";
const METRICS: &str = "metrics";

/// The folder in which the configurations expect certificates and passwords.
const FILES: &str = "/etc/velocitygate/";

/// What stands behind the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wiring {
    /// Envoy's `redis_proxy`, as in the configurations of `envoy/`.
    RedisProxy,
    /// Envoy's `tcp_proxy`: the bridge alone parses what the store says.
    TcpProxy,
}

/// What this run sets.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Where Envoy listens.
    pub ports: Ports,
    /// Where its store is; the endpoints of the configuration take these addresses in turn.
    pub store: &'a [SocketAddr],
    /// Where its upstream is.
    pub upstream: SocketAddr,
    /// The filter's module; `None` takes the filter out.
    pub module: Option<&'a Path>,
    /// Merge patch (RFC 7396) for the plugin's JSON.
    pub plugin: &'a Value,
    /// What stands behind the bridge.
    pub wiring: Wiring,
    /// The folder of what the configuration has in `/etc/velocitygate/`, and of the filter's own file,
    /// when it is a discovered one.
    pub files: &'a Path,
}

/// Reads the YAML file `source` and adapts it. The result is Envoy's bootstrap as JSON, and where
/// it listens: a configuration without a listener `metrics` shows them on the admin interface.
///
/// # Errors
/// When the file cannot be read, or lacks a part that is to be set; the error names that part.
pub fn adapt(source: &Path, settings: &Settings<'_>) -> Result<(Value, Ports)> {
    let text = std::fs::read_to_string(source)
        .with_context(|| format!("cannot read {}", source.display()))?;
    adapt_text(&text, settings).with_context(|| format!("in {}", source.display()))
}

fn adapt_text(yaml: &str, settings: &Settings<'_>) -> Result<(Value, Ports)> {
    let mut tree: Value = serde_norway::from_str(yaml)?;
    let ports = set_ports(&mut tree, settings.ports)?;
    set_cluster(&mut tree, "redis", settings.store)?;
    set_cluster(&mut tree, "upstream", &[settings.upstream])?;
    move_files(&mut tree, settings.files);
    match settings.module {
        Some(module) => set_module(&mut tree, module, settings)?,
        None => remove_filter(&mut tree)?,
    }
    if settings.wiring == Wiring::TcpProxy {
        let bridge = named(&mut tree, LISTENERS, "velocitygate_redis")?;
        *network_filter(bridge, REDIS_PROXY)? = tcp_proxy();
    }
    Ok((tree, ports))
}

fn set_ports(tree: &mut Value, ports: Ports) -> Result<Ports> {
    set_address(at(tree, "/admin")?, ports.admin)?;
    set_address(named(tree, LISTENERS, "front")?, ports.front)?;
    let Ok(metrics) = named(tree, LISTENERS, METRICS) else {
        let metrics = ports.admin;
        return Ok(Ports { metrics, ..ports });
    };
    set_address(metrics, ports.metrics)?;
    set_cluster(tree, "admin", &[ports.admin])?;
    Ok(ports)
}

fn set_cluster(tree: &mut Value, name: &str, addresses: &[SocketAddr]) -> Result<()> {
    let cluster = named(tree, CLUSTERS, name)?;
    // A Redis Cluster has a type of its own, and finds its nodes from these addresses.
    if cluster.get("cluster_type").is_none() {
        cluster["type"] = json!("STATIC");
    }
    let endpoints = at(cluster, "/load_assignment/endpoints/0/lb_endpoints")?.as_array_mut();
    let endpoints = endpoints.with_context(|| format!("{name} has no list of endpoints"))?;
    for (endpoint, address) in endpoints.iter_mut().zip(addresses.iter().cycle()) {
        set_address(at(endpoint, "/endpoint")?, *address)?;
    }
    Ok(())
}

/// Lets every path into [`FILES`] lead into `folder`.
fn move_files(tree: &mut Value, folder: &Path) {
    match tree {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix(FILES) {
                *tree = json!(folder.join(name));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| move_files(item, folder)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| move_files(field, folder)),
        Value::Null | Value::Bool(_) | Value::Number(_) => (),
    }
}

fn set_module(tree: &mut Value, module: &Path, settings: &Settings<'_>) -> Result<()> {
    ensure!(
        module.is_file(),
        "no module at {}; run `make wasm`",
        module.display()
    );
    let bridge = named(tree, LISTENERS, "velocitygate_redis")?;
    let plugin = at(
        network_filter(bridge, NETWORK_WASM)?,
        "/typed_config/config",
    )?;
    set_code(plugin, module)?;
    let mut found = false;
    for filter in http_filters(tree)? {
        if filter.get("config_discovery").is_some() {
            discovery::adapt(filter, module, settings)?;
        } else if is_http_wasm(&filter["typed_config"]) {
            set_plugin(&mut filter["typed_config"], module, settings.plugin)?;
        } else {
            continue;
        }
        found = true;
    }
    ensure!(found, "found no wasm filter in {HTTP_FILTERS}");
    Ok(())
}

fn is_http_wasm(typed_config: &Value) -> bool {
    let name = typed_config["@type"].as_str();
    name.is_some_and(|name| name.ends_with(HTTP_WASM_TYPE))
}

/// Sets the module of an HTTP wasm filter and patches its configuration.
fn set_plugin(typed_config: &mut Value, module: &Path, patch: &Value) -> Result<()> {
    set_code(at(typed_config, "/config")?, module)?;
    patch_plugin(typed_config, patch)
}

/// Patches the JSON text that an HTTP wasm filter is configured with.
fn patch_plugin(typed_config: &mut Value, patch: &Value) -> Result<()> {
    let configuration = at(typed_config, "/config/configuration/value")?;
    let text = configuration
        .as_str()
        .context("the plugin's configuration is no string")?;
    let mut document: Value = serde_json::from_str(text).context("the plugin's configuration")?;
    merge(&mut document, patch);
    *configuration = json!(document.to_string());
    Ok(())
}

fn set_code(plugin: &mut Value, module: &Path) -> Result<()> {
    *at(plugin, "/vm_config/code/local/filename")? = json!(module);
    Ok(())
}

/// Without the filter nothing leads to the bridge, and its listener cannot load either.
fn remove_filter(tree: &mut Value) -> Result<()> {
    let front = named(tree, LISTENERS, "front")?;
    remove(at(network_filter(front, HCM)?, HTTP_FILTERS)?, HTTP_WASM);
    remove(at(tree, LISTENERS)?, "velocitygate_redis");
    remove(at(tree, CLUSTERS)?, "velocitygate_redis");
    Ok(())
}

fn tcp_proxy() -> Value {
    json!({
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "velocitygate_redis",
            "cluster": "redis",
        },
    })
}

/// A JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, change) in changes {
        if change.is_null() {
            target.as_object_mut().map(|fields| fields.remove(key));
        } else {
            merge(&mut target[key], change);
        }
    }
}

/// The HTTP wasm filter of the front listener.
///
/// # Errors
/// When there is none.
pub fn http_filter(tree: &mut Value) -> Result<&mut Value> {
    let front = named(tree, LISTENERS, "front")?;
    named(network_filter(front, HCM)?, HTTP_FILTERS, HTTP_WASM)
}

/// The connection manager's settings of the front listener.
///
/// # Errors
/// When there is none.
pub fn connection_manager(tree: &mut Value) -> Result<&mut Value> {
    at(
        network_filter(named(tree, LISTENERS, "front")?, HCM)?,
        "/typed_config",
    )
}

/// The `redis_proxy` settings behind the bridge.
///
/// # Errors
/// When there is none.
pub fn redis_proxy(tree: &mut Value) -> Result<&mut Value> {
    let bridge = named(tree, LISTENERS, "velocitygate_redis")?;
    at(network_filter(bridge, REDIS_PROXY)?, "/typed_config")
}

/// The cluster that leads to the store.
///
/// # Errors
/// When there is none.
pub fn store_cluster(tree: &mut Value) -> Result<&mut Value> {
    named(tree, CLUSTERS, "redis")
}

/// The cluster that leads to the upstream.
///
/// # Errors
/// When there is none.
pub fn upstream_cluster(tree: &mut Value) -> Result<&mut Value> {
    named(tree, CLUSTERS, "upstream")
}

/// Adds a cluster; a tree without clusters stays as it is.
pub fn add_cluster(tree: &mut Value, cluster: Value) {
    if let Ok(clusters) = list(tree, CLUSTERS) {
        clusters.push(cluster);
    }
}

fn http_filters(tree: &mut Value) -> Result<&mut Vec<Value>> {
    let front = named(tree, LISTENERS, "front")?;
    list(network_filter(front, HCM)?, HTTP_FILTERS)
}

fn network_filter<'a>(listener: &'a mut Value, name: &str) -> Result<&'a mut Value> {
    named(listener, "/filter_chains/0/filters", name)
}

fn set_address(owner: &mut Value, address: SocketAddr) -> Result<()> {
    let socket = at(owner, "/address/socket_address")?;
    socket["address"] = json!(address.ip());
    socket["port_value"] = json!(address.port());
    Ok(())
}

fn at<'a>(tree: &'a mut Value, pointer: &str) -> Result<&'a mut Value> {
    tree.pointer_mut(pointer)
        .with_context(|| format!("found no {pointer}"))
}

fn named<'a>(tree: &'a mut Value, list: &str, name: &str) -> Result<&'a mut Value> {
    self::list(tree, list)?
        .iter_mut()
        .find(|item| item["name"] == name)
        .with_context(|| format!("found no {name} in {list}"))
}

fn list<'a>(tree: &'a mut Value, pointer: &str) -> Result<&'a mut Vec<Value>> {
    at(tree, pointer)?
        .as_array_mut()
        .with_context(|| format!("{pointer} is no list"))
}

fn remove(list: &mut Value, name: &str) {
    if let Some(items) = list.as_array_mut() {
        items.retain(|item| item["name"] != name);
    }
}

#[cfg(test)]
mod tests;
