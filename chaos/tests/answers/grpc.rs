//! gRPC: refusals are told by a status that its clients understand.

use serde_json::json;
use velocitygate_chaos::stack::EnvoyVersion;

use crate::common::{rule, with};
use crate::http2::Http2;
use crate::origin::Origin;
use crate::start;
use crate::versions::on_both_envoys;

const GRPC: &str = "application/grpc+proto";

async fn a_grpc_request_over_a_limit_gets_status_8_in_the_head_alone(version: EnvoyVersion) {
    let origin = Origin::start().await;
    let running = start(&origin, json!([rule("limit", 1)]), |spec| {
        spec.envoy = version
    })
    .await;
    let http2 = Http2::to(&running).await;
    let passed = http2.ask("/limit/", GRPC).await;
    assert!(!passed.seen.headers.contains_key("grpc-status"));
    assert!(passed.seen.has_limits());
    let refused = http2.ask("/limit/", GRPC).await;
    assert!(
        refused.head_only && refused.seen.status == 200,
        "{refused:?}"
    );
    assert_eq!(refused.seen.header("grpc-status"), "8");
    assert_eq!(refused.seen.header("content-type"), "application/grpc");
    assert_eq!(refused.seen.header("x-envoy-ratelimited"), "true");
    assert!(refused.seen.headers.contains_key("retry-after") && refused.seen.has_limits());
    assert_eq!(origin.hits(), 1);
}

async fn a_grpc_request_refused_because_redis_is_away_gets_status_14_in_the_head_alone(
    version: EnvoyVersion,
) {
    let origin = Origin::start().await;
    let rules = json!([with(rule("closed", 1), json!({ "on_failure": "deny" }))]);
    let running = start(&origin, rules, |spec| spec.envoy = version).await;
    running.redis().kill().await.unwrap();
    let refused = Http2::to(&running).await.ask("/closed/", GRPC).await;
    assert!(
        refused.head_only && refused.seen.status == 200,
        "{refused:?}"
    );
    assert_eq!(refused.seen.header("grpc-status"), "14");
    assert_eq!(refused.seen.header("x-velocitygate"), "unavailable");
    for field in [
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "x-envoy-ratelimited",
    ] {
        assert!(!refused.seen.headers.contains_key(field), "{field}");
    }
    assert_eq!(origin.hits(), 0);
}

async fn a_grpc_request_refused_by_a_local_bucket_gets_status_8_and_no_limits(
    version: EnvoyVersion,
) {
    let origin = Origin::start().await;
    let rules = json!([with(rule("local", 2), json!({ "on_failure": "local" }))]);
    let running = start(&origin, rules, |spec| spec.envoy = version).await;
    running.redis().kill().await.unwrap();
    let http2 = Http2::to(&running).await;
    let passed = http2.ask("/local/", GRPC).await;
    assert!(!passed.seen.headers.contains_key("grpc-status"));
    let refused = http2.ask("/local/", GRPC).await;
    assert!(
        refused.head_only && refused.seen.status == 200,
        "{refused:?}"
    );
    assert_eq!(refused.seen.header("grpc-status"), "8");
    assert_eq!(refused.seen.header("x-envoy-ratelimited"), "true");
    assert!(refused.seen.header("retry-after").parse::<u64>().unwrap() >= 1);
    for field in ["ratelimit", "ratelimit-policy", "x-velocitygate"] {
        assert!(!refused.seen.headers.contains_key(field), "{field}");
    }
    assert_eq!(origin.hits(), 1);
}

on_both_envoys![
    a_grpc_request_over_a_limit_gets_status_8_in_the_head_alone,
    a_grpc_request_refused_because_redis_is_away_gets_status_14_in_the_head_alone,
    a_grpc_request_refused_by_a_local_bucket_gets_status_8_and_no_limits,
];
