//! Fixed window: the twin of `lua/fixed_window.lua`.

use super::algorithm::State;
use super::charge;
use super::reply::Standing;
use super::window::{Slot, Window};
use crate::units::Micros;

/// Tokens charged in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    slot: Slot,
    count: u64,
}

impl Counter {
    /// How the script stores it.
    pub(super) fn stored(self) -> String {
        let Slot { index, per } = self.slot;
        format!("{index}:{}:{per}", self.count)
    }
}

/// The counter of the window of now.
#[derive(Debug)]
pub(super) struct Level {
    window: Window,
    now_us: u64,
    counter: Counter,
    changed: bool,
}

impl Level {
    pub(super) fn at(now_us: u64, window: Window, stored: Option<Counter>) -> Self {
        let slot = Slot::holding(now_us, window.per.0);
        let mut level = Self {
            window,
            now_us,
            counter: Counter { slot, count: 0 },
            changed: false,
        };
        if let Some(stored) = stored {
            level.go_on_with(stored);
        }
        level
    }

    /// Counts on where the window that is stored is not over.
    fn go_on_with(&mut self, stored: Counter) {
        let current = Slot::holding(self.now_us, stored.slot.per);
        if stored.slot.index < current.index {
            return;
        }
        if current.end() > self.counter.slot.end() {
            self.counter.slot = current;
        }
        self.counter.count = stored.count;
        self.changed = self.counter.slot != stored.slot;
    }

    fn left(&self) -> Micros {
        Micros(self.counter.slot.end().saturating_sub(self.now_us))
    }
}

impl charge::Level for Level {
    fn lots(&self, size: u64, most: u64) -> u64 {
        self.window.lots(self.counter.count, size, most)
    }

    fn charge(&mut self, tokens: u64) {
        self.counter.count = self.counter.count.saturating_add(tokens);
        self.changed = true;
    }

    fn refund(&mut self, tokens: u64, taken_at: u64) -> u64 {
        let slot = Slot::holding(taken_at, self.window.per.0);
        if slot != self.counter.slot {
            return 0;
        }
        let given = tokens.min(self.counter.count);
        self.counter.count = self.counter.count.saturating_sub(given);
        self.changed |= given > 0;
        given
    }

    fn standing(&self, cost: u64) -> Standing {
        let fits = self.counter.count.saturating_add(cost) <= self.window.requests;
        Standing {
            remaining: self.lots(1, self.window.requests),
            retry: if fits { Micros::ZERO } else { self.left() },
            reset: match self.counter.count {
                0 => Micros::ZERO,
                _ => self.left(),
            },
        }
    }

    fn changed(&self) -> Option<State> {
        self.changed.then_some(State::FixedWindow(self.counter))
    }
}
