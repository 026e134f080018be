//! The test bed: a stack, a client, and what is looked at to know that nothing broke.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};
use velocitygate_chaos::observe::EnvoySample;
use velocitygate_chaos::stack::{
    Envoy, EnvoyVersion, KEY_HEADER, Spec, Stack, Store, Wiring, envoy_config,
};

use super::eventually;
use super::liar::Liar;

/// Stacks that run at once: each has an Envoy that compiles the module when it starts.
static STACKS: Semaphore = Semaphore::const_new(2);

/// `redis.timeout` where a store is silent on purpose. A busy machine may miss it.
pub(super) const TIMEOUT: Duration = Duration::from_millis(400);

/// `redis.timeout` where the store is honest, which answers sooner however busy the machine is.
pub(super) const PATIENT: Duration = Duration::from_secs(5);

/// The rule's burst.
pub(super) const BURST: u64 = 3;

/// A running stack. Dropping it kills all of it.
pub(super) struct Bed {
    pub(super) stack: Stack,
    http: reqwest::Client,
    dir: TempDir,
    _permit: SemaphorePermit<'static>,
}

/// What a client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `r` of the `RateLimit` header.
    pub(super) remaining: Option<u64>,
    /// Names of all limit headers.
    pub(super) limit_headers: Vec<String>,
}

impl Bed {
    /// Starts a stack of `change`d defaults: one rule by [`KEY_HEADER`] that gives 3 tokens
    /// which come back too slowly to matter, failing open; a breaker that moves fast; a store that
    /// is waited for as long as `timeout`, by Envoy as by the filter.
    pub(super) async fn start(timeout: Duration, change: impl FnOnce(&mut Spec)) -> Self {
        let permit = STACKS.acquire().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let mut spec = Spec::new(dir.path().to_owned());
        spec.plugin = plugin(timeout);
        spec.tweak = Some(Arc::new(move |tree| outlast(tree, timeout)));
        change(&mut spec);
        let stack = Stack::start(spec).await.unwrap();
        Self {
            stack,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            dir,
            _permit: permit,
        }
    }

    /// Starts one whose store is `liar`, of whom little patience is had.
    pub(super) async fn asking(liar: &Liar, envoy: EnvoyVersion, wiring: Wiring) -> Self {
        let store = Store::At(liar.address());
        Self::start(TIMEOUT, |spec| {
            (spec.envoy, spec.wiring, spec.store) = (envoy, wiring, store);
        })
        .await
    }

    pub(super) fn envoy(&self) -> &Envoy {
        &self.stack.envoys()[0]
    }

    /// One GET with this key.
    pub(super) async fn get(&self, key: &str) -> Answer {
        self.request(key).await.unwrap()
    }

