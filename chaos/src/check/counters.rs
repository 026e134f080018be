//! Mistakes that let one limit be counted in several places, or in none.

use std::net::IpAddr;

use serde_json::Value;

use super::wiring::{Check, Wiring, find, whole};
use crate::plugin::field;

pub(super) const CHECKS: [Check; 2] = [hosts, addresses];

/// Hosts that share the commands of a plain cluster know nothing of each other.
fn hosts(wiring: &Wiring<'_>) -> Option<String> {
    let mut clusters = wiring.plain_stores()?;
    clusters.find_map(|cluster| {
        let count = endpoints(cluster).count();
        (count > 1).then(|| {
            format!(
                "static_resources.clusters: {} has {count} endpoints, each of which counts on its \
                 own, so up to {count} times the limits pass: name one, or make them a Redis \
                 Cluster (envoy/cluster.yaml)",
                cluster["name"]
            )
        })
    })
}

/// The same, when it is a name that has them.
fn addresses(wiring: &Wiring<'_>) -> Option<String> {
    let mut clusters = wiring.plain_stores()?;
    let cluster = clusters.find(|it| field(it, "type").is_some_and(|it| it == "STRICT_DNS"))?;
    let address = |it| field(find(it, "socket_address")?, "address")?.as_str();
    let mut hosts = endpoints(cluster).filter_map(address);
    let name = hosts.find(|it| it.parse::<IpAddr>().is_err())?;
    Some(format!(
        "static_resources.clusters: {} is STRICT_DNS, so each address that {name:?} has counts on \
         its own, and as many times the limits pass: make it LOGICAL_DNS, which takes one at a time",
        cluster["name"]
    ))
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
        Some(self.stores()?.filter(|it| !super::store::is_sharded(it)))
    }
}
