//! Sliding log: the twin of `lua/sliding_log.lua`.

use super::algorithm::State;
use super::charge;
use super::reply::Standing;
use super::window::Window;
use crate::units::Micros;

/// All that still counts, in the order in which it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    /// To this time the tokens count.
    ends: u64,
    count: u64,
    /// Of all counts up to here, modulo [`SUM`].
    sum: u64,
    /// How far `ends` lay ahead when it was written.
    span: u64,
}

/// Sums wrap here, far above what any window holds.
const SUM: u64 = 1 << 40;

impl Log {
    /// How the script stores it.
    pub(super) fn stored(&self) -> String {
        let texts = self.entries.iter().map(|entry| {
            let Entry {
                ends,
                count,
                sum,
                span,
            } = entry;
            format!("{ends}:{count}:{sum}:{span}")
        });
        texts.collect::<Vec<_>>().join(" ")
    }
}

/// What of the log counts now.
#[derive(Debug)]
pub(super) struct Level {
    window: Window,
    now_us: u64,
    log: Log,
    changed: bool,
}

impl Level {
    pub(super) fn at(now_us: u64, window: Window, mut log: Log) -> Self {
        let last = log.entries.last().copied();
        let set_back = last.filter(|last| last.ends.saturating_sub(now_us) > last.span);
        if let Some(Entry { span, .. }) = set_back {
            let count = total(&log.entries);
            log.entries = vec![Entry {
                ends: now_us.saturating_add(span),
                count,
                sum: count,
                span,
            }];
        } else {
            log.entries.retain(|entry| entry.ends > now_us);
        }
        Self {
            window,
            now_us,
            log,
            changed: set_back.is_some(),
        }
    }

    fn wait(&self, ends: u64) -> Micros {
        Micros(ends.saturating_sub(self.now_us))
    }

    /// How long until `needed` tokens count no more.
    fn freed(&self, needed: u64) -> Micros {
        let mut freed: u64 = 0;
        let enough = self.log.entries.iter().find(|entry| {
            freed = freed.saturating_add(entry.count);
            freed >= needed
        });
        enough.map_or(Micros::ZERO, |entry| self.wait(entry.ends))
    }
}

fn total(entries: &[Entry]) -> u64 {
    entries
        .iter()
        .fold(0, |total, entry| total.saturating_add(entry.count))
}

impl charge::Level for Level {
    fn lots(&self, size: u64, most: u64) -> u64 {
        self.window.lots(total(&self.log.entries), size, most)
    }

    fn charge(&mut self, tokens: u64) {
        self.changed = true;
        let ends = self.now_us.saturating_add(self.window.per.0);
        let sum = self.log.entries.last().map_or(0, |last| last.sum);
        let sum = sum.saturating_add(tokens) % SUM;
        match self.log.entries.last_mut() {
            Some(last) if last.ends >= ends => {
                last.count = last.count.saturating_add(tokens);
                last.sum = sum;
                last.span = last.ends.saturating_sub(self.now_us);
            }
            _ => self.log.entries.push(Entry {
                ends,
                count: tokens,
                sum,
                span: self.window.per.0,
            }),
        }
    }

    fn refund(&mut self, tokens: u64, taken_at: u64) -> u64 {
        let ends = taken_at.saturating_add(self.window.per.0);
        let mut given = 0;
        let entries = self.log.entries.iter_mut();
        for entry in entries.skip_while(|entry| entry.ends < ends) {
            if entry.ends == ends {
                given = tokens.min(entry.count);
                entry.count = entry.count.saturating_sub(given);
            }
            entry.sum = entry.sum.saturating_add(SUM).saturating_sub(given) % SUM;
        }
        self.log.entries.retain(|entry| entry.count > 0);
        self.changed |= given > 0;
        given
    }

    fn standing(&self, cost: u64) -> Standing {
        let taken = total(&self.log.entries).saturating_add(cost);
        let last = self.log.entries.last();
        Standing {
            remaining: self.lots(1, self.window.requests),
            retry: match taken.saturating_sub(self.window.requests) {
                0 => Micros::ZERO,
                needed => self.freed(needed),
            },
            reset: last.map_or(Micros::ZERO, |last| self.wait(last.ends)),
        }
    }

    fn changed(&self) -> Option<State> {
        self.changed.then(|| State::SlidingLog(self.log.clone()))
    }
}
