//! Each peer's Envoy: `envoy/envoy.yaml` with the peer's filter in the place of ours, or ours with
//! one rule. None writes an access log, which would cost all of them the same and hide the rest.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::peer::Peer;
use crate::stack::envoy_config::{add_cluster, connection_manager, redis_proxy};
use crate::stack::{Spec, Store, Tweak};

const EMPTY: &str = include_str!("empty.wat");

/// Requests an hour that each key may make: never met, and a burst of as many.
pub(super) const HOURLY: u64 = 1_000_000;
/// Requests a second that the refused key may make.
pub(super) const REFUSED_RPS: f64 = 10.0;
/// The domain of the limiter services' limits, and the entry that carries the key.
pub(super) const DOMAIN: &str = "bench";
pub(super) const ENTRY: &str = "api_key";

/// What to start for `peer`, with its files in `dir`; its limiter service will be at `service`.
pub(super) fn spec(peer: Peer, dir: &Path, service: SocketAddr) -> Result<Spec> {
    let mut spec = Spec {
        store: Store::Direct,
        ..Spec::new(dir.to_owned())
    };
    match own_rule(peer) {
        Some(rule) => spec.plugin = plugin(&rule),
        None => spec.module = None,
    }
    if peer == Peer::Empty {
        let module = wat::parse_str(EMPTY).context("empty.wat")?;
        fs::create_dir_all(dir)?;
        fs::write(dir.join("empty.wasm"), module).context("cannot write empty.wasm")?;
    }
    let filter = filter(peer, dir);
    spec.tweak = Some(Arc::new(move |tree| tweak(tree, filter.as_ref(), service)));
    Ok(spec)
}

/// The change that all peers share.
pub(super) fn without_access_log() -> Tweak {
    Arc::new(remove_access_log)
}

/// Whoever asks somebody has a second for the answer: a machine that stalls for some milliseconds
/// shows as latency, not as requests that pass uncounted.
const TIMEOUT: &str = "1s";

fn plugin(rule: &Value) -> Value {
    json!({ "redis": { "timeout": TIMEOUT }, "breaker": { "slow_call": TIMEOUT }, "rules": [rule] })
}

fn own_rule(peer: Peer) -> Option<Value> {
    let mut rule = json!({
        "name": "bench",
        "key": [{ "header": "x-api-key" }],
        "limit": { "requests": HOURLY, "per": "1h" },
        "on_failure": "allow",
    });
    match peer {
        Peer::Strict | Peer::Open => {}
        Peer::Leased => rule["lease"] = json!({ "max": 1000, "ttl": "100ms" }),
        Peer::Refused => {
            rule["limit"] = json!({ "requests": REFUSED_RPS as u64, "per": "1s", "burst": 1 });
        }
        _ => return None,
    }
    Some(rule)
}

/// The filter in the place of ours.
fn filter(peer: Peer, dir: &Path) -> Option<Value> {
    let (name, config) = match peer {
        Peer::Empty => (
            "wasm",
            json!({
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "name": "empty",
                    "vm_config": {
                        "runtime": "envoy.wasm.runtime.v8",
                        "code": { "local": { "filename": dir.join("empty.wasm") } },
                    },
                },
            }),
        ),
        Peer::Local => (
            "local_ratelimit",
            json!({
                "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
                "stat_prefix": "bench",
                "token_bucket": { "max_tokens": HOURLY, "tokens_per_fill": HOURLY, "fill_interval": "3600s" },
                "filter_enabled": { "default_value": { "numerator": 100 } },
                "filter_enforced": { "default_value": { "numerator": 100 } },
                "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
            }),
        ),
        Peer::Ratelimit | Peer::Limitador => (
            "ratelimit",
            json!({
                "@type": "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit",
                "domain": DOMAIN,
                "timeout": TIMEOUT,
                "failure_mode_deny": true,
                "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
                "rate_limit_service": {
                    "transport_api_version": "V3",
                    "grpc_service": { "envoy_grpc": { "cluster_name": "limiter" } },
                },
            }),
        ),
        _ => return None,
    };
    Some(json!({ "name": format!("envoy.filters.http.{name}"), "typed_config": config }))
}

fn remove_access_log(tree: &mut Value) {
    if let Ok(Value::Object(manager)) = connection_manager(tree) {
        manager.remove("access_log");
    }
}

fn tweak(tree: &mut Value, filter: Option<&Value>, service: SocketAddr) {
    remove_access_log(tree);
    if let Ok(proxy) = redis_proxy(tree) {
        proxy["settings"]["op_timeout"] = json!("1.1s");
    }
    // What is missing here shows at once: the answers are not the peer's.
    let (Some(filter), Ok(manager)) = (filter, connection_manager(tree)) else {
        return;
    };
    if let Some(filters) = manager["http_filters"].as_array_mut() {
        filters.insert(0, filter.clone());
    }
    if filter["name"] == "envoy.filters.http.ratelimit" {
        let action = json!({ "header_name": "x-api-key", "descriptor_key": ENTRY });
        manager["route_config"]["virtual_hosts"][0]["rate_limits"] =
            json!([{ "actions": [{ "request_headers": action }] }]);
        add_cluster(tree, limiter(service));
    }
}

fn limiter(service: SocketAddr) -> Value {
    let address = json!({ "address": service.ip(), "port_value": service.port() });
    let endpoint = json!({ "endpoint": { "address": { "socket_address": address } } });
    json!({
        "name": "limiter",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        },
        "load_assignment": {
            "cluster_name": "limiter",
            "endpoints": [{ "lb_endpoints": [endpoint] }],
        },
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use velocitygate::config::Config;

    use super::*;
    use crate::stack::{Stack, ports};

    /// The service itself is an optional tool; without it the filter has to refuse.
    #[tokio::test]
    async fn envoy_asks_the_limiter_service_of_a_peer() {
        let dir = tempfile::tempdir().unwrap();
        let nobody = ports::free().unwrap();
        let spec = spec(Peer::Ratelimit, dir.path(), nobody).unwrap();
        let stack = Stack::start(spec).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http
            .get(stack.envoys()[0].front_url())
            .header("x-api-key", "a");
        assert_eq!(request.send().await.unwrap().status(), 500);
        assert_eq!(stack.upstream().hits(), 0);
        stack.stop().await.unwrap();
    }

    #[test]
    fn every_own_rule_is_one_that_the_filter_takes() {
        for peer in [Peer::Strict, Peer::Leased, Peer::Refused, Peer::Open] {
            let document = plugin(&own_rule(peer).unwrap());
            Config::parse(document.to_string().as_bytes()).unwrap();
        }
    }

    #[test]
    fn only_a_peer_of_ours_has_our_module() {
        let dir = tempfile::tempdir().unwrap();
        let service = (Ipv4Addr::LOCALHOST, 1).into();
        for (peer, ours) in [
            (Peer::None, false),
            (Peer::Empty, false),
            (Peer::Strict, true),
        ] {
            let spec = spec(peer, dir.path(), service).unwrap();
            assert_eq!(spec.module.is_some(), ours, "{peer}");
        }
        assert!(dir.path().join("empty.wasm").is_file());
    }
}
