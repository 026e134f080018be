//! Limits on real Envoy and real Redis: how many pass, who is counted, what the refused are told.

mod common;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::http::{Request, Response};
use common::{PATIENT, Running, Seen, client, eventually, rule, with};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use velocitygate_chaos::observe::EnvoySample;
use velocitygate_chaos::stack::{EnvoyVersion, KEY_HEADER};

/// The statuses of `count` equal requests, one after the other.
async fn statuses(running: &Running, path: &str, key: &str, count: usize) -> Vec<u16> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(Seen::of(running.get(path, key)).await.status);
    }
    all
}

const BURST: f64 = 100.0;
const RATE: f64 = 100.0;

/// An admitted request: when it was sent and when its answer was there, in seconds.
type Span = (f64, f64);

/// What one client of the excess load saw.
struct Tally {
    admitted: Vec<Span>,
    refused: u64,
}

/// One connection's share of the excess load, at most 100 requests a second.
async fn press(http: Client, url: String, start: Instant) -> Tally {
    let mut tally = Tally {
        admitted: Vec::new(),
        refused: 0,
    };
    let mut pace = tokio::time::interval(Duration::from_millis(10));
    while start.elapsed() < Duration::from_secs(3) {
        pace.tick().await;
        let sent = start.elapsed().as_secs_f64();
        let seen = Seen::of(http.get(&url).header(KEY_HEADER, "hot")).await;
        match seen.status {
            200 => tally.admitted.push((sent, start.elapsed().as_secs_f64())),
            429 => tally.refused += 1,
            other => panic!("unexpected status {other}"),
        }
    }
    tally
}

/// The interval that admitted the most above `BURST + RATE × length`, by how much.
///
/// Redis charged an admitted request at some instant between its sending and its answer. So those
/// sent no earlier than `a` and answered no later than `b` were surely charged in [a, b]: counting
/// only them can hide an excess of a latency's length, and can invent none. The worst interval
/// begins with a sending and ends with an answer.
fn worst_excess(admitted: &[Span]) -> f64 {
    let mut worst = f64::NEG_INFINITY;
    for &(begin, _) in admitted {
        let within = admitted.iter().filter(|(sent, _)| *sent >= begin);
        let mut ends: Vec<f64> = within.map(|(_, answered)| *answered).collect();
        ends.sort_by(f64::total_cmp);
        for (index, end) in ends.iter().enumerate() {
            worst = worst.max((index + 1) as f64 - BURST - RATE * (end - begin));
        }
    }
    worst
}

async fn two_envoys_with_two_workers_keep_one_limit(version: EnvoyVersion) {
    let rules = json!([{
        "name": "per-key", "key": [{ "header": KEY_HEADER }],
        "limit": { "requests": RATE as u64, "per": "1s", "burst": BURST as u64 },
    }]);
    let running = Running::start(PATIENT, rules, |spec| {
        (spec.envoys, spec.workers, spec.envoy) = (2, 2, version);
    })
    .await;
    let start = Instant::now();
    let mut load = JoinSet::new();
    for envoy in running.envoys() {
        for _ in 0..6 {
            load.spawn(press(client(), envoy.front_url() + "/", start));
        }
    }
    // Meanwhile a second key has all of its own.
    for _ in 0..5 {
        let calm = statuses(&running, "/", "calm", 4).await;
        assert_eq!(calm, [200; 4]);
    }
    let tallies = load.join_all().await;
    let refused: u64 = tallies.iter().map(|tally| tally.refused).sum();
    let admitted: Vec<Span> = tallies.into_iter().flat_map(|t| t.admitted).collect();
    let last_sent = admitted.iter().map(|(sent, _)| *sent).fold(0.0, f64::max);

    // Redis's clock may be slewed against ours by up to 0.05 %.
    let drift = 0.001 * RATE * last_sent;
    let excess = worst_excess(&admitted);
    assert!(excess <= drift, "{excess} requests above the limit");
    let due = BURST + RATE * last_sent;
    let share = admitted.len() as f64 / due;
    assert!(share >= 0.95, "{} admitted of {due}", admitted.len());
    assert!(refused > admitted.len() as u64 / 2, "no excess: {refused}");
    let admitted = admitted.len() as u64;
    assert_eq!(running.upstream().hits_of("/", "hot"), admitted);
    eventually("the filters count what the clients saw", async || {
        let mut counts = (0, 0);
        for envoy in running.envoys() {
            let sample = EnvoySample::take(&running.http, envoy).await.unwrap();
            counts.0 += sample.requests["per-key"]["allowed"];
            counts.1 += sample.requests["per-key"]["denied"];
        }
        counts == (admitted + 20, refused)
    })
    .await;
}

#[tokio::test]
async fn i1_two_envoys_with_two_workers_each_never_admit_more_than_the_limit_in_any_interval() {
    two_envoys_with_two_workers_keep_one_limit(EnvoyVersion::Newest).await;
}

#[tokio::test]
async fn i1_the_oldest_envoy_never_admits_more_than_the_limit_in_any_interval() {
    two_envoys_with_two_workers_keep_one_limit(EnvoyVersion::Oldest).await;
}

