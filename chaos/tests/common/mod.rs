//! What the tests against a whole stack share: starting one, asking it, waiting for it.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep};
use velocitygate_chaos::observe::EnvoySample;
use velocitygate_chaos::stack::{KEY_HEADER, Spec, Stack, envoy_config};

/// Whatever is waited for comes within this time, or the test fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// A stack is four processes and more, and the tests of one binary run at once.
static TURNS: Semaphore = Semaphore::const_new(2);

/// A `redis.timeout` that a healthy Redis never reaches, however busy the machine is: the longest
/// there is.
pub(crate) const PATIENT: u64 = 10_000;

/// When Envoy itself gives a stream or a connection up: never before a test does.
const ENVOYS_OWN: &str = "60s";

/// A stack with the filter, and a client. Dropping it kills the stack.
pub(crate) struct Running {
    pub(crate) stack: Stack,
    pub(crate) http: Client,
    _dir: TempDir,
    _turn: SemaphorePermit<'static>,
}

impl Deref for Running {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.stack
    }
}

/// What a client saw of an answer.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Running {
    /// Starts a stack whose filter has these rules and waits for Redis this many milliseconds. Its
    /// breaker is off; `change` may alter that and all else.
    pub(crate) async fn start(timeout: u64, rules: Value, change: impl FnOnce(&mut Spec)) -> Self {
        let turn = TURNS.acquire().await.expect("never closed");
        let dir = tempfile::tempdir().unwrap();
        let mut spec = Spec::new(dir.path().to_owned());
        spec.plugin = json!({
            "redis": { "timeout": format!("{timeout}ms") }, "breaker": "off", "rules": rules,
        });
        tweak(&mut spec, move |tree| {
            be_patient(tree);
            let millis = timeout + 10;
            let longer = format!("{}.{:03}s", millis / 1000, millis % 1000);
            // Behind tcp_proxy nothing but the filter's own timeout ends an operation.
            if let Ok(proxy) = envoy_config::redis_proxy(tree) {
                proxy["settings"]["op_timeout"] = json!(longer);
            }
            if let Ok(cluster) = envoy_config::store_cluster(tree) {
                cluster["connect_timeout"] = json!(longer);
            }
        });
        change(&mut spec);
        Self {
            stack: Stack::start(spec).await.unwrap(),
            http: client(),
            _dir: dir,
            _turn: turn,
        }
    }

    /// A GET to the first Envoy from the client named `key`.
    pub(crate) fn get(&self, path: &str, key: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.envoys()[0].front_url());
        self.http.get(url).header(KEY_HEADER, key)
    }

    /// What the first Envoy counted.
    pub(crate) async fn sample(&self) -> EnvoySample {
        EnvoySample::take(&self.http, &self.envoys()[0])
            .await
            .unwrap()
    }
}

impl Seen {
    /// Sends a request and reads its answer to the end.
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let answer: Response = request.send().await.unwrap();
        Self {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.text().await.unwrap(),
        }
    }

    /// A header's value; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Whether it tells the client where it stands.
    pub(crate) fn has_limits(&self) -> bool {
        self.headers.contains_key("ratelimit") && self.headers.contains_key("ratelimit-policy")
    }
}

/// A client with connections of its own, to which every request ends.
pub(crate) fn client() -> Client {
    Client::builder()
        .timeout(DEADLINE)
        .no_proxy()
        .build()
        .unwrap()
}

/// A rule for the paths under `/<name>/` that counts by client and never refills during a test.
pub(crate) fn rule(name: &str, requests: u64) -> Value {
    json!({
        "name": name, "match": { "path": { "prefix": format!("/{name}/") } },
        "key": [{ "header": KEY_HEADER }], "limit": { "requests": requests, "per": "366d" },
    })
}

/// `base` with the fields of `more` set.
pub(crate) fn with(mut base: Value, more: Value) -> Value {
    let more = more.as_object().expect("an object").clone();
    base.as_object_mut().expect("an object").extend(more);
    base
}

/// Makes a change to Envoy's configuration after those that are made already.
pub(crate) fn tweak(spec: &mut Spec, change: impl Fn(&mut Value) + Send + Sync + 'static) {
    let before = spec.tweak.take();
    spec.tweak = Some(Arc::new(move |tree| {
        if let Some(before) = &before {
            before(tree);
        }
        change(tree);
    }));
}

/// Puts off what Envoy would end by itself, on every listener, route and cluster.
fn be_patient(tree: &mut Value) {
    match tree {
        Value::Array(items) => items.iter_mut().for_each(be_patient),
        Value::Object(fields) => {
            for (name, field) in fields {
                match name.as_str() {
                    "stream_idle_timeout" | "request_headers_timeout" | "connect_timeout" => {
                        *field = json!(ENVOYS_OWN);
                    }
                    "route" => field["timeout"] = json!(ENVOYS_OWN),
                    _ => be_patient(field),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
