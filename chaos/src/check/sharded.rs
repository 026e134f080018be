//! Mistakes on the way to a Redis Cluster.

use serde_json::Value;

use super::store::{duration, patience};
use super::wiring::{Check, Wiring, find};
use crate::plugin::field;

pub(super) const CHECKS: [Check; 4] = [led_nowhere, led_anywhere, not_followed, silent_master];

/// A cluster of this type has a host for a key of Redis, and none for a connection.
fn led_nowhere(wiring: &Wiring<'_>) -> Option<String> {
    let cluster = wiring.redis_cluster().filter(|_| wiring.is_tcp())?;
    Some(format!(
        "static_resources.listeners: tcp_proxy finds no node of the Redis Cluster {}, so every call \
         would fail: put redis_proxy in its place (envoy/cluster.yaml)",
        cluster["name"]
    ))
}

/// A node that does not have the key answers with the name of the one that has.
fn led_anywhere(wiring: &Wiring<'_>) -> Option<String> {
    let cluster = wiring.redis_cluster()?;
    let is_right = field(cluster, "lb_policy").is_some_and(|it| it == "CLUSTER_PROVIDED");
    let is_elsewhere = field(cluster, "load_balancing_policy").is_some();
    (!is_right && !is_elsewhere).then(|| {
        format!(
            "static_resources.clusters: lb_policy of the Redis Cluster {} leads commands to any of \
             its nodes, not to that of the key: set it to CLUSTER_PROVIDED",
            cluster["name"]
        )
    })
}

/// Envoy hears of slots that moved by such answers, and hands them on unless it is told.
fn not_followed(wiring: &Wiring<'_>) -> Option<String> {
    let cluster = wiring.redis_cluster().filter(|_| !wiring.is_tcp())?;
    let follows = find(wiring.bridge()?, "enable_redirection").is_some_and(|it| it == true);
    (!follows).then(|| {
        format!(
            "static_resources.listeners: redis_proxy does not follow MOVED and ASK of the Redis \
             Cluster {}, so calls fail while slots move: set enable_redirection to true",
            cluster["name"]
        )
    })
}

/// The replies of a call come in the order of its commands, so a master of a Redis Cluster that says
/// nothing holds up those of the others, until Envoy answers in its place.
fn silent_master(wiring: &Wiring<'_>) -> Option<String> {
    let cluster = wiring.redis_cluster()?;
    let (bound, most) = patience(wiring.config?);
    let op_timeout = find(wiring.bridge()?, "op_timeout").map(|it| ("op_timeout", it));
    let default = Value::from("5s");
    let connect = field(cluster, "connect_timeout").unwrap_or(&default);
    let mut waits = op_timeout.into_iter().chain([("connect_timeout", connect)]);
    let (name, written) =
        waits.find(|(_, written)| duration(written).is_some_and(|it| it >= most))?;
    Some(format!(
        "static_resources: with {name} {written} a silent master of the Redis Cluster {} costs \
         the requests of all masters their count: make it shorter than {bound} ({most})",
        cluster["name"]
    ))
}

impl<'t> Wiring<'t> {
    /// The first of them that is a Redis Cluster.
    pub(super) fn redis_cluster(&self) -> Option<&'t Value> {
        self.stores()?.find(|it| is_sharded(it))
    }
}

/// Whether a cluster is a Redis Cluster.
pub(super) fn is_sharded(cluster: &Value) -> bool {
    let kind = field(cluster, "cluster_type").and_then(|it| field(it, "name"));
    kind.is_some_and(|it| it == "envoy.clusters.redis")
}
