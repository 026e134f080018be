//! Mistakes on the way from the filter to Redis: its cluster, the bridge, and where that leads.

use serde_json::Value;
use velocitygate::config::Config;
use velocitygate::units::Micros;

use super::wiring::{BRIDGE, Check, Wiring, find, seconds, whole};
use crate::plugin::{field, plugins};
use crate::words::counted;

pub(super) const CHECKS: [Check; 6] = [
    cluster,
    bridge,
    stores,
    flushed_late,
    own_breakers,
    store_breakers,
];

/// What a circuit breaker of Envoy allows unless it is told.
const BREAKER_DEFAULT: u64 = 1_024;

fn cluster(wiring: &Wiring<'_>) -> Option<String> {
    let name = &wiring.config?.redis.cluster;
    if wiring.cluster().is_some() || find(wiring.tree, "cds_config").is_some() {
        return None;
    }
    Some(format!(
        "static_resources.clusters: there is no cluster {name:?}, which redis.cluster names: copy \
         velocitygate_redis from envoy/envoy.yaml"
    ))
}

fn bridge(wiring: &Wiring<'_>) -> Option<String> {
    let cluster = wiring.cluster()?;
    let fix = "copy velocitygate_redis from envoy/envoy.yaml";
    let Some(name) = find(cluster, "server_listener_name") else {
        return Some(format!(
            "static_resources.clusters: {} leads to no envoy_internal_address: {fix}",
            cluster["name"]
        ));
    };
    if find(wiring.tree, "lds_config").is_some() {
        return None;
    }
    let Some(listener) = wiring.bridge().filter(|it| !plugins(it, BRIDGE).is_empty()) else {
        return Some(format!(
            "static_resources.listeners: there is no internal_listener {name} with a plugin of \
             root_id {BRIDGE:?}: {fix}"
        ));
    };
    if wiring.redis_cluster().is_some() {
        return None;
    }
    let timeout = wiring.config?.redis.timeout;
    let written = find(listener, "op_timeout")?;
    (duration(written)? < timeout).then(|| {
        format!(
            "static_resources.listeners: redis_proxy's op_timeout {written} of {name} ends calls \
             before redis.timeout ({timeout}) does: make it slightly longer"
        )
    })
}

/// Where the bridge leads. Envoy starts without such a cluster, and fails every call.
fn stores(wiring: &Wiring<'_>) -> Option<String> {
    if find(wiring.tree, "cds_config").is_some() {
        return None;
    }
    let known = |name: &str| wiring.resources("clusters").any(|it| it["name"] == name);
    let named = clusters_in(wiring.bridge()?);
    let missing = named.into_iter().find(|name| !known(name))?;
    Some(format!(
        "static_resources.clusters: there is no cluster {missing:?}, to which the internal \
         listener leads, so every call would fail: add it, or correct the name"
    ))
}

/// `redis_proxy` may wait for more commands before it sends one.
fn flushed_late(wiring: &Wiring<'_>) -> Option<String> {
    let (bound, most) = patience(wiring.config?);
    let bridge = wiring.bridge()?;
    find(bridge, "max_buffer_size_before_flush").filter(|it| whole(it) != Some(0))?;
    let written = find(bridge, "buffer_flush_timeout")?;
    (duration(written)? >= most).then(|| {
        format!(
            "static_resources.listeners: redis_proxy's buffer_flush_timeout {written} may hold each \
             call as long: make it much shorter than {bound} ({most})"
        )
    })
}

/// Each waiting request could be a call of its own, on a connection of its own.
fn own_breakers(wiring: &Wiring<'_>) -> Option<String> {
    let limits = ["max_connections", "max_pending_requests", "max_requests"];
    low_breakers(wiring, wiring.cluster()?, &limits)
}

