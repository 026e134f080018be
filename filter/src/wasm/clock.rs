//! The only clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::units::{Instant, Micros};

/// A clock that never steps: wall time when the configuration came, monotonic time since. Two of
/// one process may be apart by what the wall clock stepped between their starts.
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
        Self {
            origin: wall(),
            started: std::time::Instant::now(),
        }
    }

    pub(super) fn now(&self) -> Instant {
        let elapsed = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.origin + Micros(elapsed)
    }
}

/// The wall clock: the same for all workers, but it steps when it is set.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clocks"
)]
pub(super) fn wall() -> Instant {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Instant(u64::try_from(since.as_micros()).unwrap_or_default())
}
