//! The deny cache: keys known to be over their limit, and until when.
//!
//! A refused key stays refused until the instant that Redis named, so asking again before would
//! only cost a call. Redis names a wait, which began when it ran the script: no earlier than the
//! call was sent, and later by as much as the call was slower than the fastest one of late
//! ([`Clock`]). Counted from there, a call that asks again reaches Redis just when there is room,
//! and no key is refused for longer than Redis would, unless tokens were given back meanwhile. Once
//! the instant has passed one call finds out how the key stands; requests that come meanwhile wait
//! for it instead of asking the same.

use super::effect::CallId;
use super::waiter::{Bucket, Part, PartResult, Waiter};
use crate::bounded::Bounded;
use crate::fingerprint::Fingerprint;
use crate::limit::Standing;
use crate::units::{Instant, Micros, RedisTime};

/// Keys that one worker remembers, about 180 bytes each in a full table. Where there is no room,
/// Redis is asked.
pub(super) const CAPACITY: usize = 65_536;

/// A key is remembered for no longer than this, whatever Redis said: a counter that was reset by
/// hand is noticed, and clocks that drift apart by 500 ppm stay within 5 ms of each other.
pub(super) const REMEMBERED_MAX: Micros = Micros::from_secs(10);

/// And for no longer than this on a Redis Cluster: what was charged for a request that another of
/// its rules refused is given back within moments.
pub(super) const REMEMBERED_OF_CLUSTER_MAX: Micros = Micros::from_secs(1);

/// The refused keys of one worker.
#[derive(Debug)]
pub(super) struct Denials(Bounded<Fingerprint, Denial>);

/// What is known of a refused key.
#[derive(Clone, Copy, Debug)]
struct Denial {
    /// Refuse until then, and no longer than [`REMEMBERED_MAX`].
    until: Instant,
    /// Before this instant there is no room for `cost`.
    room: Instant,
    /// A cheaper request may find room earlier.
    cost: u64,
    remaining: u64,
    /// When the bucket is full again.
    full: Instant,
    /// The call that asks how the key stands now.
    asked: Option<CallId>,
    clock: Clock,
}

/// When Redis answered a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub(super) sent: Instant,
    /// By Redis's clock.
    pub(super) ran: RedisTime,
    pub(super) received: Instant,
    /// A refusal is remembered for so long at most.
    pub(super) remembered: Micros,
}

/// The least that Redis's clock was seen ahead of the sending of a call that asked for this key:
/// its true lead and the way of the fastest call. Kept by key, since each shard of a Redis Cluster
/// has a clock of its own.
#[derive(Clone, Copy, Debug)]
struct Clock {
    lead: i64,
    seen: Instant,
}

impl Clock {
    /// Clocks drift apart; by 500 ppm at the most, this is a millisecond.
    const KEPT: Micros = Micros::from_secs(2);

    fn seen(known: Option<Self>, answered: Answered) -> Self {
        let lead = answered.ran.0.checked_signed_diff(answered.sent.0);
        let new = Self {
            lead: lead.unwrap_or(i64::MAX),
            seen: answered.sent,
        };
        let known = known.filter(|known| answered.sent.since(known.seen) < Self::KEPT);
        known.filter(|known| known.lead < new.lead).unwrap_or(new)
    }

    /// No later than when Redis ran the script, on the clock of this worker; whatever its own clock
    /// did, not before the call was sent, nor after the answer was here.
    fn ran(
        self,
        Answered {
            sent,
            ran,
            received,
            ..
        }: Answered,
    ) -> Instant {
        let lead = ran.0.checked_signed_diff(sent.0).unwrap_or(self.lead);
        let slower = u64::try_from(lead.saturating_sub(self.lead)).unwrap_or(0);
        sent + Micros(slower).min(received.since(sent))
    }
}

impl Denials {
    pub(super) fn new(capacity: usize) -> Self {
        Self(Bounded::new(capacity))
    }

    /// Answers what is known of a request without asking Redis, and tells whether that was
    /// anything.
    pub(super) fn answer(&self, waiter: &mut Waiter, now: Instant) -> bool {
        let mut known = false;
        for part in waiter.parts.iter_mut().filter(|it| it.result.is_none()) {
            known |= self.answer_part(part, now);
        }
        known
    }

