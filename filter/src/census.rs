//! How many requests wait in the whole process.
//!
//! A gauge of the host is one number for all workers, so none may simply set it, and adding to it
//! leaves the share of a VM that trapped in it for ever. So each worker keeps its own number in
//! data that all share, with the time it was last seen there; their sum is the gauge. What a dead
//! worker left is dropped once it has been silent for [`SILENCE`].

use crate::breaker::SharedCell;
use crate::units::{Instant, Micros};

/// The key of the shared data.
pub const SHARED_KEY: &str = "velocitygate.waiting.v1";

/// A worker that was not seen for so long is dead: a living one that has requests waiting is seen
/// at every tick.
pub const SILENCE: Micros = Micros::from_secs(1);

/// Workers that are counted; more than Envoy has reason to run.
pub const WORKERS_MAX: usize = 1_024;

/// Tries of a compare-and-swap; the next tick tries again.
const ATTEMPTS: usize = 4;

/// One worker's view of the count.
#[derive(Debug)]
pub struct Census<C> {
    cell: C,
    /// Which entry is this worker's own: random, so that no two workers share one.
    id: u64,
    published: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    id: u64,
    waiting: u64,
    seen: Instant,
}

impl<C: SharedCell> Census<C> {
    /// A worker that has reported nothing yet.
    pub const fn new(cell: C, id: u64) -> Self {
        Self {
            cell,
            id,
            published: None,
        }
    }

    /// Reports that `waiting` requests of this worker wait, and returns the sum over all workers
    /// when it is not what this worker returned last.
    pub fn report(&mut self, waiting: usize, now: Instant) -> Option<u64> {
        let own = Entry {
            id: self.id,
            waiting: waiting as u64,
            seen: now,
        };
        let total = (0..ATTEMPTS).find_map(|_| self.try_report(own))?;
        let changed = self.published != Some(total);
        self.published = Some(total);
        changed.then_some(total)
    }

    /// `None` when another worker was quicker.
    fn try_report(&mut self, own: Entry) -> Option<u64> {
        let (bytes, version) = self.cell.load().unwrap_or_default();
        let before = decode(&bytes);
        let mut after: Vec<Entry> = before
            .iter()
            .filter(|entry| entry.id != own.id && is_alive(entry, own.seen))
            .copied()
            .collect();
        if own.waiting > 0 && after.len() < WORKERS_MAX {
            after.push(own);
        }
        let total = after
            .iter()
            .fold(0, |sum: u64, entry| sum.saturating_add(entry.waiting));
        let stored = after == before || self.cell.store(&encode(&after), version);
        stored.then_some(total)
    }
}

/// Clocks of workers that started at different times may disagree, so a time ahead is no better
/// than one long ago.
fn is_alive(entry: &Entry, now: Instant) -> bool {
    now.since(entry.seen).max(entry.seen.since(now)) <= SILENCE
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let fields = entries
        .iter()
        .flat_map(|entry| [entry.id, entry.waiting, entry.seen.0]);
    fields.flat_map(u64::to_be_bytes).collect()
}

/// Whatever does not make a whole entry is dropped.
fn decode(bytes: &[u8]) -> Vec<Entry> {
    let (fields, _) = bytes.as_chunks::<8>();
    let numbers: Vec<u64> = fields
        .iter()
        .map(|field| u64::from_be_bytes(*field))
        .collect();
    let (entries, _) = numbers.as_chunks::<3>();
    let entries = entries.iter().take(WORKERS_MAX);
    entries
        .map(|&[id, waiting, seen]| Entry {
            id,
            waiting,
            seen: Instant(seen),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Cell;
    use proptest::prelude::*;

    const NOW: Instant = Instant(1_000_000_000);

    #[test]
    fn the_sum_of_all_workers_is_told_by_each_that_sees_it_change() {
        let cell = Cell::default();
        let mut one = Census::new(cell.clone(), 1);
        let mut two = Census::new(cell, 2);
        assert_eq!(one.report(3, NOW), Some(3));
        assert_eq!(two.report(4, NOW), Some(7));
        assert_eq!(one.report(3, NOW), Some(7));
        assert_eq!(one.report(3, NOW), None, "no change");
        assert_eq!(one.report(0, NOW), Some(4));
        assert_eq!(two.report(0, NOW), Some(0));
    }

    #[test]
    fn what_a_dead_worker_left_is_dropped_after_its_silence() {
        let cell = Cell::default();
        let mut dead = Census::new(cell.clone(), 1);
        let mut alive = Census::new(cell, 2);
        dead.report(5, NOW);
        assert_eq!(alive.report(1, NOW + SILENCE), Some(6));
        assert_eq!(alive.report(1, NOW + SILENCE + Micros(1)), Some(1));
    }

    #[test]
    fn a_clock_far_ahead_does_not_keep_an_entry_alive() {
        let cell = Cell::default();
        Census::new(cell.clone(), 1).report(5, NOW + Micros::from_secs(3_600));
        assert_eq!(Census::new(cell, 2).report(1, NOW), Some(1));
    }

    #[test]
    fn more_workers_than_can_be_are_not_counted() {
        let mut cell = Cell::default();
        let full: Vec<Entry> = (0..WORKERS_MAX as u64)
            .map(|id| Entry {
                id: id + 1,
                waiting: 1,
                seen: NOW,
            })
            .collect();
        cell.store(&encode(&full), 0);
        let mut one_more = Census::new(cell, 0);
        assert_eq!(one_more.report(1, NOW), Some(WORKERS_MAX as u64));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, waiting: usize, now: u64) {
            let mut cell = Cell::default();
            cell.store(&bytes, 0);
            Census::new(cell, 7).report(waiting, Instant(now));
        }
    }
}
