//! What clients are told, those that pass and those that are refused.

use std::time::Duration;

use axum::http::{Request, Response};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use velocitygate_chaos::stack::KEY_HEADER;

use crate::common::{PATIENT, Running, Seen, rule, with};

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
