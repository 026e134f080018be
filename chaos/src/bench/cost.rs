//! What a span of load cost: CPU time by process, calls by Redis's own count, requests upstream.

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::service::Service;
use crate::observe::{ProcessSample, RedisSample};
use crate::stack::Stack;

/// Since the processes began, or between two readings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Cost {
    /// CPU seconds of Envoy.
    pub(super) envoy_s: f64,
    /// Of the limiter service.
    pub(super) service_s: f64,
    /// Of Redis.
    pub(super) redis_s: f64,
    /// Of this process: the load and the upstream.
    pub(super) own_s: f64,
    /// Calls of scripts.
    pub(super) calls: u64,
    /// Requests that reached the upstream.
    pub(super) upstream: u64,
}

impl Cost {
    /// Reads all of them. A Redis that is down counts nothing.
    ///
    /// # Errors
    /// When a process is gone or Redis does not answer.
    pub(super) async fn read(stack: &Stack, service: Option<&Service>) -> Result<Self> {
        let envoy = stack.envoys().first().context("no Envoy")?;
        let cpu_s = |pid| ProcessSample::take(pid).map(|it| it.cpu_seconds);
        let (mut redis_s, mut calls) = (0.0, 0);
        if let Some(pid) = stack.redis().pid().await {
            let counts = RedisSample::take(stack.redis()).await?;
            calls = counts.evalsha_calls + counts.eval_calls;
            redis_s = cpu_s(pid)?;
        }
        Ok(Self {
            envoy_s: cpu_s(envoy.pid())?,
            service_s: service.map_or(Ok(0.0), |it| cpu_s(it.pid()))?,
            redis_s,
            own_s: cpu_s(std::process::id())?,
            calls,
            upstream: stack.upstream().hits(),
        })
    }

    /// What came since an earlier reading.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            envoy_s: self.envoy_s - before.envoy_s,
            service_s: self.service_s - before.service_s,
            redis_s: self.redis_s - before.redis_s,
            own_s: self.own_s - before.own_s,
            calls: self.calls.saturating_sub(before.calls),
            upstream: self.upstream.saturating_sub(before.upstream),
        }
    }
}
