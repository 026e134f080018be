//! The time for what workers share.

use crate::units::{Instant, Micros};

/// A worker's own clock never steps, but may be apart from another's by a step of the wall clock
/// between the starts of their VMs, or between two configurations in one VM. So what they share is
/// told the wall clock instead, on which they agree though it may step: read at each tick, and
/// carried on by the worker's own clock until the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedTime {
    own: Instant,
    shared: Instant,
}

impl SharedTime {
    /// Before the first tick: the two clocks start as one.
    pub(super) const AT_START: Self = Self {
        own: Instant(0),
        shared: Instant(0),
    };

    /// Both clocks, read together.
    pub(super) const fn read(own: Instant, shared: Instant) -> Self {
        Self { own, shared }
    }

    /// How long ago the two were read.
    pub(super) fn age(self, now: Instant) -> Micros {
        now.since(self.own)
    }

    /// The shared clock's time when the own one shows `now`.
    pub(super) fn at(self, now: Instant) -> Instant {
        self.shared + now.since(self.own)
    }
}
