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
    /// Calls are refused while a probe finds out.
    HalfOpen,
}

impl BreakerState {
    /// As the filter logs it, or writes it in a label.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "closed" => Some(Self::Closed),
            "open" => Some(Self::Open),
            "half-open" | "half_open" => Some(Self::HalfOpen),
            _ => None,
        }
    }

    /// As people read it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
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
    /// Probes of the breaker, by result.
    pub probes: BTreeMap<String, u64>,
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
    /// Requests served from a lease.
    pub lease_hits: u64,
    /// Table entries given up for newer ones.
    pub evictions: u64,
    /// Answers to clients, by class (`2`, `4`, `5`).
    pub answers: BTreeMap<String, u64>,
    /// Requests sent to the upstream.
    pub upstream_requests: u64,
    /// Connections to the store that Envoy opened.
    pub store_connections: u64,
    /// Of these, those that failed.
    pub store_connect_failures: u64,
    /// Reloads of the filter's VMs after a trap: of the filter's own and of the Redis bridge's.
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
        // Envoy writes `{}` where there are no labels; prometheus-parse skips such lines.
        let scrape = Scrape::parse(text.lines().map(|line| Ok(line.replacen("{} ", " ", 1))))?;
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
                self.breaker = BreakerState::parse(&label(line, "state"));
            }
            "velocitygate_breaker_transitions_total" => {
                add_to(&mut self.transitions, line, "to");
            }
            "velocitygate_breaker_probes_total" => add_to(&mut self.probes, line, "result"),
            "velocitygate_waiting" => self.waiting = count(line),
            "velocitygate_redis_calls_total" => add_to(&mut self.redis_calls, line, "result"),
            "velocitygate_redis_errors_total" => add_to(&mut self.redis_errors, line, "class"),
            "velocitygate_deny_cache_hits_total" => self.deny_cache_hits = count(line),
            "velocitygate_lease_hits_total" => self.lease_hits = count(line),
            "velocitygate_evictions_total" => self.evictions = count(line),
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
            (
                "envoy_wasm_velocitygate_vm_reload_success"
                | "envoy_wasm_velocitygate_redis_vm_reload_success",
                _,
            ) => self.vm_reloads += count(line),
            ("envoy_server_memory_allocated", _) => self.memory_bytes = count(line),
            _ => {}
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = r#"# TYPE velocitygate_requests_total counter
velocitygate_requests_total{rule="per-key",decision="allowed"} 11
velocitygate_requests_total{rule="per-key",decision="denied"} 20
velocitygate_requests_total{rule="login",decision="denied"} 1
# TYPE velocitygate_redis_calls_total counter
velocitygate_redis_calls_total{result="ok"} 32
# TYPE velocitygate_breaker_transitions_total counter
velocitygate_breaker_transitions_total{to="open"} 2
# TYPE velocitygate_breaker_probes_total counter
velocitygate_breaker_probes_total{result="failed"} 3
# TYPE velocitygate_breaker_state gauge
velocitygate_breaker_state{state="closed"} 0
velocitygate_breaker_state{state="half_open"} 1
velocitygate_breaker_state{state="open"} 0
# TYPE velocitygate_waiting gauge
velocitygate_waiting{} 3
# TYPE velocitygate_batch_size histogram
velocitygate_batch_size_bucket{le="1"} 31
velocitygate_batch_size_bucket{le="+Inf"} 32
velocitygate_batch_size_sum{} 33.5
velocitygate_batch_size_count{} 32
# TYPE envoy_http_downstream_rq_xx counter
envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="front"} 11
envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="metrics"} 99
# TYPE envoy_cluster_upstream_rq_total counter
envoy_cluster_upstream_rq_total{envoy_cluster_name="redis"} 32
envoy_cluster_upstream_rq_total{envoy_cluster_name="upstream"} 12
"#;

    #[test]
    fn a_scrape_is_read_by_rule_decision_and_state() {
        let sample = EnvoySample::parse(SCRAPE).unwrap();
        assert_eq!(sample.requests["per-key"]["allowed"], 11);
        assert_eq!(sample.requests["login"]["denied"], 1);
        assert_eq!(
            (sample.redis_calls["ok"], sample.transitions["open"]),
            (32, 2)
        );
        assert_eq!(sample.probes, BTreeMap::from([("failed".to_owned(), 3)]));
        assert_eq!(
            (sample.breaker, sample.waiting),
            (Some(BreakerState::HalfOpen), 3)
        );
    }

    #[test]
    fn only_the_clients_answers_and_the_upstreams_requests_are_counted() {
        let sample = EnvoySample::parse(SCRAPE).unwrap();
        assert_eq!(sample.answers, BTreeMap::from([("2".to_owned(), 11)]));
        assert_eq!(sample.upstream_requests, 12);
    }

    #[test]
    fn a_histogram_keeps_its_count_and_sum() {
        let sample = EnvoySample::parse(SCRAPE).unwrap();
        assert_eq!(
            sample.batch_size,
            Summary {
                count: 32.0,
                sum: 33.5
            }
        );
    }

    #[test]
    fn an_envoy_without_the_filter_has_no_breaker() {
        assert_eq!(EnvoySample::parse("").unwrap(), EnvoySample::default());
    }

    #[test]
    fn reloads_of_both_plugins_count() {
        let text = "envoy_wasm_velocitygate_vm_reload_success{} 1\n\
            envoy_wasm_velocitygate_redis_vm_reload_success{} 2\n";
        assert_eq!(EnvoySample::parse(text).unwrap().vm_reloads, 3);
    }
}
