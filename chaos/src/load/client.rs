//! One HTTP/1.1 request: what is asked, and what came of it.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::HeaderName;
use reqwest::{Response, StatusCode, Url};

use super::Key;
use crate::record::Outcome;

/// The client's own patience; far beyond every bound that is judged.
const PATIENCE: Duration = Duration::from_secs(5);

/// The request header that carries the key.
const KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");
/// Tells even plain keys from odd ones, so that a scenario can give each half a rule of its own.
/// The hot key has none.
const GROUP_HEADER: HeaderName = HeaderName::from_static("x-chaos-group");
/// What only the hot key has, in the place of a group.
const HOT_HEADER: HeaderName = HeaderName::from_static("x-chaos-hot");
/// Present on the answer when the filter knew the count.
const LIMIT_HEADER: &str = "ratelimit";
/// Present on the filter's own 503.
const UNAVAILABLE_HEADER: &str = "x-velocitygate";

/// Sends requests to Envoy's listener over connections that are kept open.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    url: Url,
}

impl Client {
    /// A client of the listener at `front`.
    ///
    /// # Errors
    /// When the HTTP library cannot be set up.
    pub fn new(front: SocketAddr) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .build()?;
        Ok(Self {
            http,
            url: Url::parse(&format!("http://{front}/"))?,
        })
    }

    /// Sends one request with this key, 64 bytes long as API keys are, and waits for the whole
    /// answer.
    pub async fn send(&self, key: Key) -> Outcome {
        let request = self.http.get(self.url.clone());
        let request = match key {
            Key::Hot => {
                let request = request.header(KEY_HEADER, format!("hot-{:060}", 0));
                request.header(HOT_HEADER, "yes")
            }
            Key::Plain(number) => {
                let group = if number.is_multiple_of(2) {
                    "even"
                } else {
                    "odd"
                };
                let request = request.header(KEY_HEADER, key_text(number));
                request.header(GROUP_HEADER, group)
            }
        };
        let answered = async {
            let response = request.send().await?;
            let outcome = outcome(&response);
            response.bytes().await?;
            Ok::<_, reqwest::Error>(outcome)
        };
        match answered.await {
            Ok(outcome) => outcome,
            Err(error) if error.is_timeout() => Outcome::Silent,
            Err(_) => Outcome::Broken,
        }
    }
}

/// A key by its number, 64 bytes long.
#[must_use]
pub fn key_text(number: u64) -> String {
    format!("key-{number:060}")
}

fn outcome(response: &Response) -> Outcome {
    let has = |name: &str| response.headers().contains_key(name);
    match response.status() {
        StatusCode::OK if has(LIMIT_HEADER) => Outcome::Counted,
        StatusCode::OK => Outcome::Uncounted,
        StatusCode::TOO_MANY_REQUESTS if has(LIMIT_HEADER) => Outcome::Refused,
        StatusCode::TOO_MANY_REQUESTS => Outcome::RefusedUncounted,
        StatusCode::SERVICE_UNAVAILABLE if has(UNAVAILABLE_HEADER) => Outcome::Unavailable,
        status => Outcome::Other(status.as_u16()),
    }
}
