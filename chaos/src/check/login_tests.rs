//! Clusters by which no call succeeds, or a call tells too much, each so in the shipped configuration.

use serde_json::{Value, json};

use super::wiring_tests::{
    BRIDGE, Mistake, assert_no_warning, assert_warning_of_each, leads_by_tcp,
};

const BLIND: &str = "static_resources.clusters: TLS of \"redis\" takes the certificate of anybody ";
const COPY: &str = "copy validation_context from envoy/tls.yaml";

const MISTAKES: [Mistake; 13] = [
    (
        |t| own(t)["type"] = json!("STRICT_DNS"),
        "static_resources.clusters: \"velocitygate_redis\" leads to the bridge, which has no name ",
        "so every call would fail: take its type out",
    ),
    (
        |t| own(t)["type"] = json!("LOGICAL_DNS"),
        "static_resources.clusters: \"velocitygate_redis\" leads to the bridge, which has no name ",
        "take its type out",
    ),
    (
        |t| own(t)["http2ProtocolOptions"] = json!({}),
        "static_resources.clusters: \"velocitygate_redis\" leads to the bridge, which speaks HTTP/1.1",
        "take http2_protocol_options out",
    ),
    (
        |t| speaks(t, "http2_protocol_options"),
        "static_resources.clusters: \"velocitygate_redis\" leads to the bridge, which speaks HTTP/1.1",
        "take http2_protocol_options out",
    ),
    (
        |t| own(t)["transport_socket"] = tls(json!({})),
        "static_resources.clusters: \"velocitygate_redis\" leads to the bridge, which speaks no TLS, ",
        "or move it to the cluster of Redis (envoy/tls.yaml)",
    ),
    (
        |t| logs_in(own(t)),
        "static_resources.clusters: \"velocitygate_redis\" leads to the bridge, which wants no login",
        "move auth_password to the cluster of Redis (envoy/tls.yaml)",
    ),
    (
        |t| {
            leads_by_tcp(t, json!({ "cluster": "redis" }));
            logs_in(store(t));
        },
        "static_resources.listeners: tcp_proxy sends no login, but \"redis\" has an auth_password, ",
        "put redis_proxy in its place (envoy/tls.yaml)",
    ),
    (
        |t| {
            let proxy = &mut t.pointer_mut(BRIDGE).unwrap()["filter_chains"][0]["filters"][1];
            proxy["typed_config"]["downstream_auth_passwords"] = json!([{ "inline_string": "x" }]);
        },
        "static_resources.listeners: downstream_auth_passwords makes redis_proxy ask the filter ",
        "what Redis asks for is auth_password (envoy/tls.yaml)",
    ),
    (
        |t| store(t)["transport_socket"] = tls(json!({})),
        BLIND,
        COPY,
    ),
    (
        |t| {
            let validation = json!({ "trusted_ca": { "filename": "/etc/redis-ca.pem" },
                                     "trust_chain_verification": "ACCEPT_UNTRUSTED" });
            validates(t, validation);
        },
        BLIND,
        COPY,
    ),
    // Envoy knows the field, and does nothing with it.
    (
        |t| validates(t, json!({ "system_root_certs": {} })),
        BLIND,
        COPY,
    ),
    (
        |t| {
            validates(
                t,
                json!({ "trusted_ca": { "filename": "/etc/ssl/certs/ca-certificates.crt" } }),
            )
        },
        "static_resources.clusters: TLS of \"redis\" trusts public authorities and asks for no name",
        "copy match_typed_subject_alt_names from envoy/tls.yaml",
    ),
    (
        |t| {
            let socket = tls(json!({ "commonTlsContext": { "validationContext": {
                "trustedCa": { "filename": "/etc/pki/tls/certs/ca-bundle.crt" } } } }));
            store(t)["transport_socket_matches"] = json!([{ "transport_socket": socket }]);
        },
        "static_resources.clusters: TLS of \"redis\" trusts public authorities and asks for no name",
        "copy match_typed_subject_alt_names from envoy/tls.yaml",
    ),
];

const VARIATIONS: [fn(&mut Value); 12] = [
    |t| own(t)["type"] = json!("STATIC"),
    |t| speaks(t, "http_protocol_options"),
    |t| logs_in(store(t)),
    // Whoever has such an authority may have it sign for Redis alone.
    |t| {
        validates(
            t,
            json!({ "trusted_ca": { "filename": "/etc/redis-ca.pem" } }),
        )
    },
    // Where a system keeps public authorities, others may lie, too.
    |t| {
        let file = "/etc/ssl/certs/redis-ca.pem";
        validates(t, json!({ "trusted_ca": { "filename": file } }));
    },
    |t| {
        let file = "/usr/local/share/ca-certificates/redis-ca-bundle.crt";
        validates(t, json!({ "trusted_ca": { "filename": file } }));
    },
    |t| {
        let proxy = &mut t.pointer_mut(BRIDGE).unwrap()["filter_chains"][0]["filters"][1];
        proxy["typed_config"]["downstream_auth_passwords"] = json!([]);
    },
    |t| {
        let name = json!({ "san_type": "DNS", "matcher": { "exact": "redis.test" } });
        validates(
            t,
            json!({ "trusted_ca": { "filename": "/etc/ssl/certs/ca-certificates.crt" },
                    "match_typed_subject_alt_names": [name] }),
        );
    },
    |t| validates(t, json!({ "verify_certificate_spki": ["pin"] })),
    |t| {
        let context = json!({ "validation_context_sds_secret_config": { "name": "ca" } });
        store(t)["transport_socket"] = tls(json!({ "common_tls_context": context }));
    },
    |t| {
        let default = json!({ "trusted_ca": { "filename": "/etc/redis-ca.pem" } });
        let context = json!({ "combined_validation_context": {
            "default_validation_context": default,
            "validation_context_sds_secret_config": { "name": "names" } } });
        store(t)["transport_socket"] = tls(json!({ "common_tls_context": context }));
    },
    // To a service, not to Redis.
    |t| t["static_resources"]["clusters"][2]["transport_socket"] = tls(json!({})),
];

#[test]
fn a_cluster_by_which_no_call_succeeds_or_one_tells_too_much_is_a_warning_with_the_fix() {
    assert_warning_of_each(&MISTAKES);
}

#[test]
fn what_redis_and_envoy_know_each_other_by_is_no_mistake() {
    assert_no_warning(&VARIATIONS);
}

fn own(tree: &mut Value) -> &mut Value {
    &mut tree["static_resources"]["clusters"][0]
}

fn store(tree: &mut Value) -> &mut Value {
    &mut tree["static_resources"]["clusters"][1]
}

fn speaks(tree: &mut Value, protocol: &str) {
    let options = json!({ "explicit_http_config": { protocol: {} } });
    own(tree)["typed_extension_protocol_options"] = json!({ "http": options });
}

fn logs_in(cluster: &mut Value) {
    let login = json!({ "auth_password": { "inline_string": "x" } });
    cluster["typed_extension_protocol_options"] =
        json!({ "envoy.filters.network.redis_proxy": login });
}

fn validates(tree: &mut Value, validation: Value) {
    let context = json!({ "common_tls_context": { "validation_context": validation } });
    store(tree)["transport_socket"] = tls(context);
}

fn tls(context: Value) -> Value {
    let mut context = context;
    context["@type"] =
        json!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext");
    json!({ "name": "envoy.transport_sockets.tls", "typed_config": context })
}
