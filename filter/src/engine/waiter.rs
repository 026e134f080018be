//! A request that waits, and what it asks of Redis.

use super::effect::StreamId;
use crate::config::{Lease, OnFailure};
use crate::fingerprint::Fingerprint;
use crate::limit::{Limit, Standing};
use crate::units::{Instant, Micros, RedisTime};

/// What one rule asks of Redis for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    /// The rule's number.
    pub(super) rule: u16,
    /// The Redis key.
    pub(super) key: Vec<u8>,
    /// Stands for the key in this worker's tables.
    pub(super) fingerprint: Fingerprint,
    /// The limit that the configuration has for this key.
    pub(super) policy: Limit,
    /// What Redis counts for it; tighter where tokens are leased.
    pub(super) limit: Limit,
    /// What happens when Redis does not answer.
    pub(super) on_failure: OnFailure,
    /// Tokens that the request costs.
    pub(super) cost: u64,
    /// What may be taken ahead.
    pub(super) lease: Option<Lease>,
}

/// Rules that are charged together in one command: all the enforced ones, or one of them where the
/// store is a Redis Cluster; or one shadow rule, which must neither refuse nor be held back by the
/// others.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) buckets: Vec<Bucket>,
    pub(super) shadow: bool,
    /// `None` until answered; an answered part is never asked again.
    pub(super) result: Option<PartResult>,
}

/// What Redis said of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PartResult {
    /// There was room, and was charged at that time; this is where each bucket stands after it.
    Admitted {
        standings: Vec<Standing>,
        charged: RedisTime,
    },
    /// This worker held a lease of every bucket, and this is where each stands after it.
    Leased { standings: Vec<Standing> },
    /// There was no room in some bucket; this is where each stands.
    Refused { standings: Vec<Standing> },
    /// The rule lets the request pass without a count: an override says so.
    Unlimited,
    /// A shadow rule would have refused the request without a count.
    Barred,
    /// The count is unknown.
    Unknown,
}

/// A paused request.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) parts: Vec<Part>,
    pub(super) arrived: Instant,
    /// Calls that carried it so far.
    pub(super) asked: u8,
}

/// One part of one waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartRef {
    pub(super) stream: StreamId,
    pub(super) part: usize,
}

impl Bucket {
    /// A bucket that no rule has: nothing is refused for it and nothing taken ahead.
    pub(super) fn of_no_rule(
        key: Vec<u8>,
        fingerprint: Fingerprint,
        limit: Limit,
        cost: u64,
    ) -> Self {
        Self {
            rule: 0,
            key,
            fingerprint,
            policy: limit,
            limit,
            on_failure: OnFailure::Allow,
            cost,
            lease: None,
        }
    }
}

impl Part {
    pub(super) const fn asking(buckets: Vec<Bucket>, shadow: bool) -> Self {
        Self {
            buckets,
            shadow,
            result: None,
        }
    }

    /// One that Redis is not asked about.
    pub(super) fn known(bucket: Bucket, shadow: bool, result: PartResult) -> Self {
        Self {
            buckets: vec![bucket],
            shadow,
            result: Some(result),
        }
    }

    /// Equal for parts that may share one command with a summed count: the same keys, which name
    /// their rules and so their limits, at the same costs.
    pub(super) fn signature(&self) -> Vec<u8> {
        let mut signature = Vec::with_capacity(64);
        for bucket in &self.buckets {
            signature.extend_from_slice(&bucket.key.len().to_be_bytes());
            signature.extend_from_slice(&bucket.key);
            signature.extend_from_slice(&bucket.cost.to_be_bytes());
        }
        signature
    }
}

impl Waiter {
    /// Calls that may carry a request: one that finds out that there is a Redis Cluster, one that
    /// meets NOSCRIPT, one more that does although another call has loaded the script meanwhile, and
    /// those that load it. Of these a full call takes about three where seven masters lack the
    /// script, six where 32 do, and eleven for a hundred.
    pub(super) const ASKED_MAX: u8 = 16;

    /// Asks for each bucket of a part in a command of its own.
    pub(super) fn scatter(&mut self, part: usize) {
        let Some(part) = self.parts.get_mut(part) else {
            return;
        };
        let shadow = part.shadow;
        let others = part.buckets.split_off(part.buckets.len().min(1));
        // Behind the others, whose numbers the groups of a call hold.
        let others = others.into_iter();
        self.parts
            .extend(others.map(|bucket| Part::asking(vec![bucket], shadow)));
    }

    pub(super) fn deadline(&self, timeout: Micros) -> Instant {
        self.arrived + timeout
    }

    /// Whether an enforced rule is known to refuse it.
    pub(super) fn is_refused(&self) -> bool {
        let mut enforced = self.parts.iter().filter(|part| !part.shadow);
        enforced.any(|part| matches!(part.result, Some(PartResult::Refused { .. })))
    }

    pub(super) fn is_answered(&self) -> bool {
        self.parts.iter().all(|part| part.result.is_some())
    }

    /// Marks every part that is still open as unknown.
    pub(super) fn give_up(&mut self) {
        for part in &mut self.parts {
            part.result.get_or_insert(PartResult::Unknown);
        }
    }
}
