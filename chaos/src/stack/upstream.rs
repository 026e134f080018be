//! The upstream: an HTTP server in this process that counts what reaches it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::extract::{Request, State};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The request header that names a client.
pub const KEY_HEADER: &str = "x-api-key";

/// Distinct (path, key) pairs that are counted apart; the rest are counted in the total only.
pub const MAX_PAIRS: usize = 100_000;

/// An upstream on a loopback port. Dropping it ends it.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    state: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    total: AtomicU64,
    delay_us: AtomicU64,
    pairs: Mutex<BTreeMap<(String, String), u64>>,
}

impl Upstream {
    /// Starts it on a port of the system's choice.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(Shared::default());
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&state));
        let server = tokio::spawn(async move {
            // Serving ends only with this task; errors of single connections stay inside.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self {
            address,
            state,
            server,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Requests that arrived since the start or the last [`Upstream::forget`].
    pub fn hits(&self) -> u64 {
        self.state.total.load(Ordering::Relaxed)
    }

    /// Requests that arrived for `path` (without query) with `key` in `x-api-key` (empty: none).
    pub fn hits_of(&self, path: &str, key: &str) -> u64 {
        self.pairs()
            .get(&(path.to_owned(), key.to_owned()))
            .copied()
            .unwrap_or(0)
    }

    /// Requests by (path, key), at most [`MAX_PAIRS`] of them.
    pub fn pairs(&self) -> BTreeMap<(String, String), u64> {
        self.state
            .pairs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Forgets all counts.
    pub fn forget(&self) {
        self.state
            .pairs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.state.total.store(0, Ordering::Relaxed);
    }

    /// Makes every later answer wait.
    pub fn set_delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.state.delay_us.store(micros, Ordering::Relaxed);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(state): State<Arc<Shared>>, request: Request) -> &'static str {
    state.count(&request);
    let delay = state.delay_us.load(Ordering::Relaxed);
    if delay > 0 {
        tokio::time::sleep(Duration::from_micros(delay)).await;
    }
    "ok\n"
}

impl Shared {
    fn count(&self, request: &Request) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let key = request
            .headers()
            .get(KEY_HEADER)
            .map_or(&b""[..], |value| value.as_bytes());
        let pair = (
            request.uri().path().to_owned(),
            String::from_utf8_lossy(key).into_owned(),
        );
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = pairs.get_mut(&pair) {
            *count += 1;
        } else if pairs.len() < MAX_PAIRS {
            pairs.insert(pair, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str, key: &str) -> Request {
        Request::builder()
            .uri(path)
            .header(KEY_HEADER, key)
            .body(axum::body::Body::empty())
            .unwrap()
    }

    #[tokio::test]
    async fn requests_are_counted_by_path_and_key() {
        let upstream = Upstream::start().await.unwrap();
        let url = format!("http://{}/a?b=c", upstream.address());
        let client = reqwest::Client::new();
        client
            .get(&url)
            .header(KEY_HEADER, "k")
            .send()
            .await
            .unwrap();
        client.get(&url).send().await.unwrap();
        assert_eq!(
            (
                upstream.hits(),
                upstream.hits_of("/a", "k"),
                upstream.hits_of("/a", "")
            ),
            (2, 1, 1)
        );
        upstream.forget();
        assert_eq!((upstream.hits(), upstream.pairs().len()), (0, 0));
    }

    #[test]
    fn past_its_bound_a_new_pair_is_counted_in_the_total_only() {
        let shared = Shared::default();
        for index in 0..=MAX_PAIRS {
            shared.count(&request("/", &index.to_string()));
        }
        shared.count(&request("/", "0"));
        let pairs = shared.pairs.lock().unwrap();
        assert_eq!(pairs.len(), MAX_PAIRS);
        assert_eq!(pairs[&("/".to_owned(), "0".to_owned())], 2);
        assert_eq!(shared.total.load(Ordering::Relaxed), MAX_PAIRS as u64 + 2);
    }
}
