//! What a worker knows and holds ahead of its requests: leases and the deny cache, at work.

use super::Engine;
use super::batch::Batch;
use super::denials::{Answered, Denials, REMEMBERED_MAX, REMEMBERED_OF_CLUSTER_MAX};
use super::effect::CallId;
use super::effects::Effects;
use super::group::{Ask, Done, Group};
use super::held::Brought;
use super::leases::Leases;
use super::reading::GroupAnswer;
use super::waiter::{Bucket, Waiter};
use crate::breaker::SharedCell;
use crate::metrics::Metric;
use crate::units::{Instant, Micros};

/// Answers what needs no call. Leases come first: a key may have no token left in Redis because
/// this worker holds them. A request that an enforced rule is known to refuse asks nothing more:
/// other rules would be charged for nothing, and a shadow rule, were it enforced, would not be.
pub(super) fn answer_known(
    (leases, denials): (&mut Leases, &Denials),
    effects: &mut Effects,
    waiter: &mut Waiter,
    now: Instant,
) {
    let leased = leases.spend(waiter, now);
    effects.count(Metric::LeaseHits, leased.into());
    let known = denials.answer(waiter, now);
    if waiter.is_refused() {
        effects.count(Metric::DenyCacheHits, known.into());
        waiter.parts.retain(|part| part.result.is_some());
    }
}

impl<C: SharedCell> Engine<C> {
    /// Lets the charges of a batch take what the demand of late will use, and adds one for each
    /// lease that runs low.
    pub(super) fn take_ahead(&mut self, batch: &mut Batch, now: Instant) {
        let call = CallId(self.next_call);
        let under_way = |call: CallId| self.calls.contains_key(&call);
        for group in &mut batch.groups {
            if let Ask::Charge { members, spare } = &mut group.ask {
                let waiting = members.len() as u64;
                *spare = self
                    .leases
                    .spare(&group.buckets, waiting, (call, now), under_way);
            }
        }
        while !batch.is_full() {
            let Some(bucket) = self.leases.next_low() else {
                break;
            };
            let buckets = vec![bucket];
            if !self.denials.have_room(&buckets, now) {
                continue;
            }
            let spare = self.leases.spare(&buckets, 0, (call, now), under_way);
            if spare > 0 {
                let members = Vec::new();
                let ask = Ask::Charge { members, spare };
                batch.add_errand(Group { buckets, ask }, self.config.redis.timeout);
            }
        }
        let evictions = self.leases.take_evictions();
        self.effects.count(Metric::Evictions, evictions);
    }

    /// Keeps what a call brought: leases, and which keys have no room left.
    pub(super) fn note_charges(
        &mut self,
        groups: &[Group],
        answers: &[GroupAnswer],
        (sent, now): (Instant, Instant),
    ) {
        for (group, answer) in groups.iter().zip(answers) {
            if let Ask::Refund { .. } = group.ask {
                self.refunds.ended();
            }
            let charge = match answer {
                GroupAnswer::Done(Done::Charged(charge)) => charge,
                // There is room again where there was none.
                GroupAnswer::Done(Done::Refunded) => {
                    group.buckets.iter().for_each(|b| self.denials.forget(b));
                    continue;
                }
                _ => continue,
            };
            let used = charge.admitted.min(group.members().len() as u64);
            let spare = charge.admitted.saturating_sub(used);
            for (bucket, standing) in group.buckets.iter().zip(&charge.rules) {
                let brought = Brought {
                    used: used.saturating_mul(bucket.cost),
                    spare: spare.saturating_mul(bucket.cost),
                    charged: charge.now,
                    standing: *standing,
                    sent,
                    received: now,
                };
                if !self.leases.put(bucket, brought) {
                    let tokens = brought.spare;
                    self.refunds.give_back(bucket.clone(), tokens, charge.now);
                }
                let answered = Answered {
                    sent,
                    ran: charge.now,
                    received: now,
                    remembered: self.remembered(bucket),
                };
                self.denials.note(bucket, *standing, answered);
            }
        }
        self.effects
            .count(Metric::Evictions, self.denials.take_evictions());
    }

    /// How long a refusal of this bucket is remembered at most. Other workers give back what they
    /// leased and do not use, whether this request could have had a lease or not.
    fn remembered(&self, bucket: &Bucket) -> Micros {
        let most = if self.scattered {
            REMEMBERED_OF_CLUSTER_MAX
        } else {
            REMEMBERED_MAX
        };
        let rule = self.config.rules.get(usize::from(bucket.rule));
        let lease = rule.and_then(|rule| rule.lease);
        lease.map_or(most, |lease| most.min(lease.ttl))
    }

    /// Gives back what will not be spent before the next tick; all of it when there will be none.
    pub(super) fn end_leases(&mut self, now: Instant) {
        let until = if self.retired {
            Instant(u64::MAX)
        } else {
            now + self.tick_period()
        };
        for (bucket, tokens, charged) in self.leases.end(until, self.refunds.room()) {
            self.refunds.give_back(bucket, tokens, charged);
        }
        self.note_dropped_refunds();
    }
}
