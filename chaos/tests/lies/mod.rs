//! The parts of the hostile tests, and the tests themselves by who is hostile.

mod bed;
mod calls;
mod clients;
mod liar;
mod lie;
mod store;
mod trap;

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Longest wait for anything that must happen.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
