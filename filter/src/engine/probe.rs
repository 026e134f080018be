//! Probes: how an open breaker finds out that Redis is back, without risking a user's request.

use super::calls::{Call, Purpose};
use super::group::{Ask, Group};
use super::waiter::Bucket;
use super::{Engine, Script};
use crate::breaker::{self, Contended, ProbePermit, SharedCell, Turn};
use crate::limit::{Limit, TokenBucket};
use crate::metrics::Metric;
use crate::units::{Instant, Micros};

/// A probe spends a token of a bucket of its own, which never runs out: like a request it runs the
/// script and writes a key, so it also finds a store that only refuses writes.
const PROBE_LIMIT: Limit = Limit::TokenBucket(TokenBucket {
    requests: 1_000_000,
    per: Micros::from_secs(1),
    burst: 1_000_000,
});

impl<C: SharedCell> Engine<C> {
    pub(super) fn tick_breaker(&mut self, now: Instant) {
        let turn = self.breaker.tick(self.shared_time.at(now));
        self.take_turn(turn, now);
    }

    pub(super) fn probe_ended(&mut self, permit: ProbePermit, call: breaker::Call, now: Instant) {
        let answered = call.outcome == breaker::Outcome::Success;
        self.effects.add(Metric::BreakerProbes(answered), 1);
        let shared = self.shared_time.at(now);
        let turn = self.breaker.settle_probe(permit, call, shared);
        self.take_turn(turn, now);
    }

    fn take_turn(&mut self, turn: Result<Turn, Contended>, now: Instant) {
        match turn {
            Ok(Turn { transition, probe }) => {
                self.note_transition(transition);
                if let Some(permit) = probe {
                    self.send_probe(permit, false, now);
                }
            }
            Err(Contended) => self.effects.add(Metric::BreakerConflicts, 1),
        }
    }

    /// A Redis that lost the script is asked once more with its text (`load`), which spares the
    /// requests to come a NOSCRIPT.
    pub(super) fn send_probe(&mut self, permit: ProbePermit, load: bool, now: Instant) {
        let key = format!("{}:{{}}:probe", self.config.redis.key_prefix).into_bytes();
        let fingerprint = self.fingerprints.of(&key);
        let bucket = Bucket::of_no_rule(key, fingerprint, PROBE_LIMIT, 1);
        let ask = Ask::Charge {
            members: Vec::new(),
            spare: 1,
        };
        let group = Group {
            buckets: vec![bucket],
            ask,
        };
        let mut body = Vec::new();
        group.encode(&mut body, load);
        let call = Call {
            purpose: Purpose::Probe(permit),
            texts: load.into(),
            sent: now,
            deadline: now + self.config.redis.timeout,
            groups: vec![group],
            held: Vec::new(),
        };
        let id = self.send(body, call);
        if load {
            self.script = Script::Loading(id);
        }
    }
}
