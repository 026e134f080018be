//! An upstream of HTTP/1, HTTP/2 and WebSockets that sends back what it gets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Its limits, which it tells of under `/limited/`.
pub(crate) const LIMITS: [(&str, &str); 3] = [
    ("ratelimit-policy", "\"theirs\";q=5"),
    ("ratelimit", "\"theirs\";r=4"),
    ("x-ratelimit-limit", "5"),
];

/// A request header: what is left of its limit of 5, which it then tells of.
pub(crate) const LEFT: &str = "x-left";

/// A request trailer, sent back as a header and as a trailer.
pub(crate) const TRAILER: &str = "x-checksum";

/// An upstream on a loopback port. Dropping it ends it.
pub(crate) struct Origin {
    address: SocketAddr,
    hits: Arc<AtomicU64>,
    server: JoinHandle<()>,
}

impl Origin {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let hits = Arc::new(AtomicU64::new(0));
        let app = Router::new()
            .route("/ws/", any(talk))
            .fallback(echo)
            .with_state(Arc::clone(&hits));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            hits,
            server,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests whose headers came.
    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn talk(State(hits): State<Arc<AtomicU64>>, upgrade: WebSocketUpgrade) -> Response {
    hits.fetch_add(1, Ordering::Relaxed);
    upgrade.on_upgrade(async |mut socket: WebSocket| {
        while let Some(Ok(message)) = socket.recv().await {
            if socket.send(message).await.is_err() {
                break;
            }
        }
    })
}

async fn echo(State(hits): State<Arc<AtomicU64>>, request: Request) -> Response {
    hits.fetch_add(1, Ordering::Relaxed);
    let limited = request.uri().path().starts_with("/limited/");
    let left = request.headers().get(LEFT).cloned();
    let Ok(body) = request.into_body().collect().await else {
        // The client or Envoy gave up; nobody reads this.
        return Response::default();
    };
    let trailer = body.trailers().and_then(|all| all.get(TRAILER).cloned());
    let mut response = answer(body.to_bytes(), trailer);
    if limited {
        let limits =
            LIMITS.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        response.headers_mut().extend(HeaderMap::from_iter(limits));
    }
    if let Some(left) = left {
        let headers = response.headers_mut();
        headers.insert("x-ratelimit-limit", HeaderValue::from_static("5"));
        headers.insert("x-ratelimit-remaining", left);
        headers.insert("x-ratelimit-reset", HeaderValue::from_static("60"));
    }
    response
}

fn answer(body: Bytes, trailer: Option<HeaderValue>) -> Response {
    let Some(trailer) = trailer else {
        return body.into_response();
    };
    let mut trailers = HeaderMap::new();
    trailers.insert(TRAILER, trailer.clone());
    let body = http_body_util::Full::new(body).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(TRAILER, trailer);
    response
}
