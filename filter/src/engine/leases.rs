//! Leases: tokens that this worker took from Redis ahead of the requests that will use them.
//!
//! A charge asks for some requests more than wait ([`Leases::spare`]); what is admitted beyond them
//! stays here and lets later requests pass without a call. A lease runs from when its call was
//! *sent*, so it ends here no later than `ttl` after Redis took the tokens, and what is left of it
//! then is given back. How much is taken follows the demand of late, so a key that is seldom asked
//! for takes none.
//!
//! Taking early and spending late must not break the limit: what Redis counts for a leased rule is
//! tightened by what can be spent within a `ttl` ([`Limit::leased`](crate::limit::Limit::leased)).

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::effect::CallId;
use super::held::{Brought, Held, Unspent};
use super::waiter::{Bucket, Part, PartResult, Waiter};
use crate::fingerprint::Fingerprint;
use crate::limit::Standing;
use crate::units::Instant;

/// Keys of one worker that may hold a lease, about 300 bytes each apart from the key itself. Others
/// ask Redis every time.
pub(super) const CAPACITY: usize = 4_096;
/// Bytes that those keys may have together: one can be three kilobytes that a client chose.
const KEY_BYTES_MAX: usize = 1024 * 1024;

/// The leases of one worker.
#[derive(Debug)]
pub(super) struct Leases {
    capacity: usize,
    entries: HashMap<Fingerprint, Held>,
    key_bytes: usize,
    /// Keys whose lease runs low, each once.
    low: Vec<Fingerprint>,
    evictions: u64,
}

impl Leases {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: HashMap::new(),
            key_bytes: 0,
            low: Vec::new(),
            evictions: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Lets a request pass when every bucket of its enforced parts has a lease with enough left.
    /// Tells whether it did.
    pub(super) fn spend(&mut self, waiter: &mut Waiter, now: Instant) -> bool {
        let enforced = waiter.parts.iter_mut().filter(|part| !part.shadow);
        let counted = enforced.filter(|part| part.result != Some(PartResult::Unlimited));
        let mut parts: Vec<&mut Part> = counted.collect();
        // All of them or none: what Redis has said of one may refuse the request.
        if parts.iter().any(|part| part.result.is_some()) {
            return false;
        }
        let buckets = || parts.iter().flat_map(|part| &part.buckets);
        if buckets().next().is_none() || !buckets().all(|bucket| self.holds(bucket, now)) {
            return false;
        }
        for part in &mut parts {
            let standings = part.buckets.iter().map(|bucket| self.take(bucket, now));
            let standings = standings.flatten().collect();
            part.result = Some(PartResult::Leased { standings });
        }
        true
    }

    fn holds(&self, bucket: &Bucket, now: Instant) -> bool {
        // A look takes nothing, and wants to see what is there.
        let held = self.entries.get(&bucket.fingerprint);
        bucket.cost > 0 && held.is_some_and(|held| held.tokens(now) >= bucket.cost)
    }

    /// Spends what [`Leases::holds`] found, and returns where the bucket stands.
    fn take(&mut self, bucket: &Bucket, now: Instant) -> Option<Standing> {
        let held = self.entries.get_mut(&bucket.fingerprint)?;
        held.spend(bucket.cost, now);
        if held.runs_low(now) && !held.is_low {
            held.is_low = true;
            self.low.push(bucket.fingerprint);
        }
        Some(held.standing(now))
    }

    /// A command of the next `call` asks for `members` requests on these buckets. How many more it
    /// should ask for: what the demand of late will use, unless a call is asking for that already.
    pub(super) fn spare(
        &mut self,
        buckets: &[Bucket],
        members: u64,
        (call, now): (CallId, Instant),
        under_way: impl Fn(CallId) -> bool,
    ) -> u64 {
        // What costs nothing needs no lease.
        if buckets.iter().any(|bucket| bucket.cost == 0) {
            return 0;
        }
        let mut spare = u64::MAX;
        for bucket in buckets {
            let Some(held) = self.held(bucket, now) else {
                return 0;
            };
            let is_asked = held.asked.is_some_and(|id| id == call || under_way(id));
            let wanted = held.wanted(members.saturating_mul(bucket.cost), now);
            let wanted = if is_asked { 0 } else { wanted };
            // They are charged together.
            spare = spare.min(wanted.checked_div(bucket.cost).unwrap_or(0));
        }
        if spare > 0 {
            self.mark_asked(buckets, call);
        }
        spare
    }

