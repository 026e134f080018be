//! Limits on real Envoy and real Redis: how many pass, who is counted, also over an outage.

mod algorithms;
mod clock_steps;
#[path = "../common/mod.rs"]
mod common;
mod deny_cache;
mod excess;
mod fallback;
mod leases;
mod load;
#[path = "../common/page.rs"]
mod page;
mod promise;
mod rules;

use common::{Running, Seen};

/// The statuses of `count` equal requests, one after the other.
async fn statuses(running: &Running, path: &str, key: &str, count: usize) -> Vec<u16> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(Seen::of(running.get(path, key)).await.status);
    }
    all
}
