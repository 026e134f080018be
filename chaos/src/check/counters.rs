//! Mistakes that let one limit be counted in several places, or in none.

use serde_json::Value;

use super::wiring::{Check, Wiring, find, whole};
use crate::plugin::field;

pub(super) const CHECKS: [Check; 3] = [hosts, renamed, lost];

/// Policies under which `redis_proxy` leads each key to a host of its own.
const LED_BY_KEY: [&str; 2] = ["MAGLEV", "RING_HASH"];

/// Hosts that share the commands of a plain cluster know nothing of each other.
fn hosts(wiring: &Wiring<'_>) -> Option<String> {
    let mut clusters = wiring.plain_stores()?;
    let rules = wiring.config?.rules.len();
    let is_tcp = wiring.is_tcp();
    clusters.find_map(|cluster| {
        let count = endpoints(cluster).count();
        // Of several rules' keys in one command the first alone would be led.
        let by_key =
            field(cluster, "lb_policy").is_some_and(|it| LED_BY_KEY.iter().any(|led| it == led));
        (count > 1 && !(by_key && rules < 2 && !is_tcp)).then(|| {
            format!(
                "static_resources.clusters: {} has {count} endpoints, each of which counts on its \
                 own, so up to {count} times the limits pass: name one, or make them a Redis \
                 Cluster (envoy/cluster.yaml)",
                cluster["name"]
            )
        })
    })
}

/// `redis_proxy` changes the first key of a command and leaves the others as they are.
fn renamed(wiring: &Wiring<'_>) -> Option<String> {
    let is_set = |it: &&Value| **it != Value::Bool(false);
    let routes = key_routes(wiring)?;
    let names = ["remove_prefix", "key_formatter"];
    let mut names = names.into_iter();
    let name = names.find(|name| {
        let mut routes = routes.iter();
        routes.any(|it| field(it, name).filter(is_set).is_some())
    })?;
    (wiring.config?.rules.len() > 1).then(|| {
        format!(
            "static_resources.listeners: {name} in redis_proxy's prefix_routes renames the first \
             key of a command and no other, so a rule has one count alone and another beside other \
             rules: take it out"
        )
    })
}

/// A key that no route takes is answered with an error.
fn lost(wiring: &Wiring<'_>) -> Option<String> {
    let prefix = &wiring.config?.redis.key_prefix;
    key_routes(wiring)?.is_empty().then(|| {
        format!(
            "static_resources.listeners: redis_proxy's prefix_routes have none for keys that begin \
             with \"{prefix}:{{\" (redis.key_prefix), so every call would fail: add a catch_all_route"
        )
    })
}

/// The routes of `redis_proxy` that the keys of the filter may take.
fn key_routes<'t>(wiring: &Wiring<'t>) -> Option<Vec<&'t Value>> {
    let all = find(wiring.bridge()?, "prefix_routes")?;
    let case = |text: &str| match field(all, "case_insensitive") {
        Some(Value::Bool(true)) => text.to_ascii_lowercase(),
        _ => text.to_owned(),
    };
    let begin = case(&format!("{}:{{", wiring.config?.redis.key_prefix));
    // A longer prefix takes those of a rule.
    let takes = |route: &&Value| {
        let prefix = case(route["prefix"].as_str().unwrap_or_default());
        begin.starts_with(&prefix) || prefix.starts_with(&begin)
    };
    let routes = field(all, "routes").and_then(Value::as_array);
    let routes = routes.into_iter().flatten().filter(takes);
    Some(routes.chain(field(all, "catch_all_route")).collect())
}

/// Those that get commands while they are well: the others of a cluster stand by for them.
fn endpoints(cluster: &Value) -> impl Iterator<Item = &Value> {
    let list = |tree, name| field(tree, name).and_then(Value::as_array);
    let groups = field(cluster, "load_assignment").and_then(|it| list(it, "endpoints"));
    let first = |it: &&Value| field(it, "priority").and_then(whole).unwrap_or(0) == 0;
    let groups = groups.into_iter().flatten().filter(first);
    groups
        .filter_map(move |it| list(it, "lb_endpoints"))
        .flatten()
}

impl<'t> Wiring<'t> {
    /// The clusters that the bridge leads to, without those that are a Redis Cluster.
    fn plain_stores(&self) -> Option<impl Iterator<Item = &'t Value> + use<'t>> {
        Some(self.stores()?.filter(|it| !super::sharded::is_sharded(it)))
    }
}