    fn mark_asked(&mut self, buckets: &[Bucket], call: CallId) {
        for bucket in buckets {
            if let Some(held) = self.entries.get_mut(&bucket.fingerprint) {
                held.asked = Some(call);
            }
        }
    }

    /// A key whose lease runs low.
    pub(super) fn next_low(&mut self) -> Option<Bucket> {
        while let Some(key) = self.low.pop() {
            if let Some(held) = self.entries.get_mut(&key) {
                held.is_low = false;
                return Some(held.bucket.clone());
            }
        }
        None
    }

    /// Redis is away: nothing can be taken.
    pub(super) fn forget_low(&mut self) {
        while self.next_low().is_some() {}
    }

    pub(super) fn runs_low(&self) -> bool {
        !self.low.is_empty()
    }

    /// Keeps what a charge brought; `false` when it brought tokens of a key that nobody asks for any
    /// more.
    pub(super) fn put(&mut self, bucket: &Bucket, brought: Brought) -> bool {
        match self.entries.get_mut(&bucket.fingerprint) {
            Some(held) => held.put(brought),
            None => return brought.spare == 0,
        }
        true
    }

    /// Takes out what will not be spent before `until`, to be given back, and forgets keys that
    /// nobody asks for any more. Beyond `room` they wait for their turn, and serve nobody meanwhile.
    pub(super) fn end(&mut self, until: Instant, room: usize) -> Vec<Unspent> {
        let mut unspent = Vec::new();
        let mut key_bytes = 0_usize;
        self.entries.retain(|_, held| {
            held.end(until, &mut unspent, room);
            let stays = !held.is_idle(until);
            let bytes = if stays { held.bucket.key.len() } else { 0 };
            key_bytes = key_bytes.saturating_add(bytes);
            stays
        });
        self.key_bytes = key_bytes;
        self.low.retain(|key| self.entries.contains_key(key));
        unspent
    }

    /// Keys that found no room since the last call.
    pub(super) fn take_evictions(&mut self) -> u64 {
        std::mem::take(&mut self.evictions)
    }

