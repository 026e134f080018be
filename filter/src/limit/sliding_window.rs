//! Sliding window: the twin of `lua/sliding_window.lua`.

use super::algorithm::State;
use super::charge;
use super::reply::Standing;
use super::window::{Slot, Window};
use crate::config::TOKENS_MAX;
use crate::units::Micros;

/// Tokens charged in one window and in the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    slot: Slot,
    current: u64,
    previous: u64,
}

/// The most that a counter holds: more than one window takes only when a clock was set back.
const COUNT_MAX: u64 = TOKENS_MAX.saturating_mul(2);

impl Counters {
    /// How the script stores them.
    pub(super) fn stored(self) -> String {
        let Slot { index, per } = self.slot;
        format!("{index}:{}:{}:{per}", self.current, self.previous)
    }

    /// Both as charged at `instant`, in windows of `per`.
    fn gathered(self, instant: u64, per: u64) -> Self {
        Self {
            slot: Slot::holding(instant, per),
            current: self.current.saturating_add(self.previous).min(COUNT_MAX),
            previous: 0,
        }
    }

    /// On to the window of now.
    fn rolled(self, now_us: u64) -> Self {
        let slot = Slot::holding(now_us, self.slot.per);
        match slot.index.saturating_sub(self.slot.index) {
            0 => self,
            passed => Self {
                slot,
                current: 0,
                previous: if passed == 1 { self.current } else { 0 },
            },
        }
    }
}

/// The counters as of now.
#[derive(Debug)]
pub(super) struct Level {
    window: Window,
    now_us: u64,
    counters: Counters,
    changed: bool,
}

impl Level {
    pub(super) fn at(now_us: u64, window: Window, stored: Option<Counters>) -> Self {
        let fresh = Counters {
            slot: Slot::holding(now_us, window.per.0),
            current: 0,
            previous: 0,
        };
        let mut level = Self {
            window,
            now_us,
            counters: stored.unwrap_or(fresh),
            changed: false,
        };
        level.catch_up();
        level
    }

    fn catch_up(&mut self) {
        let per = self.window.per.0;
        let of_now = Slot::holding(self.now_us, self.counters.slot.per);
        if self.counters.slot.index > of_now.index {
            self.gather(self.now_us, of_now.per);
        }
        if of_now.per <= per {
            self.counters = self.counters.rolled(self.now_us);
        }
        let Counters { slot, current, .. } = self.counters;
        let last = if slot.per < per && current > 0 {
            self.now_us
        } else if slot.per < per {
            slot.index.saturating_mul(slot.per).saturating_sub(1)
        } else if slot.per > per && slot.index < of_now.index {
            self.counters.previous = 0;
            slot.end().saturating_sub(1)
        } else {
            return;
        };
        self.gather(last, per);
        self.counters = self.counters.rolled(self.now_us);
    }

    fn gather(&mut self, instant: u64, per: u64) {
        self.counters = self.counters.gathered(instant, per);
        self.changed = self.counters.current > 0;
    }

    /// Of the previous window what the one that ends now overlaps, rounded up.
    fn fading(&self) -> u64 {
        let per = u128::from(self.counters.slot.per);
        let left = self.counters.slot.end().saturating_sub(self.now_us);
        let product = u128::from(self.counters.previous).saturating_mul(left.into());
        u64::try_from(product.div_ceil(per.max(1))).unwrap_or(u64::MAX)
    }

    fn taken(&self) -> u64 {
        self.counters.current.saturating_add(self.fading())
    }

    /// When the counter of the current window begins to fade: its end, but for a longer window
    /// that a former limit began.
    fn fades(&self) -> u64 {
        let last = self.counters.slot.end().saturating_sub(1);
        Slot::holding(last, self.window.per.0).end()
    }

    /// When of `count` tokens, which fade from `begins` on over `per`, at most `room` are left.
    fn faded(begins: u64, per: u64, count: u64, room: u64) -> u64 {
        let left = u128::from(room).saturating_mul(per.into());
        let left = left.checked_div(count.into()).unwrap_or_default();
        let left = u64::try_from(left).unwrap_or(per).min(per);
        begins.saturating_add(per).saturating_sub(left)
    }

    /// When there is room for `cost` tokens.
    fn fits_at(&self, cost: u64) -> u64 {
        let room = self.window.requests.saturating_sub(cost);
        let Counters {
            slot,
            current,
            previous,
        } = self.counters;
        if self.taken() <= room {
            return self.now_us;
        }
        match room.checked_sub(current) {
            Some(room) => {
                let begins = slot.index.saturating_mul(slot.per);
                Self::faded(begins, slot.per, previous, room)
            }
            None => Self::faded(self.fades(), self.window.per.0, current, room),
        }
    }

    fn fresh_at(&self) -> u64 {
        match self.counters {
            Counters { current: 1.., .. } => self.fades().saturating_add(self.window.per.0),
            Counters { previous: 1.., .. } => self.counters.slot.end(),
            _ => self.now_us,
        }
    }
}

impl charge::Level for Level {
    fn lots(&self, size: u64, most: u64) -> u64 {
        self.window.lots(self.taken(), size, most)
    }

    fn charge(&mut self, tokens: u64) {
        self.counters.current = self.counters.current.saturating_add(tokens);
        self.changed = true;
    }

    fn refund(&mut self, tokens: u64, taken_at: u64) -> u64 {
        let slot = Slot::holding(taken_at, self.window.per.0);
        let Counters {
            slot: of_now,
            current,
            previous,
        } = &mut self.counters;
        let counter = match of_now.index.checked_sub(slot.index) {
            Some(0) if of_now.per == slot.per => current,
            Some(1) if of_now.per == slot.per => previous,
            _ => return 0,
        };
        let given = tokens.min(*counter);
        *counter = counter.saturating_sub(given);
        self.changed |= given > 0;
        given
    }

    fn standing(&self, cost: u64) -> Standing {
        Standing {
            remaining: self.lots(1, self.window.requests),
            retry: Micros(self.fits_at(cost).saturating_sub(self.now_us)),
            reset: Micros(self.fresh_at().saturating_sub(self.now_us)),
        }
    }

    fn changed(&self) -> Option<State> {
        self.changed.then_some(State::SlidingWindow(self.counters))
    }
}
