//! Mistakes by which Redis does not know Envoy, or Envoy does not know Redis: login and TLS.

use serde_json::Value;

use super::wiring::{Check, Wiring, find};
use crate::plugin::{each, field};

pub(super) const CHECKS: [Check; 4] = [unsent, asked, unverified, unnamed];

/// Ways to know a certificate without looking at who signed it, or that this file does not show.
const PINS: [&str; 4] = [
    "verify_certificate_spki",
    "verify_certificate_hash",
    "custom_validator_config",
    "validation_context_sds_secret_config",
];
const AUTHORITIES: [&str; 3] = [
    "trusted_ca",
    "ca_certificate_provider_instance",
    "validation_context_certificate_provider_instance",
];
const NAMES: [&str; 3] = [
    "match_typed_subject_alt_names",
    "match_subject_alt_names",
    "auto_sni_san_validation",
];
/// Files in which systems keep the authorities that sign for everybody.
const PUBLIC: [&str; 8] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/usr/local/etc/ssl/cert.pem",
];

/// `tcp_proxy` knows nothing of Redis.
fn unsent(wiring: &Wiring<'_>) -> Option<String> {
    let store = wiring.stores()?.find(|it| has_login(it))?;
    wiring.is_tcp().then(|| {
        format!(
            "static_resources.listeners: tcp_proxy sends no login, but {} has an auth_password, so \
             Redis would refuse every call: put redis_proxy in its place (envoy/tls.yaml)",
            store["name"]
        )
    })
}

/// The other side's password has a name that sounds alike.
fn asked(wiring: &Wiring<'_>) -> Option<String> {
    let mut names = ["downstream_auth_passwords", "downstream_auth_password"].into_iter();
    let bridge = wiring.bridge()?;
    let is_set = |name: &&str| find(bridge, name).is_some_and(|it| *it != Value::Array(vec![]));
    let name = names.find(is_set)?;
    Some(format!(
        "static_resources.listeners: {name} makes redis_proxy ask the filter for a login, so every \
         call would fail: take it out; what Redis asks for is auth_password (envoy/tls.yaml)"
    ))
}

/// Envoy encrypts, and does not ask with whom.
fn unverified(wiring: &Wiring<'_>) -> Option<String> {
    let mut stores = wiring.stores()?;
    let is_blind = |context: &Value| {
        let known = has_any(context, &AUTHORITIES) && !accepts_all(context);
        !known && !has_any(context, &PINS)
    };
    let store = stores.find(|it| tls(it).into_iter().any(is_blind))?;
    Some(format!(
        "static_resources.clusters: TLS of {} takes the certificate of anybody who stands between: \
         copy validation_context from envoy/tls.yaml",
        store["name"]
    ))
}

/// A public authority has signed a certificate of everybody.
fn unnamed(wiring: &Wiring<'_>) -> Option<String> {
    let mut stores = wiring.stores()?;
    let is_open = |context: &Value| {
        is_public(context) && !has_any(context, &NAMES) && !has_any(context, &PINS)
    };
    let store = stores.find(|it| tls(it).into_iter().any(is_open))?;
    Some(format!(
        "static_resources.clusters: TLS of {} trusts public authorities and asks for no name, so \
         anybody's certificate would do: copy match_typed_subject_alt_names from envoy/tls.yaml",
        store["name"]
    ))
}

fn is_public(context: &Value) -> bool {
    let file = find(context, "trusted_ca").and_then(|it| field(it, "filename"));
    file.is_some_and(|it| PUBLIC.iter().any(|public| it == public))
}

fn accepts_all(context: &Value) -> bool {
    find(context, "trust_chain_verification").is_some_and(|it| it == "ACCEPT_UNTRUSTED")
}

fn has_any(tree: &Value, names: &[&str]) -> bool {
    names.iter().any(|name| find(tree, name).is_some())
}

/// Whether a cluster has a login for Redis.
pub(super) fn has_login(cluster: &Value) -> bool {
    find(cluster, "auth_password").is_some()
}

/// The settings of a cluster's TLS.
pub(super) fn tls(tree: &Value) -> Vec<&Value> {
    let mut contexts = Vec::new();
    each("", tree, &mut |_, message| {
        let kind = message["@type"].as_str().unwrap_or_default();
        contexts.extend(kind.ends_with(".UpstreamTlsContext").then_some(message));
    });
    contexts
}
