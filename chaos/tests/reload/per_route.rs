//! Limits by route: an instance of the filter for each set of rules, turned on by routes; or rules
//! that look at the name of the route.

use serde_json::{Value, json};
use velocitygate_chaos::stack::envoy_config::connection_manager;
use velocitygate_chaos::stack::{EnvoyVersion, Spec};
use velocitygate_chaos::tools::repository;

use crate::common::{PATIENT, Running, Seen, rule, tweak, with};
use crate::versions::on_both_envoys;

/// Statuses, and the rules that the answer tells of.
async fn ask(running: &Running, path: &str, key: &str) -> (u16, Vec<String>) {
    let seen = Seen::of(running.get(path, key)).await;
    let lines = seen.headers.get_all("ratelimit").iter();
    let rules = lines.map(|line| line.to_str().unwrap().split('"').nth(1).unwrap().to_owned());
    (seen.status, rules.collect())
}

/// The rules are the file's own, but for this: nothing refills during a test.
fn by_the_file(spec: &mut Spec, version: EnvoyVersion) {
    spec.config = repository().join("envoy/per-route.yaml");
    spec.envoy = version;
    let timeout = format!("{PATIENT}ms");
    spec.plugin = json!({ "redis": { "timeout": timeout }, "breaker": "off" });
    tweak(spec, |tree| {
        let manager = connection_manager(tree).unwrap();
        for filter in manager["http_filters"].as_array_mut().unwrap() {
            let Some(text) = filter.pointer_mut("/typed_config/config/configuration/value") else {
                continue;
            };
            let before = text.as_str().unwrap();
            let after = before.replace(r#""per":"1m""#, r#""per":"366d""#);
            assert_ne!(after, before);
            *text = json!(after);
        }
    });
}

async fn routes_have_the_rules_that_they_turn_on(version: EnvoyVersion) {
    let running = Running::start(PATIENT, json!(null), |spec| {
        by_the_file(spec, version);
    })
    .await;
    let told =
        |status: u16, rules: &[&str]| (status, rules.iter().map(|it| (*it).to_owned()).collect());
    for _ in 0..5 {
        assert_eq!(ask(&running, "/login", "any").await, told(200, &["login"]));
    }
    assert_eq!(
        ask(&running, "/login", "other").await,
        told(429, &["login"])
    );
    for _ in 0..12 {
        assert_eq!(ask(&running, "/health", "a").await, told(200, &[]));
    }
    // Two instances: the answer tells of both, whichever refuses.
    for _ in 0..2 {
        let (status, mut rules) = ask(&running, "/upload", "a").await;
        rules.sort();
        assert_eq!((status, rules), told(200, &["api", "upload"]));
    }
    let (status, mut rules) = ask(&running, "/upload", "a").await;
    rules.sort();
    assert_eq!((status, rules), told(429, &["api", "upload"]));
    // The refused one was charged by the first instance, which could not know: 3 of 10 are gone.
    for _ in 0..7 {
        assert_eq!(ask(&running, "/data", "a").await, told(200, &["api"]));
    }
    assert_eq!(ask(&running, "/data", "a").await, told(429, &["api"]));
    assert_eq!(ask(&running, "/data", "b").await, told(200, &["api"]));
    let sample = running.sample().await;
    assert_eq!(sample.vm_reloads, 0);
    assert_eq!(sample.requests["upload"]["denied"], 1);
}

/// Where two instances tell of limits in fields of one value, the tighter is told: of a refusal the
/// one that refused.
async fn of_two_instances_the_one_that_leaves_less_is_told(version: EnvoyVersion) {
    let running = Running::start(PATIENT, json!(null), |spec| {
        by_the_file(spec, version);
        spec.plugin["headers"] = json!(["x-ratelimit"]);
    })
    .await;
    let ask = async |path: &str| {
        let seen = Seen::of(running.get(path, "a")).await;
        let [limit, left] =
            ["limit", "remaining"].map(|it| seen.header(&format!("x-ratelimit-{it}")).to_owned());
        (seen.status, limit, left)
    };
    let told = |status: u16, limit: &str, left: &str| (status, limit.to_owned(), left.to_owned());
    assert_eq!(ask("/upload").await, told(200, "2", "1"));
    assert_eq!(ask("/upload").await, told(200, "2", "0"));
    assert_eq!(ask("/upload").await, told(429, "2", "0"));
    assert_eq!(ask("/data").await, told(200, "10", "6"));
}

/// Two routes of these names, and one without.
fn name_routes(tree: &mut Value) {
    let hosts = &mut connection_manager(tree).unwrap()["route_config"]["virtual_hosts"];
    let every = hosts[0]["routes"][0].clone();
    let route = |name: &str| {
        let named = json!({ "name": name, "match": { "prefix": format!("/{name}") } });
        with(every.clone(), named)
    };
    hosts[0]["routes"] = json!([route("login"), route("api"), every]);
}

async fn a_rule_can_look_at_the_name_of_the_route(version: EnvoyVersion) {
    let on_route = |name: &str, requests: u64| {
        let property = json!([{ "path": ["xds", "route_name"], "exact": name }]);
        with(
            rule(name, requests),
            json!({ "match": { "property": property } }),
        )
    };
    let rules = json!([on_route("login", 1), on_route("api", 2)]);
    let running = Running::start(PATIENT, rules, |spec| {
        spec.envoy = version;
        tweak(spec, name_routes);
    })
    .await;
    let mut statuses = Vec::new();
    for path in [
        "/login", "/login", "/api", "/api", "/api", "/other", "/other", "/other",
    ] {
        statuses.push(ask(&running, path, "a").await.0);
    }
    assert_eq!(statuses, [200, 429, 200, 200, 429, 200, 200, 200]);
}

on_both_envoys![
    routes_have_the_rules_that_they_turn_on,
    of_two_instances_the_one_that_leaves_less_is_told,
    a_rule_can_look_at_the_name_of_the_route
];
