//! HTTP/1.0 and 1.1 as clients rarely speak it.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use velocitygate_chaos::stack::EnvoyVersion;

use crate::common::{Running, eventually, rule};
use crate::origin::Origin;
use crate::start;
use crate::versions::on_both_envoys;
use crate::wire::{Wire, request};

async fn decided(running: &Running, decision: &str, count: u64) {
    eventually("the filter counted", async || {
        running.sample().await.requests["one"][decision] == count
    })
    .await;
}

/// Not two refusals without a question to Redis between them: Envoy closes a connection on which
/// answers that filters give at once queue up ("Too many responses queued").
async fn pipelined_requests_are_answered_in_order_each_by_its_own_count(version: EnvoyVersion) {
    let origin = Origin::start().await;
    let running = start(&origin, json!([rule("one", 1)]), |spec| {
        spec.envoy = version
    })
    .await;
    let mut wire = Wire::to(&running).await;
    let asked = ["a", "a", "b", "b"].map(|key| request("GET /one/ HTTP/1.1", key, ""));
    wire.send(asked.concat() + &request("GET /free/ HTTP/1.1", "a", ""))
        .await;
    for status in [200, 429, 200, 429] {
        let seen = wire.answer().await;
        assert_eq!(seen.status, status);
        assert!(
            seen.header("ratelimit").starts_with("\"one\";r=0;"),
            "{seen:?}"
        );
    }
    let free = wire.answer().await;
    assert!(free.status == 200 && !free.has_limits(), "{free:?}");
    assert_eq!(origin.hits(), 3);
}

async fn http_1_0_is_limited_like_any_other_and_closed_after_its_answer(version: EnvoyVersion) {
    let origin = Origin::start().await;
    let running = start(&origin, json!([rule("one", 1)]), |spec| {
        spec.envoy = version
    })
    .await;
    for status in [200, 429] {
        let mut wire = Wire::to(&running).await;
        wire.send(request("GET /one/ HTTP/1.0", "a", "")).await;
        let seen = wire.answer().await;
        assert!(seen.status == status && seen.has_limits(), "{seen:?}");
        assert!(wire.closes().await);
    }
    assert_eq!(origin.hits(), 1);
}

/// Envoy takes the end of the client's sending for the end of the client. Nobody is left to
/// answer, and nothing is passed on; the connection is gone, the others do not notice.
async fn a_client_that_closes_its_half_while_it_waits_is_one_that_hung_up(version: EnvoyVersion) {
    let origin = Origin::start().await;
    let running = start(&origin, json!([rule("one", 5)]), |spec| {
        spec.envoy = version
    })
    .await;
    running.redis().freeze().await.unwrap();
    let mut wire = Wire::to(&running).await;
    wire.send(request("GET /one/ HTTP/1.1", "a", "")).await;
    eventually("it waits", async || running.sample().await.waiting == 1).await;
    wire.stream.shutdown().await.unwrap();
    assert!(wire.closes().await);
    eventually("nobody waits", async || running.sample().await.waiting == 0).await;
    running.redis().thaw().await.unwrap();
    let mut other = Wire::to(&running).await;
    other.send(request("GET /one/ HTTP/1.1", "b", "")).await;
    assert_eq!(other.answer().await.status, 200);
    assert_eq!(origin.hits(), 1);
    decided(&running, "allowed", 1).await;
}

async fn a_refused_head_request_has_the_headers_and_no_body_and_its_connection_goes_on(
    version: EnvoyVersion,
) {
    let origin = Origin::start().await;
    let running = start(&origin, json!([rule("one", 1)]), |spec| {
        spec.envoy = version
    })
    .await;
    let mut wire = Wire::to(&running).await;
    for status in [200, 429, 429] {
        wire.send(request("HEAD /one/ HTTP/1.1", "a", "")).await;
        let seen = wire.head().await;
        assert!(seen.status == status && seen.has_limits(), "{seen:?}");
        if status == 429 {
            assert_eq!(seen.header("content-type"), "application/problem+json");
            assert!(seen.headers.contains_key("retry-after"));
        }
    }
    // It would find the body of a refusal, if there were one, before its own.
    wire.send(request("GET /free/ HTTP/1.1", "a", "")).await;
    assert_eq!(wire.answer().await.status, 200);
    decided(&running, "denied", 2).await;
}

on_both_envoys![
    pipelined_requests_are_answered_in_order_each_by_its_own_count,
    http_1_0_is_limited_like_any_other_and_closed_after_its_answer,
    a_client_that_closes_its_half_while_it_waits_is_one_that_hung_up,
    a_refused_head_request_has_the_headers_and_no_body_and_its_connection_goes_on
];