    /// One GET with this key, to be sent from a task.
    pub(super) fn request(
        &self,
        key: &str,
    ) -> impl Future<Output = reqwest::Result<Answer>> + Send + 'static {
        let request = self.http.get(self.envoy().front_url());
        let request = request.header(KEY_HEADER, key).send();
        async move {
            let response = request.await?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            response.bytes().await?;
            Ok(Answer::new(status, &headers))
        }
    }

    /// What Envoy counts, for Prometheus.
    pub(super) async fn sample(&self) -> EnvoySample {
        EnvoySample::take(&self.http, self.envoy()).await.unwrap()
    }

    /// Waits until the gauge, which is published at ticks, says so.
    pub(super) async fn nobody_waits(&self) {
        eventually("nobody waits", async || self.sample().await.waiting == 0).await;
    }

    /// Decisions of the rule so far.
    pub(super) async fn decisions(&self, decision: &str) -> u64 {
        let sample = self.sample().await;
        let rule = sample.requests.get("per-key");
        rule.and_then(|rule| rule.get(decision))
            .copied()
            .unwrap_or(0)
    }

    /// Decisions of all rules so far.
    pub(super) async fn decided(&self) -> u64 {
        let sample = self.sample().await;
        sample
            .requests
            .values()
            .flat_map(|rule| rule.values())
            .sum()
    }

    /// Envoy's own counters whose names match, by name.
    pub(super) async fn stats(&self, filter: &str) -> BTreeMap<String, u64> {
        let url = format!("{}/stats?filter={filter}", self.envoy().admin_url());
        let text = self
            .http
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let counters = text.lines().filter_map(|line| line.split_once(": "));
        counters
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// What changes when a VM traps, is reloaded or is refused: Envoy's counters of VMs. How many
    /// were ever `created` is left out: Envoy 1.36 was seen to count one more while as many stayed
    /// active and none was reloaded.
    pub(super) async fn vitals(&self) -> BTreeMap<String, u64> {
        let mut counters = self.stats("^wasm\\.").await;
        assert!(
            counters.keys().any(|name| name.ends_with(".active")),
            "{counters:?}"
        );
        counters.retain(|name, _| !name.ends_with(".created"));
        counters
    }

    /// Envoy's log so far.
    pub(super) fn log(&self) -> String {
        let log = std::fs::read(self.dir.path().join("envoy-0.log")).unwrap();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// No VM trapped: Envoy logs every trap, and before it what the module said.
    pub(super) fn assert_no_trap(&self, after: &str) {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let trap = lines.iter().position(|line| line.contains("RuntimeError"));
        let told = trap.map(|at| lines[at.saturating_sub(2)..=at].join("\n"));
        assert_eq!(told, None, "trapped after {after}");
    }

    /// No VM trapped, and as many live as when the vitals were taken.
    pub(super) async fn assert_unharmed(&self, before: &BTreeMap<String, u64>, after: &str) {
        self.assert_no_trap(after);
        let now = self.vitals().await;
        assert!(
            now == *before,
            "after {after}: {now:#?}, before: {before:#?}"
        );
    }

    /// Waits until the store is believed again; then it counts.
    pub(super) async fn heal(&self, after: &str) {
        self.assert_counts_exactly(&format!("healed {after}")).await;
    }

    /// Sends a request more than a key's bucket holds, and each is answered by an exact count. An
    /// answer by the policy, as a busy machine may cause one, is no count: then another key of this
    /// name begins. The key that was counted.
    pub(super) async fn assert_counts_exactly(&self, name: &str) -> String {
        let (mut tries, mut counted) = (0, String::new());
        eventually(&format!("{name} is counted"), async || {
            tries += 1;
            counted = format!("{name} {tries}");
            self.is_counted_exactly(&counted).await
        })
        .await;
        counted
    }

    /// Whether all answers to this key were counts. Those must be right.
    async fn is_counted_exactly(&self, key: &str) -> bool {
        let admitted = (0..BURST).rev().map(|remaining| (200, remaining));
        for (status, remaining) in admitted.chain([(429, 0)]) {
            let answer = self.get(key).await;
            if answer.is_policy() {
                return false;
            }
            let told = (answer.status, answer.remaining);
            assert_eq!(told, (status, Some(remaining)), "{key}: {answer:?}");
        }
        true
    }
}

impl Answer {
    fn new(status: u16, headers: &HeaderMap) -> Self {
        let names = headers.keys().map(|name| name.as_str());
        let limits = names.filter(|name| name.contains("ratelimit") || *name == "retry-after");
        let field = headers
            .get("ratelimit")
            .and_then(|value| value.to_str().ok());
        let remaining = field.and_then(|field| {
            field
                .split(';')
                .find_map(|part| part.trim().strip_prefix("r=")?.parse().ok())
        });
        Self {
            status,
            remaining,
            limit_headers: limits.map(str::to_owned).collect(),
        }
    }

    /// Whether it was let pass for want of a count.
    pub(super) fn is_policy(&self) -> bool {
        self.status == 200 && self.limit_headers.is_empty()
    }
}

/// The plugin's settings of these tests.
fn plugin(timeout: Duration) -> Value {
    let timeout = format!("{}ms", timeout.as_millis());
    json!({
        "redis": { "timeout": timeout },
        "breaker": { "window": 4, "minimum_calls": 2, "failure_rate": 0.5, "slow_call": timeout,
                     "slow_call_rate": 1, "open": "20ms", "max_open": "50ms", "probes": 1 },
        "rules": [{ "name": "per-key", "key": [{ "header": KEY_HEADER }],
                    "limit": { "requests": BURST, "per": "1d" } }],
    })
}

/// Makes Envoy wait for the store longer than the filter does.
fn outlast(tree: &mut Value, timeout: Duration) {
    let longer = timeout + Duration::from_millis(50);
    let longer = json!(format!("{}s", longer.as_secs_f64()));
    if let Ok(proxy) = envoy_config::redis_proxy(tree) {
        proxy["settings"]["op_timeout"] = longer.clone();
    }
    envoy_config::store_cluster(tree).unwrap()["connect_timeout"] = longer;
}
