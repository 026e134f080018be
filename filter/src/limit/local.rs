//! Buckets of one worker, for the rules that count locally while Redis is away.

use std::hash::RandomState;

use hashbrown::HashMap;

use super::charge::{self, charge};
use super::reply::Standing;
use super::token_bucket::{Level, Tat, TokenBucket};
use crate::units::{Instant, Micros};

/// A bounded table of buckets by Redis key. A bucket starts full.
///
/// When the table is full, buckets that are full again are dropped: they and absent ones are the
/// same. If none is, every further key shares one bucket of its limit, so that a flood of keys can
/// only be counted more strictly, and never makes the table forget whom it has refused.
#[derive(Debug)]
pub struct LocalBuckets {
    capacity: usize,
    // Keys come from clients, so the hash must be seeded with real randomness.
    buckets: HashMap<Vec<u8>, Tat, RandomState>,
    next_sweep: Instant,
    evictions: u64,
}

/// A sweep reads the whole table: at most ten a second, however hard the flood.
const SWEEP_EVERY: Micros = Micros::from_millis(100);

/// One rule's share of a request.
#[derive(Clone, Copy, Debug)]
pub struct LocalDemand<'a> {
    /// The rule's number, which names its overflow bucket.
    pub rule: u16,
    /// The key that Redis would be asked for.
    pub key: &'a [u8],
    /// This worker's share of the rule's limit.
    pub limit: TokenBucket,
    /// Tokens that the request costs.
    pub cost: u64,
}

impl LocalBuckets {
    /// Buckets that one worker holds, about 100 bytes each.
    pub const CAPACITY: usize = 65_536;

    /// An empty table of at most `capacity` buckets, apart from one shared bucket a rule.
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            buckets: HashMap::with_hasher(RandomState::new()),
            next_sweep: Instant(0),
            evictions: 0,
        }
    }

    /// Asks all `demands` for one request at `now`, all or nothing.
    ///
    /// # Errors
    /// When it is refused: where each bucket stands.
    pub fn charge(
        &mut self,
        demands: &[LocalDemand<'_>],
        now: Instant,
    ) -> Result<(), Vec<Standing>> {
        let keys: Vec<Vec<u8>> = demands
            .iter()
            .map(|demand| self.place(demand, now))
            .collect();
        let tats = keys.iter().map(|key| self.buckets.get(key).copied());
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
        self.buckets.extend(keys.into_iter().zip(tats));
        Ok(())
    }

    /// Keys that had to share a bucket since the last call.
    pub fn take_evictions(&mut self) -> u64 {
        std::mem::take(&mut self.evictions)
    }

    /// The key under which the demand is counted: its own where there is room.
    fn place(&mut self, demand: &LocalDemand<'_>, now: Instant) -> Vec<u8> {
        if self.buckets.contains_key(demand.key) {
            return demand.key.to_vec();
        }
        if self.buckets.len() >= self.capacity && now >= self.next_sweep {
            self.buckets.retain(|_, tat| !tat.is_past(now.0));
            self.next_sweep = now + SWEEP_EVERY;
        }
        if self.buckets.len() < self.capacity {
            return demand.key.to_vec();
        }
        self.evictions = self.evictions.saturating_add(1);
        // Two bytes: no Redis key is this short.
        demand.rule.to_be_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE_A_SECOND: TokenBucket = TokenBucket {
        requests: 1,
        per: Micros::from_secs(1),
        burst: 1,
    };
    const NOW: Instant = Instant(1_000_000_000);

    fn admit(buckets: &mut LocalBuckets, key: &[u8], now: Instant) -> bool {
        let demand = LocalDemand {
            rule: 0,
            key,
            limit: ONE_A_SECOND,
            cost: 1,
        };
        buckets.charge(&[demand], now).is_ok()
    }

    #[test]
    fn a_bucket_starts_full_and_refills() {
        let mut buckets = LocalBuckets::new(8);
        assert!(admit(&mut buckets, b"vg:{r:a}:tb", NOW));
        assert!(!admit(&mut buckets, b"vg:{r:a}:tb", NOW));
        assert!(
            admit(&mut buckets, b"vg:{r:b}:tb", NOW),
            "another key is untouched"
        );
        assert!(admit(
            &mut buckets,
            b"vg:{r:a}:tb",
            NOW + Micros::from_secs(1)
        ));
    }

    #[test]
    fn a_full_table_shares_one_bucket_and_forgets_nobody_it_refused() {
        let mut buckets = LocalBuckets::new(2);
        assert!(admit(&mut buckets, b"victim-1", NOW));
        assert!(admit(&mut buckets, b"victim-2", NOW));
        assert!(
            admit(&mut buckets, b"flood-1", NOW),
            "the shared bucket starts full, too"
        );
        assert!(!admit(&mut buckets, b"flood-2", NOW));
        assert!(
            !admit(&mut buckets, b"victim-1", NOW),
            "no flood empties a victim's record"
        );
        assert_eq!(buckets.take_evictions(), 2);
        assert_eq!(buckets.take_evictions(), 0);
        assert!(buckets.buckets.len() <= 3);
    }

    #[test]
    fn buckets_that_are_full_again_make_room() {
        let mut buckets = LocalBuckets::new(2);
        for key in [b"a", b"b"] {
            assert!(admit(&mut buckets, key, NOW));
        }
        let later = NOW + Micros::from_secs(2);
        for key in [b"c", b"d"] {
            assert!(admit(&mut buckets, key, later));
        }
        assert_eq!(buckets.take_evictions(), 0);
    }

    #[test]
    fn several_buckets_are_charged_all_or_nothing() {
        let mut buckets = LocalBuckets::new(8);
        assert!(admit(&mut buckets, b"shared", NOW));
        let demand = |rule, key| LocalDemand {
            rule,
            key,
            limit: ONE_A_SECOND,
            cost: 1,
        };
        let both = buckets.charge(&[demand(0, b"shared"), demand(1, b"own")], NOW);
        assert!(both.is_err());
        assert!(
            admit(&mut buckets, b"own", NOW),
            "the refused request charged nothing"
        );
    }
}
