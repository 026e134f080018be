//! Requests with bodies: held back within Envoy's limits while they wait, then passed on whole; not
//! waited for when they are refused.

use bytes::Bytes;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use velocitygate_chaos::stack::EnvoyVersion;
use velocitygate_chaos::stack::envoy_config::connection_manager;

use crate::common::{Running, Seen, eventually, rule, tweak};
use crate::http2::Http2;
use crate::origin::Origin;
use crate::start;
use crate::stat::stat;
use crate::versions::on_both_envoys;
use crate::wire::{Wire, request};

/// `per_connection_buffer_limit_bytes` of the listener.
const BUFFER: u64 = 32_768;

/// `initial_stream_window_size` of the listener.
const WINDOW: u64 = 65_536;

/// A body in which no two places look alike.
fn body(size: usize) -> String {
    let mut body = String::with_capacity(size + 8);
    while body.len() < size {
        body += &format!("{:07}\n", body.len());
    }
    body.truncate(size);
    body
}

/// One of Envoy's own counters of the listener's connections.
async fn front(running: &Running, name: &str) -> u64 {
    stat(running, &format!("http.front.{name}")).await
}

/// Waits until a request waits and Envoy reads no more of its body; how much it had read by then.
async fn held_back(running: &Running) -> u64 {
    let mut samples = Vec::new();
    eventually("Envoy stops reading", async || {
        samples.push(front(running, "downstream_cx_rx_bytes_total").await);
        let still = samples.rchunks(10).next().unwrap_or_default();
        let stops = still.len() == 10 && still.iter().all(|read| *read == still[0]);
        stops && still[0] > BUFFER && running.sample().await.waiting == 1
    })
    .await;
    samples.last().copied().unwrap_or_default()
}

async fn a_body_that_comes_while_its_request_waits_arrives_whole(version: EnvoyVersion) {
    let origin = Origin::start().await;
    let running = start(&origin, json!([rule("one", 9)]), |spec| {
        spec.envoy = version
    })
    .await;
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let text = body(20_000);
    let length = format!("content-length: {}\r\n", text.len());
    let chunked: String = text
        .as_bytes()
        .chunks(700)
        .map(|part| chunk(str::from_utf8(part).unwrap()))
        .collect();
    let cases = [
        (length.as_str(), text.clone()),
        ("transfer-encoding: chunked\r\n", chunked + "0\r\n\r\n"),
    ];
    for (framing, bytes) in cases {
        running.redis().freeze().await.unwrap();
        let before = front(&running, "downstream_cx_rx_bytes_total").await;
        let mut wire = Wire::to(&running).await;
        wire.send(request("POST /one/ HTTP/1.1", "a", framing))
            .await;
        // A third comes before anybody waits, a third while they do, a third after.
        let (first, rest) = bytes.split_at(bytes.len() / 3);
        let (second, third) = rest.split_at(bytes.len() / 3);
        wire.send(first).await;
        eventually("it waits", async || running.sample().await.waiting == 1).await;
        wire.send(second).await;
        eventually("Envoy has read two thirds", async || {
            let read = front(&running, "downstream_cx_rx_bytes_total").await - before;
            read >= 2 * first.len() as u64
        })
        .await;
        running.redis().thaw().await.unwrap();
        wire.send(third).await;
        let seen = wire.answer().await;
        assert_eq!((seen.status, &seen.body), (200, &text), "{framing}");
    }
}

async fn a_large_body_is_held_back_within_the_buffer_and_arrives_whole(version: EnvoyVersion) {
    let origin = Origin::start().await;
    let running = start(&origin, json!([rule("one", 9)]), |spec| {
        spec.envoy = version
    })
    .await;
    running.redis().freeze().await.unwrap();
    let text = body(4 << 20);
    let wire = Wire::to(&running).await;
    let Wire { stream, .. } = wire;
    let (reading, mut writing) = stream.into_split();
    let head = format!("content-length: {}\r\n", text.len());
    let bytes = request("POST /one/ HTTP/1.1", "a", &head) + &text;
    let sending =
        tokio::spawn(async move { writing.write_all(bytes.as_bytes()).await.map(|()| writing) });
    let held = held_back(&running).await;
    assert!(held <= 3 * BUFFER, "Envoy read {held} bytes");
    assert_eq!(origin.hits(), 0);
    running.redis().thaw().await.unwrap();
    let writing = sending.await.unwrap().unwrap();
    let mut wire = Wire::over(reading.reunite(writing).unwrap());
    let seen = wire.answer().await;
    assert!(seen.status == 200 && seen.body == text, "{}", seen.status);
}

