//! What the algorithms with windows have in common.

use crate::units::Micros;

/// So many requests in each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Tokens in each `per`, 1 to 10^9.
    pub requests: u64,
    /// The window, a whole number of milliseconds, 1 ms to 366 days.
    pub per: Micros,
}

impl Window {
    /// How many lots of `size` tokens there is room for when so many are taken.
    pub(super) fn lots(&self, taken: u64, size: u64, most: u64) -> u64 {
        let room = self.requests.saturating_sub(taken);
        room.checked_div(size).map_or(most, |lots| lots.min(most))
    }
}

/// One of the windows into which all time is divided: the multiples of a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) index: u64,
    /// The length of a window, microseconds.
    pub(super) per: u64,
}

impl Slot {
    /// The window of this length that holds `us`.
    pub(super) fn holding(us: u64, per: u64) -> Self {
        let index = us.checked_div(per).unwrap_or_default();
        Self { index, per }
    }

    /// The first microsecond after it.
    pub(super) const fn end(self) -> u64 {
        self.index.saturating_add(1).saturating_mul(self.per)
    }
}
