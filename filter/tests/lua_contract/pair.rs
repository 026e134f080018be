//! Redis and the twin side by side on one controlled clock.

use std::collections::BTreeMap;

use velocitygate::limit::{Charge, Demand, Limit, Refund, State, charge_all, refund_all};
use velocitygate::units::{Micros, RedisTime};

use crate::clockless::{Clockless, Outcome};
use crate::integer;
use crate::limits::START_US;

/// What the twin remembers of a key.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    state: State,
    /// By which it was written, and the expiry reckoned.
    limit: Limit,
    /// When nothing counts any more.
    pub(crate) fresh: u64,
    pub(crate) expires_ms: u64,
}

/// Milliseconds that a key has to live which is fresh after this time: it expires in the second
/// one after that.
fn px(reset: Micros) -> u64 {
    reset.whole_millis() + 2
}

/// How long until nothing counts any more.
fn reset(limit: Limit, mut state: State, now: u64) -> Micros {
    let mut look = [(limit, &mut state, 0)];
    charge_all(&mut look, 1, RedisTime(now)).rules[0].reset
}

/// Redis and the twin side by side on one controlled clock.
pub(crate) struct Pair<'a> {
    redis: &'a mut Clockless,
    pub(crate) twin: BTreeMap<Vec<u8>, Remembered>,
    pub(crate) now: u64,
}

impl<'a> Pair<'a> {
    pub(crate) const fn new(redis: &'a mut Clockless) -> Self {
        Self {
            redis,
            twin: BTreeMap::new(),
            now: START_US,
        }
    }

    /// Asks both and compares what they answer and what they keep.
    pub(crate) fn charge(&mut self, demand: &Demand<'_>) -> Charge {
        self.expire(demand);
        let before: Vec<State> = demand.buckets.iter().map(|b| self.state(b.0)).collect();
        let mut states = before.clone();
        let mut rules: Vec<(Limit, &mut State, u64)> = demand
            .buckets
            .iter()
            .zip(&mut states)
            .map(|(b, state)| (b.1, state, b.2))
            .collect();
        let expected = charge_all(&mut rules, demand.count, RedisTime(self.now));
        let outcome = self.redis.charge(demand, self.now);
        assert_eq!(outcome.answer, expected);
        self.compare(demand, &before, &states, &outcome);
        expected
    }

    /// Asks both to take back and compares in the same way.
    pub(crate) fn refund(&mut self, refund: &Refund<'_>) -> Vec<u64> {
        let demand = &refund.demand;
        self.expire(demand);
        let before: Vec<State> = demand.buckets.iter().map(|b| self.state(b.0)).collect();
        let mut states = before.clone();
        let mut open: Vec<&mut State> = states.iter_mut().collect();
        let expected = refund_all(refund, &mut open, RedisTime(self.now));
        let outcome = self.redis.refund(refund, self.now);
        assert_eq!(outcome.answer, expected, "{refund:?}");
        self.compare(demand, &before, &states, &outcome);
        expected
    }

    /// What Redis keeps of each key is what the twin does, and expires when it should.
    fn compare<T>(
        &mut self,
        demand: &Demand<'_>,
        before: &[State],
        states: &[State],
        outcome: &Outcome<T>,
    ) {
        let changes = before.iter().zip(states).zip(&outcome.held);
        for ((key, limit, _), ((before, state), held)) in demand.buckets.iter().zip(changes) {
            assert_eq!(held.value, state.stored().filter(|it| !it.is_empty()));
            if held.value.is_none() {
                self.twin.remove(*key);
                assert_eq!(held.ttl, -2);
            } else if state != before {
                let reset = reset(*limit, state.clone(), self.now);
                let px = px(reset);
                let lifetime = i64::try_from(px).unwrap();
                assert!(
                    (lifetime - outcome.took_ms..=lifetime).contains(&held.ttl),
                    "{held:?} of {lifetime}"
                );
                let written = Remembered {
                    state: state.clone(),
                    limit: *limit,
                    fresh: self.now + reset.0,
                    expires_ms: self.now / 1_000 + px,
                };
                self.twin.insert(key.to_vec(), written);
            } else {
                assert_eq!(held.ttl, -1, "only a charge, a refund or a cut writes");
            }
        }
    }

    fn state(&self, key: &[u8]) -> State {
        self.twin
            .get(key)
            .map_or_else(State::default, |twin| twin.state.clone())
    }

    /// Does to both what Redis does to a key whose time has come: it is there for the whole of
    /// the millisecond that its expiry names.
    fn expire(&mut self, demand: &Demand<'_>) {
        for (key, _, _) in &demand.buckets {
            if self
                .twin
                .get(*key)
                .is_some_and(|twin| twin.expires_ms < self.now / 1_000)
            {
                let twin = self.twin.remove(*key).unwrap();
                let reset = reset(twin.limit, twin.state.clone(), self.now);
                assert_eq!(reset, Micros::ZERO, "expired while it counted: {twin:?}");
                self.redis
                    .redis
                    .ask(&[b"DEL", key], |deleted| assert_eq!(integer(&deleted), 1));
            }
        }
    }
}
