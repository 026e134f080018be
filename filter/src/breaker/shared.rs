//! One breaker for all workers of a process: the record in a shared cell, changed by
//! compare-and-swap, and each worker's copy of it for questions asked per request.

use super::codec::VERSION;
use super::{Call, Moment, Permit, ProbePermit, Record, Settings, State, Transition, Turn};
use crate::random::SplitMix64;
use crate::units::Instant;

/// How often one change is tried against other workers. Each lost try means that another worker
/// succeeded, so running out takes as many changes by others within one call of ours.
pub const MAX_CAS_ATTEMPTS: usize = 8;

/// The key of the shared cell of a Redis cluster's breaker. It names the layout's version: shared
/// data outlives a reload, and two versions of the filter must not overwrite each other's record.
pub fn shared_key(cluster: &str) -> String {
    format!("velocitygate.breaker.v{VERSION}.{cluster}")
}

/// A few bytes that all workers see, and that change by compare-and-swap: the port to the host's
/// shared data.
pub trait SharedCell {
    /// The bytes and the number of their version; `None` when nothing was ever stored.
    fn load(&mut self) -> Option<(Vec<u8>, u32)>;

    /// Replaces version `cas`; `false`, and no change, when the cell has moved on meanwhile. The
    /// host ignores `cas` when it is 0 or the cell is empty.
    fn store(&mut self, bytes: &[u8], cas: u32) -> bool;
}

/// A change was dropped after [`MAX_CAS_ATTEMPTS`] lost tries. Nothing is stuck: a dropped outcome is
/// one call less in the window, and a dropped end of a probe becomes a lost probe at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contended;

impl std::fmt::Display for Contended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "change shared breaker in {MAX_CAS_ATTEMPTS} tries")
    }
}

impl std::error::Error for Contended {}

/// The breaker as the filter sees it: at work, or turned off.
#[derive(Debug)]
pub enum Breaker<C> {
    /// Permits every call, learns nothing, never probes.
    Off,
    /// Shared by all workers.
    On(SharedBreaker<C>),
}

/// A worker's view of the breaker of its process.
#[derive(Debug)]
pub struct SharedBreaker<C> {
    settings: Settings,
    cell: C,
    /// The record as this worker last saw it.
    seen: Record,
    random: SplitMix64,
}

impl<C: SharedCell> Breaker<C> {
    /// A breaker at work. Keeps the record that the cell holds (an older VM's), or creates it; do
    /// this at configure time, because creating is the one step that compare-and-swap does not guard.
    pub fn on(settings: Settings, cell: C, seed: u64) -> Self {
        let seen = Record::new(&settings);
        let mut shared = SharedBreaker {
            settings,
            cell,
            seen,
            random: SplitMix64::new(seed),
        };
        // Contention means that others have created the record, and the first refresh finds it.
        let _ = shared.update(|_| ());
        Self::On(shared)
    }

    /// Where the breaker stood when this worker last looked; closed when off.
    pub fn state(&self) -> State {
        match self {
            Self::Off => State::Closed,
            Self::On(shared) => shared.seen.state(),
        }
    }

    /// Looks at the shared record. Once per event-loop turn is enough: another worker's discovery
    /// is then at most one turn old.
    pub fn refresh(&mut self) {
        if let Self::On(shared) = self {
            shared.refresh();
        }
    }

    /// Leave to make one call, by the record as last seen; cheap enough for every request.
    pub fn permit(&self) -> Option<Permit> {
        match self {
            Self::Off => Some(Permit { generation: 0 }),
            Self::On(shared) => shared.seen.permit(),
        }
    }

    /// Counts the end of a permitted call; see [`Record::settle`].
    ///
    /// # Errors
    /// [`Contended`] when other workers kept winning; the outcome is dropped.
    pub fn settle(
        &mut self,
        permit: Permit,
        call: Call,
        now: Instant,
    ) -> Result<Option<Transition>, Contended> {
        let Self::On(shared) = self else {
            return Ok(None);
        };
        let (settings, moment) = (shared.settings, shared.moment(now));
        shared.update(|record| record.settle(&settings, &permit, call, moment))
    }

    /// This worker's tick: it may have to send a probe now; see [`Record::tick`]. Refreshes too.
    ///
    /// # Errors
    /// [`Contended`] when other workers kept winning; the next tick will do.
    pub fn tick(&mut self, now: Instant) -> Result<Turn, Contended> {
        let Self::On(shared) = self else {
            return Ok(Turn::default());
        };
        let (settings, moment) = (shared.settings, shared.moment(now));
        shared.update(|record| record.tick(&settings, moment))
    }

    /// Counts the end of a probe, and may ask for the next; see [`Record::settle_probe`].
    ///
    /// # Errors
    /// [`Contended`] when other workers kept winning; the probe counts as lost at its deadline.
    pub fn settle_probe(
        &mut self,
        permit: ProbePermit,
        call: Call,
        now: Instant,
    ) -> Result<Turn, Contended> {
        let Self::On(shared) = self else {
            return Ok(Turn::default());
        };
        let (settings, moment) = (shared.settings, shared.moment(now));
        shared.update(|record| record.settle_probe(&settings, &permit, call, moment))
    }
}

impl<C: SharedCell> SharedBreaker<C> {
    /// Runs `change` on the shared record until no other worker came between. An unchanged record
    /// is not written, so calls to a healthy Redis cost one load each. A record that is missing or
    /// unreadable is replaced by the one this worker saw last, so that even then the breaker goes
    /// on from a state it was in.
    fn update<T>(&mut self, change: impl Fn(&mut Record) -> T) -> Result<T, Contended> {
        for _ in 0..MAX_CAS_ATTEMPTS {
            let (stored, cas) = self.load();
            let mut after = stored.clone().unwrap_or_else(|| self.seen.clone());
            let value = change(&mut after);
            let unchanged = stored.is_some_and(|stored| stored == after);
            if unchanged || self.cell.store(&after.encode(), cas) {
                self.seen = after;
                return Ok(value);
            }
        }
        self.refresh();
        Err(Contended)
    }

    /// The shared record, if it is there and readable, and the version to replace.
    fn load(&mut self) -> (Option<Record>, u32) {
        self.cell.load().map_or((None, 0), |(bytes, cas)| {
            (Record::decode(&bytes, &self.settings).ok(), cas)
        })
    }

    fn refresh(&mut self) {
        if let (Some(record), _) = self.load() {
            self.seen = record;
        }
    }

    const fn moment(&mut self, now: Instant) -> Moment {
        Moment {
            now,
            random: self.random.next_u64(),
        }
    }
}