    /// What is held of a bucket that is asked for in Redis; `None` when it takes no lease.
    fn held(&mut self, bucket: &Bucket, now: Instant) -> Option<&mut Held> {
        let terms = bucket.lease?;
        let key_bytes = self.key_bytes.saturating_add(bucket.key.len());
        let full = self.entries.len() >= self.capacity || key_bytes > KEY_BYTES_MAX;
        match self.entries.entry(bucket.fingerprint) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(_) if full => {
                self.evictions = self.evictions.saturating_add(1);
                None
            }
            Entry::Vacant(place) => {
                self.key_bytes = key_bytes;
                Some(place.insert(Held::nothing(bucket, terms, now)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Lease;
    use crate::fingerprint::Fingerprints;
    use crate::limit::{Limit, TokenBucket};
    use crate::units::{Micros, RedisTime};

    const NOW: Instant = Instant(1_000_000);
    const TERMS: Lease = Lease {
        max: 8,
        ttl: Micros::from_millis(100),
    };

    /// Buckets with keys of so many bytes.
    fn buckets(count: usize, bytes: usize) -> Vec<Bucket> {
        let fingerprints = Fingerprints::default();
        let limit = Limit::TokenBucket(TokenBucket {
            requests: 10,
            per: Micros::from_secs(1),
            burst: 10,
        });
        let bucket = |number| {
            let key = format!("{number:0bytes$}").into_bytes();
            let fingerprint = fingerprints.of(&key);
            let lease = Some(TERMS);
            Bucket {
                lease,
                ..Bucket::of_no_rule(key, fingerprint, limit, 1)
            }
        };
        (0..count).map(bucket).collect()
    }

    /// Asks for two requests on each bucket; how many of the keys may take more.
    fn ask(leases: &mut Leases, buckets: &[Bucket], now: Instant) -> usize {
        let each = buckets.chunks(1);
        let spare = each.map(|it| leases.spare(it, 2, (CallId(1), now), |_| false));
        spare.filter(|spare| *spare == 2).count()
    }

    /// Two tokens beyond those of two requests.
    fn brought(now: Instant) -> Brought {
        Brought {
            used: 2,
            spare: 2,
            charged: RedisTime(7),
            standing: Standing::default(),
            sent: now,
            received: now,
        }
    }

    /// Four thousand keys of three kilobytes took 13 MB of a worker.
    #[test]
    fn the_keys_are_bounded_in_bytes_too() {
        let fit = KEY_BYTES_MAX / 2_048;
        let buckets = buckets(fit + 1, 2_048);
        let mut leases = Leases::new(CAPACITY);
        assert_eq!(ask(&mut leases, &buckets, NOW), fit);
        assert_eq!((leases.take_evictions(), leases.take_evictions()), (1, 0));
        assert_eq!(
            ask(&mut leases, &buckets[..1], NOW),
            0,
            "it is asked for already"
        );
        // Those that nobody asks for any more make room.
        let later = NOW + Micros::from_secs(1);
        assert_eq!(leases.end(later, 0).len(), 0);
        assert_eq!(ask(&mut leases, &buckets[1..], later), fit);
        assert_eq!(leases.take_evictions(), 0);
    }

    #[test]
    fn the_keys_are_bounded_in_number() {
        let buckets = buckets(3, 8);
        let mut leases = Leases::new(2);
        assert_eq!(ask(&mut leases, &buckets, NOW), 2);
        assert_eq!(leases.take_evictions(), 1);
    }

    #[test]
    fn what_finds_no_room_to_be_given_back_waits_for_its_turn() {
        let buckets = buckets(5, 8);
        let mut leases = Leases::new(CAPACITY);
        ask(&mut leases, &buckets, NOW);
        for bucket in &buckets {
            assert!(leases.put(bucket, brought(NOW)));
        }
        let over = NOW + TERMS.ttl;
        let turns = [2, 2, 2, 2].map(|room| leases.end(over, room).len());
        assert_eq!(turns, [2, 2, 1, 0]);
    }

    /// Each round took as much again while what had ended found no room to be given back.
    #[test]
    fn what_waits_to_be_given_back_is_held_too() {
        let buckets = buckets(1, 8);
        let mut leases = Leases::new(CAPACITY);
        let (mut now, mut held) = (NOW, 0);
        for round in 1..=20 {
            let call = (CallId(round), now);
            let spare = leases.spare(&buckets, 4, call, |_| false);
            held += spare;
            let taken = Brought {
                used: 4,
                spare,
                ..brought(now)
            };
            assert!(leases.put(&buckets[0], taken));
            now = now + TERMS.ttl;
            leases.end(now, 0);
        }
        assert!(held <= TERMS.max, "{held}");
        let given: u64 = leases.end(now, 9).iter().map(|(_, tokens, _)| tokens).sum();
        assert_eq!(given, held);
    }

    /// The fifth take of a key has no place of its own.
    #[test]
    fn i1_takes_that_are_merged_end_with_the_first_of_them() {
        let buckets = buckets(1, 8);
        let mut leases = Leases::new(CAPACITY);
        ask(&mut leases, &buckets, NOW);
        let step = Micros::from_millis(10);
        let mut sent = NOW;
        for _ in 0..5 {
            assert!(leases.put(&buckets[0], brought(sent)));
            sent = sent + step;
        }
        let held = |now| leases.entries[&buckets[0].fingerprint].tokens(now);
        let fourth_ends = NOW + step + step + step + TERMS.ttl;
        assert_eq!((held(NOW), held(fourth_ends)), (10, 0));
    }

    /// On a Redis Cluster one rule may have refused while another has to be asked again.
    #[test]
    fn i1_no_lease_takes_the_place_of_what_redis_said() {
        let buckets = buckets(2, 8);
        let mut leases = Leases::new(CAPACITY);
        ask(&mut leases, &buckets, NOW);
        for bucket in &buckets {
            assert!(leases.put(bucket, brought(NOW)));
        }
        let parts = buckets.chunks(1).map(|it| Part::asking(it.to_vec(), false));
        let mut waiter = Waiter {
            parts: parts.collect(),
            arrived: NOW,
            asked: 1,
        };
        let refused = PartResult::Refused {
            standings: Vec::new(),
        };
        waiter.parts[0].result = Some(refused.clone());
        assert!(!leases.spend(&mut waiter, NOW));
        let results = waiter.parts.iter().map(|part| part.result.clone());
        assert_eq!(results.collect::<Vec<_>>(), [Some(refused), None]);
    }
}
