//! Tokens to give back. A Redis Cluster charges the rules of a request one by one, and one of them
//! may refuse when others have been charged: a refused request charges none.
//!
//! Until a refund arrives its tokens are missing in their bucket, so others may be refused that
//! long; one that is lost, or that finds the bucket full again meanwhile, gives nothing back. Both
//! err on the side of the limit.

use super::batch::COMMANDS_MAX;
use super::group::{Ask, Group};
use super::waiter::{Bucket, Part, PartResult};
use crate::units::{Micros, RedisTime};

/// What is to be given back with the next call.
#[derive(Debug, Default)]
pub(super) struct Refunds {
    queue: Vec<Refund>,
    dropped: u64,
}

#[derive(Debug)]
struct Refund {
    bucket: Bucket,
    count: u64,
    charged: RedisTime,
}

impl Refunds {
    /// Refunds of one call, each a command. More are dropped.
    pub(super) const MAX: usize = COMMANDS_MAX;

    /// A request was refused: takes note of what other rules charged it.
    pub(super) fn note(&mut self, parts: &[Part]) {
        for part in parts.iter().filter(|part| !part.shadow) {
            if let Some(PartResult::Admitted { charged, .. }) = part.result {
                let paid = part.buckets.iter().filter(|bucket| bucket.cost > 0);
                paid.for_each(|bucket| self.add(bucket, charged));
            }
        }
    }

    fn add(&mut self, bucket: &Bucket, charged: RedisTime) {
        let full = self.queue.len() >= Self::MAX;
        let known = self.queue.iter_mut().find(|known| {
            let of = &known.bucket;
            (of.fingerprint, of.cost, known.charged) == (bucket.fingerprint, bucket.cost, charged)
        });
        match known {
            Some(refund) => refund.count = refund.count.saturating_add(1),
            None if full => self.dropped = self.dropped.saturating_add(1),
            None => self.queue.push(Refund {
                bucket: bucket.clone(),
                count: 1,
                charged,
            }),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The commands that give back what is due. Redis ignores one that reaches it later after the
    /// charge than `max_age`.
    pub(super) fn take(&mut self, max_age: Micros) -> impl Iterator<Item = Group> {
        self.queue.drain(..).map(move |refund| Group {
            buckets: vec![refund.bucket],
            ask: Ask::Refund {
                count: refund.count,
                charged: refund.charged,
                max_age,
            },
        })
    }

    /// Redis is away: what is due stays spent.
    pub(super) fn drop_all(&mut self) {
        let requests: u64 = self.queue.drain(..).map(|refund| refund.count).sum();
        self.dropped = self.dropped.saturating_add(requests);
    }

    /// Requests whose tokens were not given back since the last call.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OnFailure;
    use crate::fingerprint::Fingerprints;
    use crate::limit::{Limit, TokenBucket};

    fn admitted(fingerprints: &Fingerprints, key: &str, charged: u64) -> Part {
        let bucket = Bucket {
            rule: 0,
            key: key.into(),
            fingerprint: fingerprints.of(key.as_bytes()),
            limit: Limit::TokenBucket(TokenBucket {
                requests: 10,
                per: Micros::from_secs(1),
                burst: 10,
            }),
            on_failure: OnFailure::Allow,
            cost: 1,
        };
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
        let groups: Vec<Group> = refunds.take(Micros(1)).collect();
        assert_eq!(groups.len(), Refunds::MAX);
        assert!(matches!(groups[0].ask, Ask::Refund { count: 2, .. }));
        assert!(refunds.is_empty());
    }

    #[test]
    fn charges_of_different_times_are_given_back_apart() {
        let fingerprints = Fingerprints::default();
        let mut refunds = Refunds::default();
        for charged in [7, 8] {
            refunds.note(&[admitted(&fingerprints, "a", charged)]);
        }
        assert_eq!(refunds.take(Micros(1)).count(), 2);
    }
}
