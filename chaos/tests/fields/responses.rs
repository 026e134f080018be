//! `response`: what the refused are told.

use serde_json::{Value, json};
use velocitygate_chaos::stack::KEY_HEADER;

use crate::common::{PATIENT, Running, Seen, rule, with};

fn refusing(name: &str, response: Value) -> Value {
    with(rule(name, 1), json!({ "response": response }))
}

#[tokio::test]
async fn the_refused_are_told_what_the_rule_says() {
    let rules = json!([
        refusing(
            "all",
            json!({ "status": 403, "body": "slow down", "headers": { "X-Reason": "limit" } })
        ),
        refusing("status", json!({ "status": 503 })),
        refusing("empty", json!({ "body": "" })),
        refusing(
            "typed",
            json!({ "body": "{}", "headers": { "content-type": "application/json" } })
        ),
        with(
            refusing("closed", json!({ "body": "slow down" })),
            json!({ "on_failure": "deny" })
        ),
    ]);
    let running = Running::start(PATIENT, rules, |_| ()).await;
    for (name, status, body, content_type) in [
        ("all", 403, Some("slow down"), "text/plain; charset=utf-8"),
        ("status", 503, None, "application/problem+json"),
        ("empty", 429, Some(""), ""),
        ("typed", 429, Some("{}"), "application/json"),
    ] {
        let path = format!("/{name}/");
        let passed = Seen::of(running.get(&path, "a")).await;
        assert_eq!(passed.status, 200, "{name}");
        assert!(!passed.headers.contains_key("x-reason"), "{name}");
        let seen = Seen::of(running.get(&path, "a")).await;
        assert_eq!(
            (seen.status, seen.header("content-type")),
            (status, content_type)
        );
        match body {
            Some(body) => assert_eq!(seen.body, body, "{name}"),
            None => {
                let problem: Value = serde_json::from_str(&seen.body).unwrap();
                assert_eq!(problem["status"], json!(status));
                assert_eq!(problem["violated-policies"], json!([name]));
            }
        }
        assert_eq!(seen.header("x-reason") == "limit", name == "all");
        assert_eq!(seen.header("x-envoy-ratelimited"), "true");
        assert!(seen.has_limits() && !seen.header("retry-after").is_empty());
        // The connection stays in step, with and without a body.
        let url = running.envoys()[0].front_url() + &path;
        let head = Seen::of(running.http.head(url).header(KEY_HEADER, "a")).await;
        assert_eq!((head.status, head.body.as_str()), (status, ""), "{name}");
    }
    running.redis().kill().await.unwrap();
    let unavailable = Seen::of(running.get("/closed/", "a")).await;
    assert_eq!(unavailable.status, 503);
    assert!(unavailable.body.contains("temporary-reduced-capacity"));
}

#[tokio::test]
async fn a_refused_grpc_request_keeps_its_status_and_gets_the_headers() {
    let response = json!({ "status": 403, "body": "no", "headers": { "x-reason": "limit" } });
    let running = Running::start(PATIENT, json!([refusing("grpc", response)]), |_| ()).await;
    let url = running.envoys()[0].front_url() + "/grpc/";
    let call = || {
        let request = running.http.post(&url).header(KEY_HEADER, "a");
        request.header("content-type", "application/grpc")
    };
    Seen::of(call()).await;
    let refused = Seen::of(call()).await;
    assert_eq!((refused.status, refused.header("grpc-status")), (200, "8"));
    assert_eq!(refused.header("content-type"), "application/grpc");
    assert_eq!(
        (refused.header("x-reason"), refused.body.as_str()),
        ("limit", "")
    );
}
