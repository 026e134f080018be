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

use super::effect::CallId;
use super::waiter::{Bucket, Part, PartResult, Waiter};
use crate::config::Lease;
use crate::fingerprint::Fingerprint;
use crate::limit::Standing;
use crate::units::{Instant, Micros, RedisTime};

/// Keys of one worker that may hold a lease, about 200 bytes each. Others ask Redis every time.
pub(super) const CAPACITY: usize = 4_096;
/// Takes of one key that are held at once: a refill comes while the last is being spent.
const TAKES_MAX: usize = 4;

/// The leases of one worker.
#[derive(Debug)]
pub(super) struct Leases {
    capacity: usize,
    entries: HashMap<Fingerprint, Entry>,
    /// Keys whose lease runs low.
    low: Vec<Bucket>,
    evictions: u64,
}

/// What is held of one key, and what is wanted.
#[derive(Debug)]
struct Entry {
    terms: Lease,
    bucket: Bucket,
    /// The oldest first.
    takes: Vec<Take>,
    /// Where the bucket stood in Redis after the last charge.
    standing: Standing,
    demand: Demand,
    /// The call that was last sent to take more.
    asked: Option<CallId>,
}

/// What is left of the tokens that one charge brought.
#[derive(Clone, Copy, Debug)]
struct Take {
    tokens: u64,
    ends: Instant,
    charged: RedisTime,
}

/// Tokens that were asked for in this `ttl` and in the one before.
#[derive(Clone, Copy, Debug)]
struct Demand {
    began: Instant,
    now: u64,
    before: u64,
}

/// Tokens to give back: the bucket, how many, and when they were charged.
pub(super) type Unspent = (Bucket, u64, RedisTime);

impl Leases {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: HashMap::new(),
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
        let entry = self.entries.get(&bucket.fingerprint);
        bucket.cost > 0 && entry.is_some_and(|entry| entry.held(now) >= bucket.cost)
    }

    /// Spends what [`Leases::holds`] found, and returns where the bucket stands.
    fn take(&mut self, bucket: &Bucket, now: Instant) -> Option<Standing> {
        let entry = self.entries.get_mut(&bucket.fingerprint)?;
        entry.demand.add(bucket.cost, entry.terms.ttl, now);
        entry.spend(bucket.cost, now);
        if entry.runs_low(now) {
            let known = self.low.iter();
            let mut known = known.map(|low| low.fingerprint);
            if !known.any(|low| low == bucket.fingerprint) {
                self.low.push(bucket.clone());
            }
        }
        Some(entry.standing_now(now))
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
        let mut spare = u64::MAX;
        for bucket in buckets {
            let Some(entry) = self.entry(bucket, now) else {
                return 0;
            };
            let asked = members.saturating_mul(bucket.cost);
            entry.demand.add(asked, entry.terms.ttl, now);
            let is_asked = entry.asked.is_some_and(|id| id == call || under_way(id));
            let wanted = if is_asked { 0 } else { entry.wanted(now) };
            // They are charged together. What costs nothing needs no lease.
            spare = spare.min(wanted.checked_div(bucket.cost).unwrap_or(0));
        }
        if spare > 0 {
            self.mark_asked(buckets, call);
        }
        spare
    }

    fn mark_asked(&mut self, buckets: &[Bucket], call: CallId) {
        for bucket in buckets {
            if let Some(entry) = self.entries.get_mut(&bucket.fingerprint) {
                entry.asked = Some(call);
            }
        }
    }

    /// A key whose lease runs low. Each is named once.
    pub(super) fn next_low(&mut self) -> Option<Bucket> {
        self.low.pop()
    }

    /// Redis is away: nothing can be taken.
    pub(super) fn forget_low(&mut self) {
        self.low.clear();
    }

    pub(super) fn runs_low(&self) -> bool {
        !self.low.is_empty()
    }

    /// A charge that was sent at `sent` brought `tokens` more than waited for them, of a bucket
    /// that stands so after it. `false` when nobody asks for the key any more.
    pub(super) fn put(
        &mut self,
        bucket: &Bucket,
        (tokens, charged): (u64, RedisTime),
        standing: Standing,
        sent: Instant,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(&bucket.fingerprint) else {
            return tokens == 0;
        };
        entry.standing = standing;
        let ends = sent + entry.bucket.limit.lease_span(entry.terms.ttl, standing);
        let full = entry.takes.len() >= TAKES_MAX;
        match entry.takes.last_mut() {
            _ if tokens == 0 => {}
            // The two end with the first.
            Some(last) if full => {
                last.tokens = last.tokens.saturating_add(tokens);
                last.ends = last.ends.min(ends);
            }
            _ => entry.takes.push(Take {
                tokens,
                ends,
                charged,
            }),
        }
        true
    }

    /// Takes out what will not be spent before `until`, to be given back, and forgets keys that
    /// nobody asks for any more.
    pub(super) fn end(&mut self, until: Instant) -> Vec<Unspent> {
        let mut unspent = Vec::new();
        self.entries.retain(|_, entry| {
            entry.takes.retain(|take| {
                let over = take.ends <= until;
                if over && take.tokens > 0 {
                    unspent.push((entry.bucket.clone(), take.tokens, take.charged));
                }
                !over && take.tokens > 0
            });
            !entry.takes.is_empty() || entry.demand.is_recent(entry.terms.ttl, until)
        });
        unspent
    }

    /// Keys that found no room since the last call.
    pub(super) fn take_evictions(&mut self) -> u64 {
        std::mem::take(&mut self.evictions)
    }

    /// The entry of a bucket that is asked for in Redis; `None` when it takes no lease.
    fn entry(&mut self, bucket: &Bucket, now: Instant) -> Option<&mut Entry> {
        let terms = bucket.lease?;
        let full = self.entries.len() >= self.capacity;
        match self.entries.entry(bucket.fingerprint) {
            hashbrown::hash_map::Entry::Occupied(known) => Some(known.into_mut()),
            hashbrown::hash_map::Entry::Vacant(_) if full => {
                self.evictions = self.evictions.saturating_add(1);
                None
            }
            hashbrown::hash_map::Entry::Vacant(place) => {
                Some(place.insert(Entry::new(bucket, terms, now)))
            }
        }
    }
}