#[test]
fn the_worst_interval_is_found_and_doubt_counts_for_the_filter() {
    let at_once: Vec<Span> = (0..102).map(|_| (1.0, 1.0)).collect();
    assert_eq!(worst_excess(&at_once), 2.0);
    // Any of these may have been charged 1 s later than another, when 100 more were due.
    let in_doubt: Vec<Span> = (0..102).map(|_| (1.0, 2.0)).collect();
    assert_eq!(worst_excess(&in_doubt), -98.0);
}

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
    assert!(limits.contains("\"all\";r=8;"), "{limits}");
    assert!(limits.starts_with("\"own\";r=0;"), "{limits}");
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

#[tokio::test]
async fn the_refused_are_told_why_and_when_to_come_back() {
    let minute = json!({ "limit": { "requests": 1, "per": "1h" } });
    let rules = json!([with(rule("told", 1), minute)]);
    let running = Running::start(PATIENT, rules, |spec| {
        spec.plugin["headers"] = json!(["ratelimit", "x-ratelimit", "retry-after"]);
    })
    .await;
    let passed = Seen::of(running.get("/told/", "a")).await;
    assert_eq!((passed.status, passed.body.as_str()), (200, "ok\n"));
    assert_eq!(passed.header("ratelimit-policy"), "\"told\";q=1;w=3600");
    assert!(passed.header("ratelimit").starts_with("\"told\";r=0;t="));
    assert_eq!(passed.header("x-ratelimit-limit"), "1");
    assert_eq!(passed.header("x-ratelimit-remaining"), "0");
    assert!(!passed.headers.contains_key("retry-after"));

    let refused = Seen::of(running.get("/told/", "a")).await;
    let retry: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=3600).contains(&retry), "{retry}");
    assert_eq!(refused.header("x-ratelimit-reset"), retry.to_string());
    let limits = refused.header("ratelimit");
    assert_eq!(limits, format!("\"told\";r=0;t={retry}"));
    assert_eq!(refused.header("ratelimit-policy"), "\"told\";q=1;w=3600");
    assert_eq!(refused.header("x-envoy-ratelimited"), "true");
    assert_eq!(refused.header("content-type"), "application/problem+json");
    let body: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!((refused.status, &body["status"]), (429, &json!(429)));
    assert_eq!(body["violated-policies"], json!(["told"]));
    assert!(body["type"].as_str().is_some_and(|uri| !uri.is_empty()));
    assert!(
        body["title"]
            .as_str()
            .is_some_and(|title| !title.is_empty())
    );
    assert_eq!(running.upstream().hits(), 1);
}

#[tokio::test]
async fn a_refused_head_request_has_the_headers_and_no_body() {
    let running = Running::start(PATIENT, json!([rule("head", 1)]), |_| ()).await;
    let url = running.envoys()[0].front_url() + "/head/";
    // The second refusal would find the body of the first, if there were one, on its connection.
    for status in [200, 429, 429] {
        let request = running.http.head(&url).header(KEY_HEADER, "a");
        let seen = Seen::of(request).await;
        assert_eq!((seen.status, seen.body.as_str()), (status, ""));
        assert!(seen.has_limits());
    }
}

/// A gRPC call without a message, over HTTP/2 on a connection of its own: the head of the answer,
/// and whether that is all of it.
async fn grpc_call(running: &Running, path: &str) -> (Response<()>, bool) {
    let front = running.envoys()[0].ports().front;
    let connection = TcpStream::connect(front).await.unwrap();
    let (mut calls, connection) = h2::client::handshake(connection).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post(running.envoys()[0].front_url() + path)
        .header("content-type", "application/grpc+proto")
        .header(KEY_HEADER, "a")
        .body(())
        .unwrap();
    let (answer, _) = calls.send_request(request, true).unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(10), answer);
    let (head, body) = answer.await.expect("an answer").unwrap().into_parts();
    connection.abort();
    (Response::from_parts(head, ()), body.is_end_stream())
}

#[tokio::test]
async fn a_refused_grpc_request_is_told_by_its_grpc_status() {
    let rules = json!([
        rule("limit", 1),
        with(rule("closed", 1), json!({ "on_failure": "deny" })),
    ]);
    let running = Running::start(PATIENT, rules, |_| ()).await;
    let (passed, _) = grpc_call(&running, "/limit/").await;
    assert!(!passed.headers().contains_key("grpc-status"));
    let (refused, is_all) = grpc_call(&running, "/limit/").await;
    let fields = refused.headers();
    assert!(refused.status() == 200 && is_all, "{refused:?}");
    assert_eq!(fields["grpc-status"], "8");
    assert_eq!(fields["content-type"], "application/grpc");
    assert!(fields.contains_key("retry-after") && fields.contains_key("ratelimit"));

    running.redis().kill().await.unwrap();
    let (unavailable, is_all) = grpc_call(&running, "/closed/").await;
    let fields = unavailable.headers();
    assert!(unavailable.status() == 200 && is_all, "{unavailable:?}");
    assert_eq!(fields["grpc-status"], "14");
    assert_eq!(fields["x-velocitygate"], "unavailable");
    assert!(!fields.contains_key("ratelimit"));
    assert_eq!(running.upstream().hits(), 1);
}