    /// A part with a bucket that is known to have no room is refused, in the name of such buckets
    /// alone: how the others stand is not known.
    fn answer_part(&self, part: &mut Part, now: Instant) -> bool {
        let standings = part.buckets.iter().map(|bucket| self.standing(bucket, now));
        let standings: Vec<Option<Standing>> = standings.collect();
        if standings.iter().all(Option::is_none) {
            return false;
        }
        let mut known = standings.iter();
        part.buckets
            .retain(|_| known.next().is_some_and(Option::is_some));
        part.result = Some(PartResult::Refused {
            standings: standings.into_iter().flatten().collect(),
        });
        true
    }

    /// Whether nothing is known against buckets.
    pub(super) fn have_room(&self, buckets: &[Bucket], now: Instant) -> bool {
        buckets
            .iter()
            .all(|bucket| self.standing(bucket, now).is_none())
    }

    /// Where a bucket stands that has no room for its cost; `None` when Redis must be asked.
    fn standing(&self, bucket: &Bucket, now: Instant) -> Option<Standing> {
        let denial = self.0.get(&bucket.fingerprint)?;
        // A look is never refused.
        let denied = now < denial.until && bucket.cost >= denial.cost.max(1);
        denied.then(|| Standing {
            remaining: denial.remaining,
            retry: denial.room.since(now),
            reset: denial.full.since(now),
        })
    }

    /// The call that is still under way and will tell how one of the request's refused keys stands.
    pub(super) fn asked_by(
        &self,
        waiter: &Waiter,
        under_way: impl Fn(&CallId) -> bool,
    ) -> Option<CallId> {
        let open = waiter.parts.iter().filter(|part| part.result.is_none());
        open.flat_map(|part| &part.buckets)
            .filter_map(|bucket| self.0.get(&bucket.fingerprint)?.asked)
            .find(under_way)
    }

    /// A call that asks for this bucket is on its way.
    pub(super) fn ask(&mut self, bucket: &Bucket, call: CallId) {
        if let Some(denial) = self.0.get_mut(&bucket.fingerprint) {
            denial.asked = Some(call);
        }
    }

    /// Redis said where a bucket stands.
    pub(super) fn note(&mut self, bucket: &Bucket, standing: Standing, answered: Answered) {
        if bucket.cost == 0 {
            return;
        }
        let now = answered.received;
        let key = bucket.fingerprint;
        let known = self.0.get(&key).copied();
        // What is known of a cheaper request holds for this one, and the other way round it does not.
        let cheaper = known.is_some_and(|known| known.cost < bucket.cost && now < known.until);
        if standing.retry == Micros::ZERO {
            if known.is_some_and(|known| known.cost <= bucket.cost) {
                self.0.remove(&key);
            }
        } else if !cheaper && self.0.has_room(&key, now, |denial| denial.until <= now) {
            let clock = Clock::seen(known.map(|known| known.clock), answered);
            let ran = clock.ran(answered);
            self.0.insert(
                key,
                Denial {
                    until: ran + standing.retry.min(answered.remembered),
                    room: ran + standing.retry,
                    cost: bucket.cost,
                    remaining: standing.remaining,
                    full: ran + standing.reset,
                    asked: None,
                    clock,
                },
            );
        }
    }

    /// Tokens were given back: there may be room.
    pub(super) fn forget(&mut self, bucket: &Bucket) {
        self.0.remove(&bucket.fingerprint);
    }

