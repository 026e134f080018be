//! Probes: how an open breaker finds out that Redis is back, without risking a user's request.

use super::batch::Group;
use super::calls::{Call, Purpose};
use super::waiter::Bucket;
use super::{Engine, Script};
use crate::breaker::{self, Contended, ProbePermit, SharedCell, Turn};
use crate::limit::{TOKEN_BUCKET, TokenBucket};
use crate::metrics::Metric;
use crate::units::{Instant, Micros};

/// A probe spends a token of a bucket of its own, which never runs out: like a request it runs the
/// script and writes a key, so it also finds a store that only refuses writes.
const PROBE_LIMIT: TokenBucket = TokenBucket {
    requests: 1_000_000,
    per: Micros::from_secs(1),
    burst: 1_000_000,
};

impl<C: SharedCell> Engine<C> {
    pub(super) fn tick_breaker(&mut self, now: Instant) {
        let turn = self.breaker.tick(now);
        self.take_turn(turn, now);
    }

    pub(super) fn probe_ended(&mut self, permit: ProbePermit, call: breaker::Call, now: Instant) {
        let answered = call.outcome == breaker::Outcome::Success;
        self.effects.add(Metric::BreakerProbes(answered), 1);
        let turn = self.breaker.settle_probe(permit, call, now);
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
        let key = format!("{}:{{}}:probe", self.config.redis.key_prefix);
        let group = Group::probe(Bucket {
            rule: 0,
            key: key.into_bytes(),
            limit: PROBE_LIMIT,
            cost: 1,
        });
        let mut body = Vec::new();
        TOKEN_BUCKET.command(&mut body, &group.demand(), load);
        let call = Call {
            purpose: Purpose::Probe(permit),
            load,
            sent: now,
            deadline: now + self.config.redis.timeout,
            groups: vec![group],
        };
        let id = self.send(body, call);
        if load {
            self.script = Script::Loading(id);
        }
    }
}
