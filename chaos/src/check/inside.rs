//! Mistakes in the cluster by which the filter calls the bridge. Envoy starts, and every call fails.

use serde_json::Value;

use super::login::{has_login, tls};
use super::wiring::{Check, Wiring, find};
use crate::plugin::field;

pub(super) const CHECKS: [Check; 1] = [unfit];

/// What such a cluster has, why the bridge makes nothing of it, and the fix.
type Unfit = (fn(&Value) -> bool, &'static str, &'static str);

const UNFIT: [Unfit; 4] = [
    (
        looks_names_up,
        "which has no name that DNS knows",
        "take its type out",
    ),
    (
        speaks_http2,
        "which speaks HTTP/1.1 alone",
        "take http2_protocol_options out",
    ),
    (
        |it| !tls(it).is_empty(),
        "which speaks no TLS",
        "take its transport_socket out, or move it to the cluster of Redis (envoy/tls.yaml)",
    ),
    (
        has_login,
        "which wants no login, and Redis gets none",
        "move auth_password to the cluster of Redis (envoy/tls.yaml)",
    ),
];

fn unfit(wiring: &Wiring<'_>) -> Option<String> {
    let cluster = wiring.cluster()?;
    find(cluster, "server_listener_name")?;
    let (_, why, fix) = UNFIT.iter().find(|(has, ..)| has(cluster))?;
    Some(format!(
        "static_resources.clusters: {} leads to the bridge, {why}, so every call would fail: {fix}",
        cluster["name"]
    ))
}

fn looks_names_up(cluster: &Value) -> bool {
    field(cluster, "type").is_some_and(|it| it == "STRICT_DNS" || it == "LOGICAL_DNS")
}

/// Whether it would, whatever the filter's request has.
fn speaks_http2(cluster: &Value) -> bool {
    let explicit = find(cluster, "explicit_http_config").unwrap_or(cluster);
    field(explicit, "http2_protocol_options").is_some()
}
