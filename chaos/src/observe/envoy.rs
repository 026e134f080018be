//! Envoy and the filter as Envoy's statistics show them.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use prometheus_parse::{Sample, Scrape, Value};
use serde::{Deserialize, Serialize};

use crate::stack::Envoy;

/// The state of the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// Probing.
    HalfOpen,
}

/// What is kept of a histogram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Values recorded.
    pub count: f64,
    /// Their sum, in the histogram's unit.
    pub sum: f64,
}

/// One scrape of one Envoy. Counters begin at its start; one never raised is absent or 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EnvoySample {
    /// Requests decided, by rule and then by decision.
    pub requests: BTreeMap<String, BTreeMap<String, u64>>,
    /// `None` until the filter has published it.
    pub breaker: Option<BreakerState>,
    /// Breaker changes by the state gone to.
    pub transitions: BTreeMap<String, u64>,
    /// Requests paused now.
    pub waiting: u64,
    /// Batches sent, by result.
    pub redis_calls: BTreeMap<String, u64>,
    /// Errors that Redis answered, by class.
    pub redis_errors: BTreeMap<String, u64>,
    /// Microseconds that requests were paused.
    pub wait_us: Summary,
    /// Microseconds that batches took.
    pub redis_call_us: Summary,
    /// Requests per batch.
    pub batch_size: Summary,
    /// Refusals without Redis.
    pub deny_cache_hits: u64,
    /// Answers to clients, by class (`2`, `4`, `5`).
    pub answers: BTreeMap<String, u64>,
    /// Requests sent to the upstream.
    pub upstream_requests: u64,
    /// Connections to the store that Envoy opened.
    pub store_connections: u64,
    /// Of these, those that failed.
    pub store_connect_failures: u64,
    /// Reloads of the filter's VM after a trap.
    pub vm_reloads: u64,
    /// Bytes that Envoy's allocator has handed out.
    pub memory_bytes: u64,
}

impl EnvoySample {
    /// Scrapes `envoy` through its metrics listener, as Prometheus would.
    ///
    /// # Errors
    /// When it does not answer, or not in Prometheus's text format.
    pub async fn take(http: &reqwest::Client, envoy: &Envoy) -> Result<Self> {
        let url = format!("{}/stats/prometheus", envoy.metrics_url());
        let text = http
            .get(&url)
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?;
        Self::parse(&text).with_context(|| format!("in the answer of {url}"))
    }

    /// Reads a scrape.
    ///
    /// # Errors
    /// When it is not in Prometheus's text format.
    pub fn parse(text: &str) -> Result<Self> {
        let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned())))?;
        let mut sample = Self::default();
        for line in &scrape.samples {
            sample.add(line);
        }
        Ok(sample)
    }

    fn add(&mut self, line: &Sample) {
        match line.metric.as_str() {
            "velocitygate_requests_total" => {
                let decisions = self.requests.entry(label(line, "rule")).or_default();
                *decisions.entry(label(line, "decision")).or_default() += count(line);
            }
            "velocitygate_breaker_state" if count(line) == 1 => {
                self.breaker = breaker_state(&label(line, "state"));
            }
            "velocitygate_breaker_transitions_total" => {
                add_to(&mut self.transitions, line, "to");
            }
            "velocitygate_waiting" => self.waiting = count(line),
            "velocitygate_redis_calls_total" => add_to(&mut self.redis_calls, line, "result"),
            "velocitygate_redis_errors_total" => add_to(&mut self.redis_errors, line, "class"),
            "velocitygate_deny_cache_hits_total" => self.deny_cache_hits = count(line),
            "velocitygate_wait_us_sum" => self.wait_us.sum = number(line),
            "velocitygate_wait_us_count" => self.wait_us.count = number(line),
            "velocitygate_redis_call_us_sum" => self.redis_call_us.sum = number(line),
            "velocitygate_redis_call_us_count" => self.redis_call_us.count = number(line),
            "velocitygate_batch_size_sum" => self.batch_size.sum = number(line),
            "velocitygate_batch_size_count" => self.batch_size.count = number(line),
            _ => self.add_envoys_own(line),
        }
    }

    fn add_envoys_own(&mut self, line: &Sample) {
        let cluster = line.labels.get("envoy_cluster_name");
        match (line.metric.as_str(), cluster) {
            ("envoy_http_downstream_rq_xx", _)
                if line.labels.get("envoy_http_conn_manager_prefix") == Some("front") =>
            {
                add_to(&mut self.answers, line, "envoy_response_code_class");
            }
            ("envoy_cluster_upstream_rq_total", Some("upstream")) => {
                self.upstream_requests = count(line);
            }
            ("envoy_cluster_upstream_cx_total", Some("redis")) => {
                self.store_connections = count(line);
            }
            ("envoy_cluster_upstream_cx_connect_fail", Some("redis")) => {
                self.store_connect_failures = count(line);
            }
            ("envoy_wasm_velocitygate_vm_reload_success", _) => self.vm_reloads = count(line),
            ("envoy_server_memory_allocated", _) => self.memory_bytes = count(line),
            _ => {}
        }
    }
}

fn breaker_state(name: &str) -> Option<BreakerState> {
    match name {
        "closed" => Some(BreakerState::Closed),
        "open" => Some(BreakerState::Open),
        "half_open" => Some(BreakerState::HalfOpen),
        _ => None,
    }
}

fn add_to(counts: &mut BTreeMap<String, u64>, line: &Sample, by: &str) {
    *counts.entry(label(line, by)).or_default() += count(line);
}

fn label(line: &Sample, name: &str) -> String {
    line.labels.get(name).unwrap_or_default().to_owned()
}

fn number(line: &Sample) -> f64 {
    match line.value {
        Value::Counter(number) | Value::Gauge(number) | Value::Untyped(number) => number,
        Value::Histogram(_) | Value::Summary(_) => 0.0,
    }
}

/// Envoy's counters are whole numbers; they are exact in an `f64` up to 2^53.
fn count(line: &Sample) -> u64 {
    number(line) as u64
}