async fn a_large_body_on_http_2_is_held_back_within_its_window_and_arrives_whole(
    version: EnvoyVersion,
) {
    let origin = Origin::start().await;
    let running = start(&origin, json!([rule("one", 9)]), |spec| {
        spec.envoy = version
    })
    .await;
    running.redis().freeze().await.unwrap();
    let http2 = Http2::to(&running).await;
    let mut exchange = http2.begin("/one/", "text/plain", false).await;
    let text = body(4 << 20);
    exchange
        .body
        .send_data(Bytes::from(text.clone()), true)
        .unwrap();
    let held = held_back(&running).await;
    assert!(held <= 3 * WINDOW, "Envoy read {held} bytes");
    running.redis().thaw().await.unwrap();
    let answered = exchange.answer().await;
    assert_eq!(answered.seen.status, 200);
    assert!(answered.seen.body == text);
}

async fn a_refused_request_is_answered_before_its_body_ends(version: EnvoyVersion) {
    let origin = Origin::start().await;
    let running = start(&origin, json!([rule("one", 1)]), |spec| {
        spec.envoy = version
    })
    .await;
    assert_eq!(Seen::of(running.get("/one/", "a")).await.status, 200);
    // On HTTP/1 nothing can follow on a connection whose body was not read, so Envoy closes it.
    let framing = "content-length: 1000000\r\n";
    let mut wire = Wire::to(&running).await;
    wire.send(request("POST /one/ HTTP/1.1", "a", framing) + "abc")
        .await;
    let seen = wire.answer().await;
    assert_eq!((seen.status, seen.header("connection")), (429, "close"));
    assert!(wire.closes().await);

    let http2 = Http2::to(&running).await;
    let mut exchange = http2.begin("/one/", "text/plain", false).await;
    exchange.body.send_data(Bytes::from("abc"), false).unwrap();
    assert_eq!(exchange.answer().await.seen.status, 429);
    assert_eq!(http2.ask("/free/", "text/plain").await.seen.status, 200);
    assert_eq!(origin.hits(), 2);
}

/// Envoy itself says `100 Continue` as soon as it has the head, unless `proxy_100_continue` leaves
/// that to the upstream: then a refused client hears of its refusal before it sends anything.
async fn who_expects_100_continue_sends_no_body_for_nothing_where_the_upstream_says_it(
    version: EnvoyVersion,
) {
    for upstream_says in [false, true] {
        let origin = Origin::start().await;
        let running = start(&origin, json!([rule("one", 1)]), |spec| {
            spec.envoy = version.clone();
            tweak(spec, move |tree| {
                connection_manager(tree).unwrap()["proxy_100_continue"] = json!(upstream_says);
            });
        })
        .await;
        let expecting = "content-length: 3\r\nexpect: 100-continue\r\n";
        let mut wire = Wire::to(&running).await;
        wire.send(request("POST /one/ HTTP/1.1", "a", expecting))
            .await;
        assert_eq!(wire.head().await.status, 100);
        wire.send("abc").await;
        let seen = wire.answer().await;
        assert_eq!((seen.status, seen.body.as_str()), (200, "abc"));
        wire.send(request("POST /one/ HTTP/1.1", "a", expecting))
            .await;
        if !upstream_says {
            assert_eq!(wire.head().await.status, 100);
        }
        assert_eq!(wire.answer().await.status, 429);
        assert!(wire.closes().await);
        assert_eq!(origin.hits(), 1);
    }
}

on_both_envoys![
    a_body_that_comes_while_its_request_waits_arrives_whole,
    a_large_body_is_held_back_within_the_buffer_and_arrives_whole,
    a_large_body_on_http_2_is_held_back_within_its_window_and_arrives_whole,
    a_refused_request_is_answered_before_its_body_ends,
    who_expects_100_continue_sends_no_body_for_nothing_where_the_upstream_says_it
];