impl Entry {
    fn new(bucket: &Bucket, terms: Lease, now: Instant) -> Self {
        Self {
            terms,
            bucket: bucket.clone(),
            takes: Vec::new(),
            standing: Standing::default(),
            demand: Demand {
                began: now,
                now: 0,
                before: 0,
            },
            asked: None,
        }
    }

    fn held(&self, now: Instant) -> u64 {
        let live = self.takes.iter().filter(|take| now < take.ends);
        live.fold(0, |sum, take| sum.saturating_add(take.tokens))
    }

    fn spend(&mut self, cost: u64, now: Instant) {
        let mut left = cost;
        for take in self.takes.iter_mut().filter(|take| now < take.ends) {
            let spent = left.min(take.tokens);
            take.tokens = take.tokens.saturating_sub(spent);
            left = left.saturating_sub(spent);
        }
        self.takes.retain(|take| take.tokens > 0);
    }

    /// Tokens that the demand of late will use within a `ttl`.
    fn target(&self) -> u64 {
        let demand = self.demand.now.max(self.demand.before);
        // A single request is no demand: what it would leave here goes back unspent.
        if demand > self.bucket.cost {
            demand.min(self.terms.max)
        } else {
            0
        }
    }

    fn wanted(&self, now: Instant) -> u64 {
        self.target().saturating_sub(self.held(now))
    }

    fn runs_low(&self, now: Instant) -> bool {
        self.held(now).saturating_mul(2) < self.target()
    }

    /// Where the bucket stands, with what is held of it here.
    fn standing_now(&self, now: Instant) -> Standing {
        let remaining = self.standing.remaining.saturating_add(self.held(now));
        Standing {
            remaining: remaining.min(self.bucket.limit.capacity()),
            retry: Micros::ZERO,
            reset: self.standing.reset,
        }
    }
}

impl Demand {
    fn add(&mut self, tokens: u64, ttl: Micros, now: Instant) {
        let age = now.since(self.began);
        if age >= ttl {
            let is_next = age < ttl.saturating_mul(2);
            self.before = if is_next { self.now } else { 0 };
            (self.began, self.now) = (now, 0);
        }
        self.now = self.now.saturating_add(tokens);
    }

    fn is_recent(&self, ttl: Micros, now: Instant) -> bool {
        now.since(self.began) < ttl.saturating_mul(2)
    }
}
