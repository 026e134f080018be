//! The only clock.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::units::{Instant, Micros};

/// A clock that never steps: wall time when the VM started, monotonic time since. VMs of one
/// process agree on it, but for steps of the wall clock between their starts.
#[derive(Debug)]
pub(super) struct Clock {
    origin: Instant,
    started: std::time::Instant,
}

impl Clock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clocks"
    )]
    pub(super) fn start() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let origin = Instant(u64::try_from(wall.as_micros()).unwrap_or_default());
        Self {
            origin,
            started: std::time::Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        let elapsed = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.origin + Micros(elapsed)
    }
}
