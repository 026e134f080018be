//! What a worker holds of one key ahead of its requests, and how much it wants.

use super::effect::CallId;
use super::waiter::Bucket;
use crate::config::Lease;
use crate::limit::Standing;
use crate::units::{Instant, Micros, RedisTime};

/// Takes of one key that are held at once: a refill comes while the last is being spent.
const TAKES_MAX: usize = 4;

/// What is held of one key, and what is wanted.
#[derive(Debug)]
pub(super) struct Held {
    terms: Lease,
    pub(super) bucket: Bucket,
    /// The oldest first.
    takes: Vec<Take>,
    /// Where the bucket stood in Redis after the last charge, and when that was told.
    standing: Standing,
    told: Instant,
    demand: Demand,
    /// The call that was last sent to take more.
    pub(super) asked: Option<CallId>,
    /// It is on the list of those that run low.
    pub(super) is_low: bool,
}

/// What is left of the tokens that one charge brought.
#[derive(Clone, Copy, Debug)]
struct Take {
    tokens: u64,
    ends: Instant,
    charged: RedisTime,
}

/// Tokens that requests were admitted for in this `ttl` and in the one before. What is refused or
/// has to be asked again is no demand.
#[derive(Clone, Copy, Debug)]
struct Demand {
    began: Instant,
    now: u64,
    before: u64,
}

/// What a charge brought for one of its buckets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brought {
    /// Tokens for the requests that waited for it.
    pub(super) used: u64,
    /// Tokens beyond those.
    pub(super) spare: u64,
    pub(super) charged: RedisTime,
    /// Where the bucket stands after it.
    pub(super) standing: Standing,
    pub(super) sent: Instant,
    pub(super) received: Instant,
}

/// Tokens to give back: the bucket, how many, and when they were charged.
pub(super) type Unspent = (Bucket, u64, RedisTime);

impl Held {
    pub(super) fn nothing(bucket: &Bucket, terms: Lease, now: Instant) -> Self {
        Self {
            terms,
            bucket: bucket.clone(),
            takes: Vec::new(),
            standing: Standing::default(),
            told: now,
            demand: Demand {
                began: now,
                now: 0,
                before: 0,
            },
            asked: None,
            is_low: false,
        }
    }

    pub(super) fn tokens(&self, now: Instant) -> u64 {
        let live = self.takes.iter().filter(|take| now < take.ends);
        live.fold(0, |sum, take| sum.saturating_add(take.tokens))
    }

    /// Spends what is there.
    pub(super) fn spend(&mut self, cost: u64, now: Instant) {
        self.demand.add(cost, self.terms.ttl, now);
        let mut left = cost;
        for take in self.takes.iter_mut().filter(|take| now < take.ends) {
            let spent = left.min(take.tokens);
            take.tokens = take.tokens.saturating_sub(spent);
            left = left.saturating_sub(spent);
        }
        self.takes.retain(|take| take.tokens > 0);
    }

    /// Tokens that the demand of late, with those that are asked for now, will use within a `ttl`.
    fn target(&self, asked: u64) -> u64 {
        let demand = self.demand.now.saturating_add(asked);
        let demand = demand.max(self.demand.before);
        // A single request is no demand: what it would leave here goes back unspent.
        if demand > self.bucket.cost {
            demand.min(self.terms.max)
        } else {
            0
        }
    }

    /// Tokens to take ahead with the next call, which asks for so many in any case. What has ended
    /// and waits to be given back is held, too.
    pub(super) fn wanted(&mut self, asked: u64, now: Instant) -> u64 {
        self.demand.add(0, self.terms.ttl, now);
        let takes = self.takes.iter();
        let held = takes.fold(0, |sum: u64, take| sum.saturating_add(take.tokens));
        self.target(asked).saturating_sub(held)
    }

    pub(super) fn runs_low(&self, now: Instant) -> bool {
        self.tokens(now).saturating_mul(2) < self.target(0)
    }

    /// Where the bucket stands, with what is held of it here.
    pub(super) fn standing(&self, now: Instant) -> Standing {
        let remaining = self.standing.remaining.saturating_add(self.tokens(now));
        Standing {
            remaining: remaining.min(self.bucket.limit.capacity()),
            retry: Micros::ZERO,
            reset: self.standing.reset - now.since(self.told),
        }
    }

    /// Keeps what a charge brought.
    pub(super) fn put(&mut self, brought: Brought) {
        let ttl = self.terms.ttl;
        self.demand.add(brought.used, ttl, brought.received);
        (self.standing, self.told) = (brought.standing, brought.received);
        let take = Take {
            tokens: brought.spare,
            ends: brought.sent + self.bucket.limit.lease_span(ttl, brought.standing),
            charged: brought.charged,
        };
        let full = self.takes.len() >= TAKES_MAX;
        match self.takes.last_mut() {
            _ if take.tokens == 0 => {}
            // The two end with the first.
            Some(last) if full => {
                last.tokens = last.tokens.saturating_add(take.tokens);
                last.ends = last.ends.min(take.ends);
            }
            _ => self.takes.push(take),
        }
    }

    /// Moves what will not be spent before `until` to `unspent`, as far as that is below `room`.
    pub(super) fn end(&mut self, until: Instant, unspent: &mut Vec<Unspent>, room: usize) {
        self.takes.retain(|take| {
            let over = take.ends <= until && unspent.len() < room;
            if over {
                unspent.push((self.bucket.clone(), take.tokens, take.charged));
            }
            !over
        });
    }

    /// Nothing is held, and nobody has asked of late.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let kept = self.terms.ttl.saturating_mul(2);
        self.takes.is_empty() && now.since(self.demand.began) >= kept
    }
}

impl Demand {
    /// So many more at this time; with none, time alone passes.
    fn add(&mut self, tokens: u64, ttl: Micros, now: Instant) {
        let age = now.since(self.began);
        if age >= ttl {
            let is_next = age < ttl.saturating_mul(2);
            self.before = if is_next { self.now } else { 0 };
            (self.began, self.now) = (now, 0);
        }
        self.now = self.now.saturating_add(tokens);
    }
}
