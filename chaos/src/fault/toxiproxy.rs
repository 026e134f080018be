//! Toxiproxy over its HTTP API: every call has a deadline, every toxic is read back.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Client, Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Removing a toxic can hang Toxiproxy's control port under traffic; nothing waits longer.
const CALL: Duration = Duration::from_secs(3);

/// One direction through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// From the client to the server: commands.
    Upstream,
    /// From the server to the client: replies.
    Downstream,
}

/// What a toxic does, in Toxiproxy's own words. Its direction is always stated apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "type", content = "attributes", rename_all = "snake_case")]
pub enum Toxic {
    /// Delays data by `latency` ± `jitter`, in milliseconds.
    Latency {
        /// Milliseconds.
        latency: u64,
        /// Milliseconds.
        jitter: u64,
    },
    /// Passes `rate` kilobytes (of 1000 bytes) a second per connection; 0 stalls without loss.
    Bandwidth {
        /// Kilobytes per second.
        rate: u64,
    },
    /// Discards data and closes after `timeout` milliseconds without any; 0 never closes.
    Timeout {
        /// Milliseconds.
        timeout: u64,
    },
    /// Resets a connection `timeout` milliseconds after its first data.
    ResetPeer {
        /// Milliseconds.
        timeout: u64,
    },
    /// Cuts data into pieces.
    Slicer {
        /// Bytes; 0 would make Toxiproxy recurse for ever and is refused here.
        average_size: u64,
        /// Bytes; below `average_size`.
        size_variation: u64,
        /// Microseconds between pieces.
        delay: u64,
    },
    /// Closes a connection after this much data.
    LimitData {
        /// Bytes per connection.
        bytes: u64,
    },
    /// Delays the closing of a connection.
    SlowClose {
        /// Milliseconds.
        delay: u64,
    },
}

/// A client for one Toxiproxy.
#[derive(Debug, Clone)]
pub struct Toxiproxy {
    base: String,
    http: Client,
}

impl Toxiproxy {
    /// A client for the Toxiproxy whose API listens at `api`. Nothing is sent yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(api: SocketAddr) -> Result<Self> {
        let http = Client::builder().timeout(CALL).no_proxy().build()?;
        Ok(Self {
            base: format!("http://{api}"),
            http,
        })
    }

    /// Its version; the cheapest proof that it is there.
    ///
    /// # Errors
    /// When it does not answer within 3 s or refuses, as for every call below.
    pub async fn version(&self) -> Result<String> {
        Ok(self
            .call(Method::GET, "/version", None)
            .await?
            .text()
            .await?)
    }

    /// Creates a proxy; it is enabled.
    ///
    /// # Errors
    /// When there is one of that name or `listen` is taken.
    pub async fn create(&self, name: &str, listen: SocketAddr, upstream: SocketAddr) -> Result<()> {
        let body = json!({ "name": name, "listen": listen, "upstream": upstream, "enabled": true });
        self.call(Method::POST, "/proxies", Some(body)).await?;
        Ok(())
    }

    /// Every proxy by name, as Toxiproxy reports it.
    ///
    /// # Errors
    /// When Toxiproxy does not answer within 3 s.
    pub async fn proxies(&self) -> Result<Value> {
        Ok(self
            .call(Method::GET, "/proxies", None)
            .await?
            .json()
            .await?)
    }

    /// Lets a proxy work, or closes its listener and all its connections.
    ///
    /// # Errors
    /// When there is no such proxy, or its state afterwards is another.
    pub async fn set_enabled(&self, proxy: &str, enabled: bool) -> Result<()> {
        let path = format!("/proxies/{proxy}");
        let answer = self
            .call(Method::PATCH, &path, Some(json!({ "enabled": enabled })))
            .await?;
        let now: Value = answer.json().await?;
        if now["enabled"] != enabled {
            bail!("proxy {proxy} should have enabled = {enabled}, is {now}");
        }
        Ok(())
    }

    /// Adds a toxic named `<type>_<stream>` to a proxy, in one direction, for every connection.
    /// Gives the toxic as Toxiproxy then reports it.
    ///
    /// # Errors
    /// When it is refused, or reads back other than it was asked for: Toxiproxy ignores
    /// attributes that it does not know, so a toxic can be created that does nothing.
    pub async fn add(&self, proxy: &str, toxic: Toxic, stream: Stream) -> Result<Value> {
        if let Toxic::Slicer {
            average_size: 0, ..
        } = toxic
        {
            bail!("a slicer of average size 0 would kill Toxiproxy");
        }
        let mut wanted = serde_json::to_value(toxic)?;
        let name = format!(
            "{}_{}",
            wanted["type"].as_str().unwrap_or_default(),
            name_of(stream)
        );
        wanted["name"] = json!(name);
        wanted["stream"] = json!(stream);
        wanted["toxicity"] = json!(1.0);
        let toxics = format!("/proxies/{proxy}/toxics");
        self.call(Method::POST, &toxics, Some(wanted.clone()))
            .await?;
        let there: Value = self
            .call(Method::GET, &format!("{toxics}/{name}"), None)
            .await?
            .json()
            .await?;
        if !same(&wanted, &there) {
            bail!("toxic asked for: {wanted}; toxic made: {there}");
        }
        Ok(there)
    }

    /// The toxics of a proxy.
    ///
    /// # Errors
    /// When there is no such proxy.
    pub async fn toxics(&self, proxy: &str) -> Result<Vec<Value>> {
        let path = format!("/proxies/{proxy}/toxics");
        Ok(self.call(Method::GET, &path, None).await?.json().await?)
    }

    /// Heals everything: all proxies enabled, no toxics. Doing it again changes nothing.
    ///
    /// # Errors
    /// When Toxiproxy does not answer within 3 s.
    pub async fn reset(&self) -> Result<()> {
        self.call(Method::POST, "/reset", None).await?;
        Ok(())
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Response> {
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.base));
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request
            .send()
            .await
            .with_context(|| format!("Toxiproxy: {method} {path}"))?;
        match answer.status() {
            StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(answer),
            status => bail!(
                "Toxiproxy: {method} {path}: {status}: {}",
                answer.text().await?
            ),
        }
    }
}

fn name_of(stream: Stream) -> &'static str {
    match stream {
        Stream::Upstream => "upstream",
        Stream::Downstream => "downstream",
    }
}

/// Equal in every field, numbers by value (Toxiproxy writes 1 for 1.0).
fn same(wanted: &Value, there: &Value) -> bool {
    match (wanted, there) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => wanted == there,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toxic_that_lost_an_attribute_is_not_the_same() {
        let wanted = json!({ "toxicity": 1.0, "attributes": { "latency": 5, "jitter": 1 } });
        let there = json!({ "toxicity": 1, "attributes": { "latency": 5, "jitter": 1 } });
        let lost = json!({ "toxicity": 1, "attributes": { "latency": 5, "jitter": 0 } });
        assert!(same(&wanted, &there));
        assert!(!same(&wanted, &lost));
    }

    #[tokio::test]
    async fn a_slicer_that_would_kill_toxiproxy_is_refused_before_any_call() {
        let nobody = Toxiproxy::new(SocketAddr::from(([127, 0, 0, 1], 1))).unwrap();
        let toxic = Toxic::Slicer {
            average_size: 0,
            size_variation: 0,
            delay: 0,
        };
        let refusal = nobody
            .add("redis", toxic, Stream::Upstream)
            .await
            .unwrap_err();
        assert!(refusal.to_string().contains("slicer"), "{refusal}");
    }
}
