//! HTTP/2: a client of frames, and what it sees.

use std::time::Duration;

use axum::http::Request;
use axum::http::request::Builder;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use velocitygate_chaos::stack::{EnvoyVersion, KEY_HEADER};

use crate::common::{Running, Seen, eventually, rule};
use crate::origin::{Origin, TRAILER};
use crate::start;
use crate::versions::on_both_envoys;

const DEADLINE: Duration = Duration::from_secs(30);

/// A connection. Dropping it ends it.
pub(crate) struct Http2 {
    streams: SendRequest<Bytes>,
    base: String,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// A request under way.
pub(crate) struct Exchange {
    response: h2::client::ResponseFuture,
    pub(crate) body: SendStream<Bytes>,
}

/// An answer on HTTP/2.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) seen: Seen,
    pub(crate) trailers: HeaderMap,
    /// The head was all of it.
    pub(crate) head_only: bool,
}

impl Http2 {
    pub(crate) async fn to(running: &Running) -> Self {
        let envoy = &running.envoys()[0];
        let stream = TcpStream::connect(envoy.ports().front).await.unwrap();
        let (streams, connection) = h2::client::handshake(stream).await.unwrap();
        Self {
            streams,
            base: envoy.front_url(),
            connection: tokio::spawn(connection),
        }
    }

    /// Begins a request whose body is still to be sent, unless `is_all`.
    pub(crate) async fn begin(&self, path: &str, content_type: &str, is_all: bool) -> Exchange {
        let request = Request::post(format!("{}{path}", self.base))
            .header("content-type", content_type)
            .header("te", "trailers");
        self.send(request, is_all).await
    }

    /// Begins what is an upgrade on HTTP/1 (RFC 8441), as soon as the server says that it knows that.
    pub(crate) async fn connect(&self, path: &str, protocol: &'static str) -> Exchange {
        eventually("extended CONNECT is on", async || {
            self.streams.is_extended_connect_protocol_enabled()
        })
        .await;
        let request = Request::connect(format!("{}{path}", self.base))
            .header("sec-websocket-version", "13")
            .extension(Protocol::from_static(protocol));
        self.send(request, false).await
    }

    async fn send(&self, request: Builder, is_all: bool) -> Exchange {
        let request = request.header(KEY_HEADER, "a").body(()).unwrap();
        let mut streams = self.streams.clone().ready().await.unwrap();
        let (response, body) = streams.send_request(request, is_all).unwrap();
        Exchange { response, body }
    }

    /// A whole request without a body.
    pub(crate) async fn ask(&self, path: &str, content_type: &str) -> Answered {
        self.begin(path, content_type, true).await.answer().await
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Exchange {
    pub(crate) async fn answer(self) -> Answered {
        let (mut seen, body, _sending) = self.head().await;
        let head_only = body.is_end_stream();
        let (body, trailers) = timeout(DEADLINE, drain(body)).await.expect("in time");
        seen.body = String::from_utf8(body).unwrap();
        Answered {
            seen,
            trailers,
            head_only,
        }
    }

    /// The head of the answer, and the two ways of what follows.
    pub(crate) async fn head(self) -> (Seen, RecvStream, SendStream<Bytes>) {
        let answer = timeout(DEADLINE, self.response).await.expect("in time");
        let (head, receiving) = answer.unwrap().into_parts();
        let seen = Seen {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::new(),
        };
        (seen, receiving, self.body)
    }
}

/// Reads this many bytes of a stream that goes on.
pub(crate) async fn bytes(receiving: &mut RecvStream, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < count {
        let data = timeout(DEADLINE, receiving.data()).await.expect("in time");
        all.extend(data.expect("goes on").unwrap());
    }
    all
}

/// The rest of an answer. A reset without an error ends it, too: that is how a server stops a
/// body that it needs no more.
async fn drain(mut body: RecvStream) -> (Vec<u8>, HeaderMap) {
    let mut all = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        all.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    let trailers = body.trailers().await.ok().flatten();
    (all, trailers.unwrap_or_default())
}

async fn the_streams_of_one_connection_wait_together_and_are_counted_one_by_one(
    version: EnvoyVersion,
) {
    const STREAMS: usize = 6;
    let origin = Origin::start().await;
    let running = start(&origin, json!([rule("one", 4)]), |spec| {
        spec.envoy = version
    })
    .await;
    running.redis().freeze().await.unwrap();
    let http2 = Http2::to(&running).await;
    let mut exchanges = Vec::new();
    for _ in 0..STREAMS {
        exchanges.push(http2.begin("/one/", "text/plain", true).await);
    }
    eventually("all of them wait", async || {
        running.sample().await.waiting == STREAMS as u64
    })
    .await;
    running.redis().thaw().await.unwrap();
    let mut statuses = Vec::new();
    for exchange in exchanges {
        let answered = exchange.answer().await;
        assert!(answered.seen.has_limits(), "{answered:?}");
        statuses.push(answered.seen.status);
    }
    assert_eq!(statuses, [200, 200, 200, 200, 429, 429]);
    assert_eq!(origin.hits(), 4);
}

async fn trailers_survive_the_wait_in_both_directions(version: EnvoyVersion) {
    let origin = Origin::start().await;
    let running = start(&origin, json!([rule("one", 4)]), |spec| {
        spec.envoy = version
    })
    .await;
    running.redis().freeze().await.unwrap();
    let http2 = Http2::to(&running).await;
    let mut exchange = http2.begin("/one/", "text/plain", false).await;
    exchange.body.send_data(Bytes::from("body"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert(TRAILER, HeaderValue::from_static("abc"));
    exchange.body.send_trailers(trailers.clone()).unwrap();
    eventually("it waits", async || running.sample().await.waiting == 1).await;
    running.redis().thaw().await.unwrap();
    let answered = exchange.answer().await;
    assert_eq!(answered.seen.body, "body");
    assert_eq!(answered.seen.header(TRAILER), "abc");
    assert_eq!(answered.trailers, trailers);
    assert!(answered.seen.has_limits());
}

on_both_envoys![
    the_streams_of_one_connection_wait_together_and_are_counted_one_by_one,
    trailers_survive_the_wait_in_both_directions
];
