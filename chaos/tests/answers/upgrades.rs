//! Requests that are more than a request: WebSockets, and the CORS preflight before one.

use reqwest::Method;
use serde_json::json;
use velocitygate_chaos::stack::EnvoyVersion;

use crate::common::{Seen, rule, with};
use crate::http2::{self, Http2};
use crate::origin::Origin;
use crate::start;
use crate::versions::on_both_envoys;
use crate::wire::{Wire, request};

pub(crate) const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A text frame of a client: final, masked with zeros.
fn text_frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126);
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

async fn a_websocket_passes_when_admitted_works_both_ways_and_is_one_request(
    version: EnvoyVersion,
) {
    let origin = Origin::start().await;
    let running = start(&origin, json!([rule("ws", 1)]), |spec| spec.envoy = version).await;
    let mut admitted = Wire::to(&running).await;
    admitted
        .send(request("GET /ws/ HTTP/1.1", "a", UPGRADE))
        .await;
    let seen = admitted.head().await;
    assert_eq!((seen.status, seen.header("upgrade")), (101, "websocket"));
    assert!(
        seen.header("ratelimit").starts_with("\"ws\";r=0;"),
        "{seen:?}"
    );

    let mut refused = Wire::to(&running).await;
    refused
        .send(request("GET /ws/ HTTP/1.1", "a", UPGRADE))
        .await;
    let seen = refused.answer().await;
    assert!(seen.status == 429 && seen.has_limits(), "{seen:?}");
    assert_eq!(seen.header("content-type"), "application/problem+json");
    assert!(!seen.headers.contains_key("upgrade"));

    // What goes over the first one is no request, and is not counted.
    for text in ["hello", "again"] {
        admitted.send(text_frame(text)).await;
        let echo = admitted.bytes(2 + text.len()).await;
        assert_eq!(echo, [&[0x81, 5], text.as_bytes()].concat());
    }
    assert_eq!(origin.hits(), 1);
}

async fn a_websocket_on_http_2_passes_when_admitted_works_both_ways_and_is_one_request(
    version: EnvoyVersion,
) {
    let origin = Origin::start().await;
    let running = start(&origin, json!([rule("ws", 1)]), |spec| spec.envoy = version).await;
    let http2 = Http2::to(&running).await;
    let admitted = http2.connect("/ws/", "websocket").await;
    let (seen, mut receiving, mut sending) = admitted.head().await;
    assert_eq!(seen.status, 200);
    let limits = seen.header("ratelimit");
    assert!(limits.starts_with("\"ws\";r=0;"), "{seen:?}");

    let refused = http2.connect("/ws/", "websocket").await.answer().await.seen;
    assert!(refused.status == 429 && refused.has_limits(), "{refused:?}");
    assert_eq!(refused.header("content-type"), "application/problem+json");

    // The refusal ended a stream, not its connection; what goes over the first one is not counted.
    for text in ["hello", "again"] {
        sending.send_data(text_frame(text).into(), false).unwrap();
        let echo = http2::bytes(&mut receiving, 2 + text.len()).await;
        assert_eq!(echo, [&[0x81, 5], text.as_bytes()].concat());
    }
    assert_eq!(origin.hits(), 1);
}

/// A preflight has no credentials, so it would be charged to whoever shares its lack of a key.
#[tokio::test]
async fn a_cors_preflight_is_left_out_by_its_method() {
    let origin = Origin::start().await;
    let matches = json!({ "methods": ["GET", "POST"], "path": { "prefix": "/one/" } });
    let rules = json!([with(rule("one", 1), json!({ "match": matches }))]);
    let running = start(&origin, rules, |_| ()).await;
    let url = running.envoys()[0].front_url() + "/one/";
    for _ in 0..3 {
        let preflight = running.http.request(Method::OPTIONS, &url);
        let preflight = preflight
            .header("origin", "https://example.com")
            .header("access-control-request-method", "POST");
        let seen = Seen::of(preflight).await;
        assert!(seen.status == 200 && !seen.has_limits(), "{seen:?}");
    }
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(Seen::of(running.get("/one/", "a")).await.status);
    }
    assert_eq!(statuses, [200, 429]);
}

on_both_envoys![
    a_websocket_passes_when_admitted_works_both_ways_and_is_one_request,
    a_websocket_on_http_2_passes_when_admitted_works_both_ways_and_is_one_request
];
