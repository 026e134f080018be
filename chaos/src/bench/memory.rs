//! Envoy's memory with 100,000 live keys, and with 100,000 more.
//!
//! Envoy tells nothing of a VM's memory, so it is the growth of the process that counts: all that a
//! worker keeps of the keys is in it, and more.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::json;

use super::Settings;
use super::closed::Closed;
use super::peer::{Answers, OWN_FIELD};
use crate::observe::ProcessSample;
use crate::stack::{Spec, Stack, Store};

/// Keys of a pass.
const KEYS: u64 = 100_000;

/// Requests before the first reading, which settle the code that V8 compiles meanwhile.
const SETTLING: u64 = 20_000;

/// Longest pass.
const PASS: Duration = Duration::from_secs(120);

/// What the process grew by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Memory {
    /// With the first keys.
    pub(super) grown_bytes: f64,
    /// With as many more.
    pub(super) further_bytes: f64,
}

/// Measures it, with the files in `dir`: each key spends its only token, so that the worker
/// remembers when the next one comes free.
///
/// # Errors
/// When something does not start, or an answer is wrong.
pub(super) async fn run(dir: &Path, settings: &Settings) -> Result<Memory> {
    let rule = json!({
        "name": "bench",
        "key": [{ "header": "x-api-key" }],
        "limit": { "requests": 1, "per": "1h", "burst": 1 },
    });
    let mut spec = Spec {
        store: Store::Direct,
        plugin: json!({ "rules": [rule] }),
        ..Spec::new(dir.to_owned())
    };
    spec.tweak = Some(super::wiring::without_access_log());
    let stack = Stack::start(spec).await?;
    let measured = measure(&stack, settings).await;
    stack.stop().await?;
    measured
}

async fn measure(stack: &Stack, settings: &Settings) -> Result<Memory> {
    let envoy = stack.envoys().first().context("no Envoy")?;
    let pass = |first_key, keys, most, refuses| Closed {
        front: envoy.ports().front,
        connections: settings.connections,
        first_key,
        keys,
        length: PASS,
        most,
        answers: Answers {
            field: Some(OWN_FIELD),
            refuses,
        },
    };
    let rss = || ProcessSample::take(envoy.pid()).map(|it| it.rss_bytes as f64);
    pass(0, 1, SETTLING, true).run().await?;
    let before = rss()?;
    let first = pass(1, KEYS, KEYS, false).run().await?;
    let between = rss()?;
    let second = pass(1 + KEYS, KEYS, KEYS, false).run().await?;
    let after = rss()?;
    let admitted = first.admitted + second.admitted;
    ensure!(
        admitted >= 2 * KEYS * 99 / 100,
        "{admitted} of {} keys were admitted",
        2 * KEYS
    );
    Ok(Memory {
        grown_bytes: between - before,
        further_bytes: after - between,
    })
}