    /// Refused keys that found no room since the last call.
    pub(super) fn take_evictions(&mut self) -> u64 {
        self.0.take_evictions()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Fingerprints;
    use crate::limit::{Limit, TokenBucket};

    const NOW: Instant = Instant(1_000_000);

    struct Keys(Fingerprints);

    impl Keys {
        fn bucket(&self, key: &str, cost: u64) -> Bucket {
            let limit = Limit::TokenBucket(TokenBucket {
                requests: 10,
                per: Micros::from_secs(1),
                burst: 10,
            });
            let fingerprint = self.0.of(key.as_bytes());
            Bucket::of_no_rule(key.into(), fingerprint, limit, cost)
        }
    }

    fn standing(remaining: u64, retry_ms: u64) -> Standing {
        Standing {
            remaining,
            retry: Micros::from_millis(retry_ms),
            reset: Micros::from_millis(retry_ms + 900),
        }
    }

    /// An answer that took no time.
    fn at(now: Instant) -> Answered {
        Answered {
            sent: now,
            ran: RedisTime(now.0),
            received: now,
            remembered: REMEMBERED_MAX,
        }
    }

    /// Redis's clock is 5 s ahead. Counted from its sending, a wait that a slow call brought ended
    /// early by as much as the call was slow, and Redis was asked twice for each token.
    #[test]
    fn the_wait_of_a_slow_call_is_counted_from_when_redis_ran_it() {
        let keys = Keys(Fingerprints::default());
        let mut denials = Denials::new(8);
        let mut room = |sent_ms: u64, ran_ms: u64, received_ms: u64| {
            let answered = Answered {
                sent: Instant(sent_ms * 1_000),
                ran: RedisTime(ran_ms * 1_000),
                received: Instant(received_ms * 1_000),
                remembered: REMEMBERED_MAX,
            };
            denials.note(&keys.bucket("a", 1), standing(0, 100), answered);
            let known = denials.standing(&keys.bucket("a", 1), answered.received);
            (answered.received + known.expect("refused").retry).0 / 1_000
        };
        assert_eq!(
            room(1_000, 6_001, 1_002),
            1_100,
            "from its sending at first"
        );
        assert_eq!(
            room(1_200, 6_208, 1_209),
            1_307,
            "7 ms slower than the first"
        );
        assert_eq!(room(1_400, 6_401, 1_410), 1_500, "slow on the way back");
        assert_eq!(
            room(1_600, 9_601, 1_604),
            1_704,
            "Redis's clock was set ahead"
        );
        assert_eq!(room(1_800, 5_801, 1_802), 1_900, "and back");
        assert_eq!(room(2_000, 6_003, 2_004), 2_102);
        assert_eq!(room(4_000, 8_009, 4_010), 4_100, "the fastest is long ago");
    }

    #[test]
    fn a_cheaper_request_may_pass_where_a_costly_one_was_refused() {
        let keys = Keys(Fingerprints::default());
        let mut denials = Denials::new(8);
        denials.note(&keys.bucket("a", 5), standing(3, 200), at(NOW));
        let known = |denials: &Denials, cost| denials.standing(&keys.bucket("a", cost), NOW);
        assert!(known(&denials, 4).is_none());
        assert_eq!(known(&denials, 5), Some(standing(3, 200)));
        assert!(known(&denials, 9).is_some());
        // It passed, and there is room for more like it: the costly one is refused all the same.
        denials.note(&keys.bucket("a", 1), standing(2, 0), at(NOW));
        assert!(known(&denials, 5).is_some());
        // A cheaper one is refused as well: now both are.
        denials.note(&keys.bucket("a", 1), standing(0, 100), at(NOW));
        assert_eq!(known(&denials, 5), Some(standing(0, 100)));
        // What is known of the cheap one is not replaced by a longer wait of a costly one.
        denials.note(&keys.bucket("a", 5), standing(0, 500), at(NOW));
        assert_eq!(known(&denials, 1), Some(standing(0, 100)));
        denials.note(&keys.bucket("a", 5), standing(9, 0), at(NOW));
        assert!(
            known(&denials, 5).is_none(),
            "room for a costly one is room"
        );
    }

    #[test]
    fn a_full_table_takes_no_more_and_forgets_what_is_over() {
        let keys = Keys(Fingerprints::default());
        let mut denials = Denials::new(2);
        for key in ["a", "b", "c"] {
            denials.note(&keys.bucket(key, 1), standing(0, 200), at(NOW));
        }
        let known = |denials: &Denials, key, now| denials.standing(&keys.bucket(key, 1), now);
        assert!(known(&denials, "a", NOW).is_some());
        assert!(known(&denials, "c", NOW).is_none(), "Redis is asked");
        assert_eq!(denials.take_evictions(), 1);
        // One that is known already needs no room.
        denials.note(&keys.bucket("b", 1), standing(0, 300), at(NOW));
        let later = NOW + Micros::from_millis(250);
        denials.note(&keys.bucket("c", 1), standing(0, 200), at(later));
        assert!(known(&denials, "c", later).is_some());
        assert!(known(&denials, "b", later).is_some());
        assert_eq!(denials.take_evictions(), 0);
    }
}
