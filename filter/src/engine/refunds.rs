//! Tokens to give back. A Redis Cluster charges the rules of a request one by one, and one of them
//! may refuse when others have been charged: a refused request charges none.
//!
//! Until a refund arrives its tokens are missing in their bucket, so others may be refused that
//! long; one that is lost, or that finds the bucket full again meanwhile, gives nothing back. Both
//! err on the side of the limit.

use std::collections::VecDeque;

use hashbrown::HashMap;

use super::batch::COMMANDS_MAX;
use super::group::{Ask, Group};
use super::waiter::{Bucket, Part, PartResult};
use crate::fingerprint::Fingerprint;
use crate::units::RedisTime;

/// What is to be given back with the next call.
#[derive(Debug, Default)]
pub(super) struct Refunds {
    waiting: HashMap<Charged, Refund>,
    /// Those that wait, the oldest first.
    queue: VecDeque<Charged>,
    under_way: usize,
    dropped: u64,
}

/// One charge: the key, the cost of each request, and when. What is given back of it is one refund.
type Charged = (Fingerprint, u64, RedisTime);

#[derive(Debug)]
struct Refund {
    bucket: Bucket,
    count: u64,
}

impl Refunds {
    /// Refunds that wait, each a command. More are dropped.
    pub(super) const MAX: usize = COMMANDS_MAX;

    /// A request was refused: takes note of what other rules charged it.
    pub(super) fn note(&mut self, parts: &[Part]) {
        for part in parts.iter().filter(|part| !part.shadow) {
            if let Some(PartResult::Admitted { charged, .. }) = part.result {
                let paid = part.buckets.iter().filter(|bucket| bucket.cost > 0);
                paid.for_each(|bucket| self.add(bucket.clone(), 1, charged));
            }
        }
    }

    /// Tokens that were charged at that time will not be used.
    pub(super) fn give_back(&mut self, bucket: Bucket, tokens: u64, charged: RedisTime) {
        self.add(Bucket { cost: 1, ..bucket }, tokens, charged);
    }

    /// For how many more there is room, also if those under way have to be made again.
    pub(super) fn room(&self) -> usize {
        let known = self.queue.len().saturating_add(self.under_way);
        Self::MAX.saturating_sub(known)
    }

    fn add(&mut self, bucket: Bucket, count: u64, charged: RedisTime) {
        let full = self.queue.len() >= Self::MAX;
        let key = (bucket.fingerprint, bucket.cost, charged);
        match self.waiting.get_mut(&key) {
            Some(refund) => refund.count = refund.count.saturating_add(count),
            None if full => self.dropped = self.dropped.saturating_add(count),
            None => {
                self.waiting.insert(key, Refund { bucket, count });
                self.queue.push_back(key);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The command that gives back what has been due the longest.
    pub(super) fn next(&mut self) -> Option<Group> {
        let key = self.queue.pop_front()?;
        let Refund { bucket, count } = self.waiting.remove(&key)?;
        self.under_way = self.under_way.saturating_add(1);
        let (_, _, charged) = key;
        Some(Group {
            ask: Ask::Refund { count, charged },
            buckets: vec![bucket],
        })
    }

    /// The call that carried a refund ended.
    pub(super) fn ended(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// A refund did not come to pass. Redis that lacks the script has not run it, so it may be made
    /// `again`; otherwise nobody knows, and it is dropped.
    pub(super) fn failed(&mut self, group: &Group, again: bool) {
        let Ask::Refund { count, charged } = group.ask else {
            return;
        };
        match group.buckets.first() {
            Some(bucket) if again => self.add(bucket.clone(), count, charged),
            _ => self.dropped = self.dropped.saturating_add(count),
        }
    }

    /// Redis is away: what is due stays spent.
    pub(super) fn drop_all(&mut self) {
        self.queue.clear();
        let due = self.waiting.drain().map(|(_, refund)| refund.count);
        self.dropped = due.fold(self.dropped, u64::saturating_add);
    }

    /// Requests whose tokens were not given back since the last call.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Fingerprints;
    use crate::limit::{Limit, TokenBucket};
    use crate::units::Micros;

    fn admitted(fingerprints: &Fingerprints, key: &str, charged: u64) -> Part {
        let limit = Limit::TokenBucket(TokenBucket {
            requests: 10,
            per: Micros::from_secs(1),
            burst: 10,
        });
        let fingerprint = fingerprints.of(key.as_bytes());
        let bucket = Bucket::of_no_rule(key.into(), fingerprint, limit, 1);
        let mut part = Part::asking(vec![bucket], false);
        part.result = Some(PartResult::Admitted {
            standings: Vec::new(),
            charged: RedisTime(charged),
        });
        part
    }

    #[test]
    fn a_call_takes_its_fill_of_refunds_and_the_rest_is_counted() {
        let fingerprints = Fingerprints::default();
        let mut refunds = Refunds::default();
        for key in 0..=Refunds::MAX {
            refunds.note(&[admitted(&fingerprints, &key.to_string(), 7)]);
        }
        // One that is due already finds its place.
        refunds.note(&[admitted(&fingerprints, "0", 7)]);
        assert_eq!(refunds.take_dropped(), 1);
        let groups: Vec<Group> = std::iter::from_fn(|| refunds.next()).collect();
        assert_eq!(groups.len(), Refunds::MAX);
        assert!(matches!(groups[0].ask, Ask::Refund { count: 2, .. }));
        assert!(refunds.is_empty());
    }

    #[test]
    fn what_is_under_way_keeps_its_room_until_its_call_ends() {
        let fingerprints = Fingerprints::default();
        let mut refunds = Refunds::default();
        refunds.note(&[admitted(&fingerprints, "a", 7)]);
        refunds.note(&[admitted(&fingerprints, "b", 7)]);
        assert_eq!(refunds.room(), Refunds::MAX - 2);
        let group = refunds.next().expect("two wait");
        assert_eq!(refunds.room(), Refunds::MAX - 2);
        refunds.ended();
        assert_eq!(refunds.room(), Refunds::MAX - 1);
        refunds.failed(&group, true);
        refunds.drop_all();
        assert_eq!((refunds.room(), refunds.take_dropped()), (Refunds::MAX, 2));
    }

    #[test]
    fn charges_of_different_times_are_given_back_apart() {
        let fingerprints = Fingerprints::default();
        let mut refunds = Refunds::default();
        for charged in [7, 8] {
            refunds.note(&[admitted(&fingerprints, "a", charged)]);
        }
        assert_eq!(std::iter::from_fn(|| refunds.next()).count(), 2);
    }
}
