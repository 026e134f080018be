//! Buckets of one worker, for the rules that count locally while Redis is away.

use super::charge::{self, charge};
use super::reply::Standing;
use super::token_bucket::{Level, Tat, TokenBucket};
use crate::bounded::Bounded;
use crate::fingerprint::Fingerprint;
use crate::units::Instant;

/// A bounded table of buckets by key. A bucket starts full.
///
/// When the table is full, buckets that are full again are dropped: they and absent ones are the
/// same. If none is, every further key shares one bucket of its limit, so that a flood of keys can
/// only be counted more strictly, and never makes the table forget whom it has refused.
#[derive(Debug)]
pub struct LocalBuckets(Bounded<Place, Tat>);

/// Where a request is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    /// In the bucket of its key.
    Own(Fingerprint),
    /// In the bucket that all keys of a rule share for which there was no room.
    Shared(u16),
}

/// One rule's share of a request.
#[derive(Clone, Copy, Debug)]
pub struct LocalDemand {
    /// The rule's number, which names its shared bucket.
    pub rule: u16,
    /// The key that Redis would be asked for.
    pub key: Fingerprint,
    /// This worker's share of the rule's limit.
    pub limit: TokenBucket,
    /// Tokens that the request costs.
    pub cost: u64,
}

impl LocalBuckets {
    /// Buckets that one worker holds, about 130 bytes each in a full table.
    pub const CAPACITY: usize = 65_536;

    /// An empty table of at most `capacity` buckets, apart from one shared bucket a rule and what one
    /// request brings, as all its rules look for room before any of them takes it.
    pub fn new(capacity: usize) -> Self {
        Self(Bounded::new(capacity))
    }

    /// Asks all `demands` for one request at `now`, all or nothing.
    ///
    /// # Errors
    /// When it is refused: where each bucket stands.
    pub fn charge(&mut self, demands: &[LocalDemand], now: Instant) -> Result<(), Vec<Standing>> {
        let places: Vec<Place> = demands
            .iter()
            .map(|demand| self.place(demand, now))
            .collect();
        let tats = places.iter().map(|place| self.0.get(place).copied());
        let mut levels: Vec<Level> = demands
            .iter()
            .zip(tats)
            .map(|(demand, tat)| demand.limit.level(tat.unwrap_or_default(), now.0))
            .collect();
        let mut open: Vec<(&mut dyn charge::Level, u64)> = levels
            .iter_mut()
            .zip(demands)
            .map(|(level, demand)| (level as &mut dyn charge::Level, demand.cost))
            .collect();
        let (admitted, standings) = charge(&mut open, 1);
        if admitted == 0 {
            return Err(standings);
        }
        let tats = levels.iter().map(Level::tat);
        let charged = places.into_iter().zip(tats);
        charged.for_each(|(place, tat)| self.0.insert(place, tat));
        Ok(())
    }

    /// Keys that had to share a bucket since the last call.
    pub fn take_evictions(&mut self) -> u64 {
        self.0.take_evictions()
    }

    /// A bucket of its own where there is room.
    fn place(&mut self, demand: &LocalDemand, now: Instant) -> Place {
        let own = Place::Own(demand.key);
        if self.0.has_room(&own, now, |tat| tat.is_past(now.0)) {
            own
        } else {
            Place::Shared(demand.rule)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Fingerprints;
    use crate::units::Micros;

    const ONE_A_SECOND: TokenBucket = TokenBucket {
        requests: 1,
        per: Micros::from_secs(1),
        burst: 1,
    };
    const NOW: Instant = Instant(1_000_000_000);

    /// A table and what names the keys in it.
    struct Table {
        fingerprints: Fingerprints,
        buckets: LocalBuckets,
    }

    impl Table {
        fn of(capacity: usize) -> Self {
            Self {
                fingerprints: Fingerprints::default(),
                buckets: LocalBuckets::new(capacity),
            }
        }

        fn demand(&self, rule: u16, key: &str) -> LocalDemand {
            LocalDemand {
                rule,
                key: self.fingerprints.of(key.as_bytes()),
                limit: ONE_A_SECOND,
                cost: 1,
            }
        }

        fn admits(&mut self, key: &str, now: Instant) -> bool {
            let demand = self.demand(0, key);
            self.buckets.charge(&[demand], now).is_ok()
        }
    }

    #[test]
    fn a_bucket_starts_full_and_refills() {
        let mut table = Table::of(8);
        assert!(table.admits("a", NOW));
        assert!(!table.admits("a", NOW));
        assert!(table.admits("b", NOW), "another key is untouched");
        assert!(table.admits("a", NOW + Micros::from_secs(1)));
    }

    #[test]
    fn a_full_table_shares_one_bucket_and_forgets_nobody_it_refused() {
        let mut table = Table::of(2);
        assert!(table.admits("victim-1", NOW));
        assert!(table.admits("victim-2", NOW));
        assert!(table.admits("flood-1", NOW), "the shared one starts full");
        assert!(!table.admits("flood-2", NOW));
        assert!(!table.admits("victim-1", NOW), "no flood empties a record");
        assert_eq!(table.buckets.take_evictions(), 2);
        assert_eq!(table.buckets.take_evictions(), 0);
        assert!(table.buckets.0.len() <= 3);
    }

    #[test]
    fn buckets_that_are_full_again_make_room() {
        let mut table = Table::of(2);
        for key in ["a", "b"] {
            assert!(table.admits(key, NOW));
        }
        for key in ["c", "d"] {
            assert!(table.admits(key, NOW + Micros::from_secs(2)));
        }
        assert_eq!(table.buckets.take_evictions(), 0);
    }

    #[test]
    fn several_buckets_are_charged_all_or_nothing() {
        let mut table = Table::of(8);
        assert!(table.admits("shared", NOW));
        let both = [table.demand(0, "shared"), table.demand(1, "own")];
        assert!(table.buckets.charge(&both, NOW).is_err());
        assert!(table.admits("own", NOW), "the refused request charged none");
    }
}
