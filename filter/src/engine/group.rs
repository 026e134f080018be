//! One command of a call: what it asks, and what its answer means for those who wait for it.

use super::waiter::{Bucket, PartRef, PartResult};
use crate::fingerprint::Fingerprint;
use crate::limit::{Charge, Demand, Limit, Refund, SCRIPT, ShapeError, refunded};
use crate::resp::Reply;
use crate::units::RedisTime;

/// One command.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) buckets: Vec<Bucket>,
    pub(super) ask: Ask,
}

/// What a command asks of its buckets.
#[derive(Debug)]
pub(super) enum Ask {
    /// May the members pass, in the order in which they came, and so many more after them?
    Charge { members: Vec<PartRef>, spare: u64 },
    /// Take back what so many requests were charged at that time.
    Refund { count: u64, charged: RedisTime },
}

/// What the script said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Done {
    Charged(Charge),
    Refunded,
}

impl Group {
    /// Appends the command; with `load` it carries the script's text.
    pub(super) fn encode(&self, out: &mut Vec<u8>, load: bool) {
        match self.refund() {
            Some(refund) => SCRIPT.refund(out, &refund, load),
            None => SCRIPT.command(out, &self.demand(), load),
        }
    }

    fn demand(&self) -> Demand<'_> {
        let buckets = self.buckets.iter();
        Demand {
            count: match &self.ask {
                Ask::Charge { members, spare } => (members.len() as u64).saturating_add(*spare),
                Ask::Refund { count, .. } => *count,
            },
            buckets: buckets
                .map(|b| (b.key.as_slice(), b.limit, b.cost))
                .collect(),
        }
    }

    fn refund(&self) -> Option<Refund<'_>> {
        let Ask::Refund { charged, .. } = self.ask else {
            return None;
        };
        Some(Refund {
            demand: self.demand(),
            taken_at: charged,
        })
    }

    /// The key by which a Redis Cluster finds the shard.
    pub(super) fn lead(&self) -> Option<Fingerprint> {
        self.buckets.first().map(|bucket| bucket.fingerprint)
    }

    /// Who waits for the answer.
    pub(super) fn members(&self) -> &[PartRef] {
        match &self.ask {
            Ask::Charge { members, .. } => members,
            Ask::Refund { .. } => &[],
        }
    }

    /// Reads a reply that is no error.
    ///
    /// # Errors
    /// When it is no answer to this command.
    pub(super) fn read(&self, reply: &Reply<'_>) -> Result<Done, ShapeError> {
        if let Some(refund) = self.refund() {
            return refunded(reply, &refund).map(|_| Done::Refunded);
        }
        let Demand { count, buckets } = self.demand();
        let limits: Vec<Limit> = buckets.iter().map(|(_, limit, _)| *limit).collect();
        Charge::from_reply(reply, count, &limits).map(Done::Charged)
    }

    /// What a charge of the group means for its members, in their order.
    pub(super) fn share(&self, charge: &Charge) -> Vec<PartResult> {
        let places = 0_u64..;
        let shares = places.zip(self.members()).map(|(place, _)| {
            // Those admitted after this one had not been charged yet when it passed.
            let after = charge.admitted.saturating_sub(place.saturating_add(1));
            let standings = charge.rules.iter().zip(&self.buckets);
            let standings = standings
                .map(|(s, b)| b.limit.before(*s, after.saturating_mul(b.cost)))
                .collect();
            if place < charge.admitted {
                let charged = charge.now;
                PartResult::Admitted { standings, charged }
            } else {
                PartResult::Refused { standings }
            }
        });
        shares.collect()
    }
}
