//! A table that clients' keys cannot grow beyond its capacity.
//!
//! When it is full, entries that are over make room. If none is, a new key finds none, and its owner
//! does without: no flood of keys makes the table forget what it must remember.

use std::hash::Hash;

use hashbrown::HashMap;

use crate::units::{Instant, Micros};

/// A sweep reads the whole table: at most ten a second, however hard the flood.
const SWEEP_EVERY: Micros = Micros::from_millis(100);

/// Values by key, and room for so many.
#[derive(Debug)]
pub struct Bounded<K, V> {
    capacity: usize,
    entries: HashMap<K, V>,
    next_sweep: Instant,
    evictions: u64,
}

impl<K: Eq + Hash, V> Bounded<K, V> {
    /// An empty table of `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: HashMap::new(),
            next_sweep: Instant(0),
            evictions: 0,
        }
    }

    /// What is known of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    /// What is known of a key, to be changed.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    /// Whether an entry of this key is there or finds room, where entries that are over
    /// (`is_over`) need not stay. A key for which there is none is counted.
    pub fn has_room(&mut self, key: &K, now: Instant, is_over: impl Fn(&V) -> bool) -> bool {
        if self.entries.contains_key(key) {
            return true;
        }
        if self.entries.len() >= self.capacity && now >= self.next_sweep {
            self.entries.retain(|_, value| !is_over(value));
            self.next_sweep = now + SWEEP_EVERY;
        }
        let room = self.entries.len() < self.capacity;
        self.evictions = self.evictions.saturating_add(u64::from(!room));
        room
    }

    /// Remembers a value; [`Bounded::has_room`] says whether there is room for one of a new key.
    pub fn insert(&mut self, key: K, value: V) {
        self.entries.insert(key, value);
    }

    /// Forgets a key.
    pub fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }

    /// How many keys are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Keys that found no room since the last call.
    pub fn take_evictions(&mut self) -> u64 {
        std::mem::take(&mut self.evictions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant(1_000_000);

    /// Remembers until when, if there is room at `now`.
    fn put(table: &mut Bounded<char, Instant>, key: char, until: Instant, now: Instant) -> bool {
        let room = table.has_room(&key, now, |until| *until <= now);
        if room {
            table.insert(key, until);
        }
        room
    }

    #[test]
    fn a_full_table_keeps_what_it_knows_and_counts_the_keys_without_room() {
        let mut table = Bounded::new(2);
        let until = NOW + Micros(1);
        assert!(put(&mut table, 'a', until, NOW) && put(&mut table, 'b', until, NOW));
        assert!(!put(&mut table, 'c', until, NOW));
        assert!(
            put(&mut table, 'a', until, NOW),
            "a known key needs no room"
        );
        assert!(table.get(&'b').is_some() && table.get(&'c').is_none());
        assert_eq!((table.take_evictions(), table.take_evictions()), (1, 0));
        table.remove(&'b');
        assert!(put(&mut table, 'c', until, NOW));
    }

    #[test]
    fn what_is_over_makes_room_and_the_rest_stays() {
        let mut table = Bounded::new(2);
        put(&mut table, 'a', NOW, NOW);
        put(&mut table, 'b', NOW + Micros(1), NOW);
        assert!(put(&mut table, 'c', NOW, NOW));
        assert!(table.get(&'a').is_none() && table.get(&'b').is_some());
        assert_eq!(table.take_evictions(), 0);
    }

    #[test]
    fn a_full_table_is_swept_at_most_ten_times_a_second() {
        let mut table = Bounded::new(1);
        let sweeps = std::cell::Cell::new(0);
        table.insert('a', ());
        for millis in 0..200 {
            let now = NOW + Micros::from_millis(millis);
            let count = |_: &()| {
                sweeps.set(sweeps.get() + 1);
                false
            };
            assert!(!table.has_room(&'b', now, count));
        }
        assert_eq!(sweeps.get(), 2);
        assert_eq!(table.take_evictions(), 200);
    }
}
