//! Redis and the twin side by side on one controlled clock.

use std::collections::BTreeMap;

use velocitygate::limit::{Charge, Demand, Tat, TokenBucket, charge_all};
use velocitygate::units::Micros;

use crate::clockless::{Clockless, Held};
use crate::integer;
use crate::limits::START_US;

/// What the twin remembers of a key.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    tat: Tat,
    text: String,
    px: u64,
    pub(crate) expires_ms: u64,
}

impl Remembered {
    /// As a call at `now` leaves it, to expire in the second millisecond after it is full.
    fn new(tat: Tat, now: u64) -> Self {
        let mut new = Self {
            tat,
            text: tat.stored(),
            px: 0,
            expires_ms: 0,
        };
        new.px = (new.us() - now) / 1_000 + 2;
        new.expires_ms = now / 1_000 + new.px;
        new
    }

    pub(crate) fn us(&self) -> u64 {
        self.text.split(':').next().unwrap().parse().unwrap()
    }
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
        let before: Vec<Tat> = demand.buckets.iter().map(|b| self.tat(b.0)).collect();
        let mut tats = before.clone();
        let mut entries: Vec<(TokenBucket, &mut Tat, u64)> = demand
            .buckets
            .iter()
            .zip(&mut tats)
            .map(|(b, tat)| (b.1, tat, b.2))
            .collect();
        let expected = charge_all(&mut entries, demand.count, self.now);
        let outcome = self.redis.charge(demand, self.now);
        assert_eq!(outcome.charge, expected);
        let changes = before.into_iter().zip(tats);
        let kept = changes.zip(&expected.rules).zip(&outcome.held);
        for ((key, _, _), (((before, tat), standing), held)) in demand.buckets.iter().zip(kept) {
            if tat != before {
                let written = Remembered::new(tat, self.now);
                assert_eq!(held.value.as_deref(), Some(&*written.text));
                let (px, full) = (Micros::from_millis(written.px), standing.reset);
                assert!(
                    full <= px && px <= full + Micros::from_millis(2),
                    "{px} for {full}"
                );
                let px = i64::try_from(written.px).unwrap();
                assert!(
                    (px - outcome.took_ms..=px).contains(&held.ttl),
                    "{held:?} of {px}"
                );
                self.twin.insert(key.to_vec(), written);
            } else {
                let value = self.twin.get(*key).map(|twin| twin.text.clone());
                let ttl = if value.is_some() { -1 } else { -2 };
                assert_eq!(*held, Held { value, ttl }, "only a charge or a cut writes");
            }
        }
        expected
    }

    fn tat(&self, key: &[u8]) -> Tat {
        self.twin
            .get(key)
            .map_or_else(Tat::default, |twin| twin.tat)
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
                assert!(
                    twin.tat.is_past(self.now),
                    "expired before it was full: {twin:?}"
                );
                self.redis
                    .redis
                    .ask(&[b"DEL", key], |deleted| assert_eq!(integer(&deleted), 1));
            }
        }
    }
}
