//! What clients are told on every protocol that Envoy speaks, and that their requests arrive whole:
//! real Envoy and Redis, an upstream that sends back what it got.

mod bodies;
#[path = "../common/mod.rs"]
mod common;
mod counts;
mod grpc;
mod http1;
mod http2;
mod origin;
mod rows;
#[path = "../common/stat.rs"]
mod stat;
mod upgrades;
#[path = "../common/versions.rs"]
mod versions;
mod wire;

use common::{PATIENT, Running, tweak};
use origin::Origin;
use serde_json::{Value, json};
use velocitygate_chaos::stack::Spec;
use velocitygate_chaos::stack::envoy_config::{connection_manager, upstream_cluster};

/// A stack whose Envoy lets every protocol through to `origin`, and how many requests got there.
async fn start(origin: &Origin, rules: Value, change: impl FnOnce(&mut Spec)) -> Running {
    let address = origin.address();
    Running::start(PATIENT, rules, |spec| {
        change(spec);
        tweak(spec, move |tree| {
            let manager = connection_manager(tree).unwrap();
            manager["upgrade_configs"] = json!([{ "upgrade_type": "websocket" }]);
            manager["http2_protocol_options"]["allow_connect"] = json!(true);
            manager["http_protocol_options"] =
                json!({ "accept_http_10": true, "enable_trailers": true });
            let cluster = upstream_cluster(tree).unwrap();
            let endpoint = &mut cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0];
            endpoint["endpoint"]["address"]["socket_address"]["port_value"] =
                json!(address.port());
            cluster["typed_extension_protocol_options"] = json!({
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "use_downstream_protocol_config": {
                        "http_protocol_options": { "enable_trailers": true },
                        "http2_protocol_options": { "allow_connect": true },
                    },
                },
            });
        });
    })
    .await
}