/// Behind `tcp_proxy` each call has its connection; `redis_proxy` has one for all and asks no
/// circuit breaker.
fn store_breakers(wiring: &Wiring<'_>) -> Option<String> {
    if !wiring.is_tcp() {
        return None;
    }
    let mut clusters = wiring.stores()?;
    let limits = ["max_connections", "max_pending_requests"];
    clusters.find_map(|cluster| low_breakers(wiring, cluster, &limits))
}

fn low_breakers(wiring: &Wiring<'_>, cluster: &Value, limits: &[&str]) -> Option<String> {
    let waiting = wiring.config?.redis.max_waiting;
    let thresholds = field(cluster, "circuit_breakers").and_then(|it| field(it, "thresholds"));
    let thresholds = thresholds.and_then(Value::as_array).into_iter().flatten();
    let thresholds = thresholds.filter(|it| it["priority"] != "HIGH");
    let thresholds: Vec<&Value> = thresholds.collect();
    let allowed = |name: &str| {
        let mut written = thresholds.iter().filter_map(|it| field(it, name));
        written.find_map(whole).unwrap_or(BREAKER_DEFAULT)
    };
    let low = limits.iter().map(|name| (*name, allowed(name)));
    let low = low.filter(|(_, allowed)| (*allowed as usize) < waiting);
    let low: Vec<String> = low
        .map(|(name, allowed)| format!("{name} {allowed}"))
        .collect();
    (!low.is_empty()).then(|| {
        format!(
            "static_resources.clusters: circuit_breakers of {} allow {}, but {} \
             of a worker may wait (redis.max_waiting): set them above that, for all workers together",
            cluster["name"],
            low.join(", "),
            counted(waiting, "request")
        )
    })
}

/// The clusters that filters of a listener name.
fn clusters_in(tree: &Value) -> Vec<&str> {
    let weighted = field(tree, "weighted_clusters").and_then(|it| it["clusters"].as_array());
    let weighted = weighted
        .into_iter()
        .flatten()
        .filter_map(|it| it["name"].as_str());
    let own = tree["cluster"].as_str().into_iter().chain(weighted);
    let inside: Vec<&str> = match tree {
        Value::Object(fields) => fields.values().flat_map(clusters_in).collect(),
        Value::Array(items) => items.iter().flat_map(clusters_in).collect(),
        _ => Vec::new(),
    };
    own.chain(inside).collect()
}

impl<'t> Wiring<'t> {
    /// The cluster that the filter calls.
    pub(super) fn cluster(&self) -> Option<&'t Value> {
        let name = &self.config?.redis.cluster;
        self.resources("clusters")
            .find(|it| it["name"] == *name.as_str())
    }

    /// The internal listener that this cluster leads to.
    pub(super) fn bridge(&self) -> Option<&'t Value> {
        let name = find(self.cluster()?, "server_listener_name")?;
        self.resources("listeners")
            .find(|it| it["name"] == *name && field(it, "internal_listener").is_some())
    }

    /// Whether the bridge leads there by `tcp_proxy`.
    pub(super) fn is_tcp(&self) -> bool {
        let bridge = self.bridge().map(Value::to_string);
        bridge.is_some_and(|it| it.contains(".TcpProxy\""))
    }

    /// The clusters that the bridge leads to.
    pub(super) fn stores(&self) -> Option<impl Iterator<Item = &'t Value> + use<'t>> {
        let named = clusters_in(self.bridge()?);
        let clusters = self.resources("clusters");
        Some(clusters.filter(move |it| named.iter().any(|name| it["name"] == *name)))
    }
}

/// What bounds a call that is to count as a good one, and how long that is.
pub(super) fn patience(config: &Config) -> (&'static str, Micros) {
    let timeout = ("redis.timeout", config.redis.timeout);
    let slow = config.breaker.map(|it| ("breaker.slow_call", it.slow_call));
    slow.unwrap_or(timeout)
}

/// A duration as the filter has them.
pub(super) fn duration(written: &Value) -> Option<Micros> {
    seconds(written).map(|it| Micros((it * 1e6) as u64))
}
