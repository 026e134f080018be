//! Which requests a rule counts, under which key, and for how much.

use std::net::{IpAddr, Ipv4Addr};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use velocitygate_chaos::stack::KEY_HEADER;

use crate::common::{PATIENT, Running, Seen, eventually, rule, with};
use crate::statuses;

#[tokio::test]
async fn several_rules_charge_all_of_them_or_none() {
    let every = |name: &str, key: Value, requests: u64| json!({ "name": name, "key": key, "limit": { "requests": requests, "per": "366d" } });
    let rules = json!([
        every("all", json!([{ "value": "all" }]), 10),
        every("own", json!([{ "header": KEY_HEADER }]), 2),
    ]);
    let running = Running::start(PATIENT, rules, |_| ()).await;
    assert_eq!(
        statuses(&running, "/", "alice", 4).await,
        [200, 200, 429, 429]
    );
    let refused = Seen::of(running.get("/", "alice")).await;
    assert_eq!(refused.status, 429);
    let limits = refused.header("ratelimit");
    // Known without asking again; how the other rule stands is not.
    assert!(limits.starts_with("\"own\";r=0;"), "{limits}");
    assert!(!limits.contains("\"all\""), "{limits}");
    let body: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!(body["violated-policies"], json!(["own"]));
    let other = Seen::of(running.get("/", "bob")).await;
    let limits = other.header("ratelimit");
    assert_eq!(other.status, 200);
    assert!(limits.contains("\"all\";r=7;"), "{limits}");
}

#[tokio::test]
async fn a_rule_counts_only_requests_that_pass_all_its_tests() {
    let rules = json!([{
        "name": "narrow", "limit": { "requests": 1, "per": "366d" },
        "match": { "methods": ["GET"], "hosts": ["api.example.com", "*.example.org"],
                   "path": { "prefix": "/api/" }, "headers": [{ "name": "x-plan", "exact": "free" }] },
    }]);
    let running = Running::start(PATIENT, rules, |_| ()).await;
    let send = async |method: &str, host: &str, path: &str, plan: &str| {
        let url = running.envoys()[0].front_url() + path;
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = running.http.request(method, url);
        Seen::of(request.header("host", host).header("x-plan", plan)).await
    };
    for (method, host, path, plan) in [
        ("POST", "api.example.com", "/api/x", "free"),
        ("GET", "www.example.com", "/api/x", "free"),
        ("GET", "example.org", "/api/x", "free"),
        ("GET", "api.example.com", "/v2/api/x", "free"),
        ("GET", "api.example.com", "/api/x", "gold"),
    ] {
        for _ in 0..2 {
            let seen = send(method, host, path, plan).await;
            assert_eq!(seen.status, 200, "{method} {host} {path} {plan}");
            assert!(!seen.has_limits());
        }
    }
    let first = send("GET", "API.example.com:80", "/api/x?y=z", "free").await;
    assert!(first.status == 200 && first.has_limits());
    let second = send("GET", "a.b.example.org", "/x/../api/y", "free").await;
    assert_eq!(second.status, 429);
}

#[tokio::test]
async fn each_kind_of_key_counts_apart_what_differs_in_it() {
    let one = |name: &str, part: Value| with(rule(name, 1), json!({ "key": [part] }));
    let rules = json!([
        one("ip", json!({ "client_ip": { "v4": 32, "v6": 64 } })),
        one("net", json!({ "client_ip": { "v4": 24, "v6": 64 } })),
        one("method", json!({ "method": true })),
        one("host", json!({ "host": true })),
        one("path", json!({ "path": true })),
        one("header", json!({ "header": KEY_HEADER })),
        one("value", json!({ "value": "fixed" })),
    ]);
    let running = Running::start(PATIENT, rules, |_| ()).await;
    let neighbour = Client::builder()
        .local_address(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)))
        .no_proxy()
        .build()
        .unwrap();
    let url = |path: &str| running.envoys()[0].front_url() + path;
    let get = |path: &str| running.http.get(url(path)).header(KEY_HEADER, "a");
    // A request, one that differs in the key, and whether that one is counted apart.
    for (first, other, apart) in [
        (get("/ip/"), neighbour.get(url("/ip/")), true),
        (get("/net/"), neighbour.get(url("/net/")), false),
        (
            get("/method/"),
            running.http.post(url("/method/")).header(KEY_HEADER, "a"),
            true,
        ),
        (
            get("/host/"),
            get("/host/").header("host", "other.example"),
            true,
        ),
        (get("/path/a"), get("/path/b"), true),
        (get("/path/c"), get("/path/c?query=is-no-part"), false),
        (
            get("/header/"),
            running.http.get(url("/header/")).header(KEY_HEADER, "b"),
            true,
        ),
        (
            get("/value/"),
            running
                .http
                .post(url("/value/x"))
                .header(KEY_HEADER, "another"),
            false,
        ),
    ] {
        let again = first.try_clone().unwrap();
        let what = format!("{other:?}");
        assert_eq!(Seen::of(first).await.status, 200, "{what}");
        assert_eq!(Seen::of(again).await.status, 429, "{what}");
        let expected = if apart { 200 } else { 429 };
        assert_eq!(Seen::of(other).await.status, expected, "{what}");
    }
}

#[tokio::test]
async fn a_request_without_its_key_is_shared_skipped_or_refused() {
    let rules = json!([
        with(rule("share", 1), json!({ "missing_key": "share" })),
        with(rule("skip", 1), json!({ "missing_key": "skip" })),
        with(rule("deny", 1), json!({ "missing_key": "deny" })),
    ]);
    let running = Running::start(PATIENT, rules, |_| ()).await;
    for (path, expected) in [
        ("/share/", [200, 429]),
        ("/skip/", [200, 200]),
        ("/deny/", [429, 429]),
    ] {
        let url = running.envoys()[0].front_url() + path;
        for status in expected {
            let seen = Seen::of(running.http.get(&url)).await;
            assert_eq!(seen.status, status, "{path}");
            assert!(path != "/skip/" || !seen.has_limits());
        }
        let with_key = statuses(&running, path, "alice", 2).await;
        assert_eq!(with_key, [200, 429], "{path}");
    }
}

#[tokio::test]
async fn a_shadow_rule_counts_what_it_would_refuse_and_refuses_nothing() {
    let rules = json!([with(rule("shadow", 2), json!({ "shadow": true }))]);
    let running = Running::start(PATIENT, rules, |_| ()).await;
    assert_eq!(statuses(&running, "/shadow/", "a", 5).await, [200; 5]);
    assert_eq!(running.upstream().hits(), 5);
    eventually("the shadow's decisions are counted", async || {
        let counts = running.sample().await.requests["shadow"].clone();
        (counts["allowed"], counts["shadow_denied"], counts["denied"]) == (2, 3, 0)
    })
    .await;
}

#[tokio::test]
async fn a_request_costs_what_its_rule_says() {
    let rules = json!([
        with(rule("cost", 7), json!({ "cost": 3 })),
        with(rule("look", 7), json!({ "cost": 0 })),
    ]);
    let running = Running::start(PATIENT, rules, |_| ()).await;
    for (status, remaining) in [(200, 4), (200, 1), (429, 1)] {
        let seen = Seen::of(running.get("/cost/", "a")).await;
        assert_eq!(seen.status, status);
        let limits = seen.header("ratelimit");
        assert!(
            limits.starts_with(&format!("\"cost\";r={remaining};")),
            "{limits}"
        );
    }
    for _ in 0..3 {
        let seen = Seen::of(running.get("/look/", "a")).await;
        assert!(seen.header("ratelimit").starts_with("\"look\";r=7;"));
    }
}
