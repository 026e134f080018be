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
        let key = probe_key(&self.config.redis.key_prefix, permit.round());
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

/// A key for each round of probes, and with it another slot of a Redis Cluster: a shard that is lost
/// must not keep the breaker open for the others.
fn probe_key(prefix: &str, round: u64) -> Vec<u8> {
    format!("{prefix}:{{{round}}}:probe").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOTS: usize = 16_384;

    /// As a Redis Cluster computes it: CRC16/XMODEM of what stands between the braces.
    fn slot(round: u64) -> usize {
        let key = String::from_utf8(probe_key("vg", round)).expect("ASCII");
        let (_, tag) = key.split_once('{').expect("a tag");
        let (tag, _) = tag.split_once('}').expect("its end");
        let crc = tag.bytes().fold(0_u16, |crc, byte| {
            (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
                let carry = if crc & 0x8000 == 0 { 0 } else { 0x1021 };
                (crc << 1) ^ carry
            })
        });
        usize::from(crc) % SLOTS
    }

    #[test]
    fn slots_are_those_of_a_redis_cluster() {
        // What `CLUSTER KEYSLOT vg:{0}:probe` says, and so on.
        assert_eq!(
            [0, 1, 2, 3, 10].map(slot),
            [13_907, 9_842, 5_649, 1_584, 247]
        );
    }

    /// However many masters are lost, as long as one is not.
    #[test]
    fn probes_soon_ask_each_master() {
        for (masters, rounds) in [(2, 7), (3, 8), (9, 128)] {
            let owners: Vec<usize> = (0..100_000)
                .map(|round| slot(round) * masters / SLOTS)
                .collect();
            for in_a_row in owners.windows(rounds) {
                assert!(
                    (0..masters).all(|it| in_a_row.contains(&it)),
                    "{masters}: {in_a_row:?}"
                );
            }
        }
    }

    /// Any third of the slots is lost: a few rounds, and one is elsewhere.
    #[test]
    fn few_rounds_in_a_row_meet_one_lost_master_of_three() {
        let slots: Vec<usize> = (0..100_000).map(slot).collect();
        for in_a_row in slots.windows(5) {
            let (first, last) = (in_a_row.iter().min(), in_a_row.iter().max());
            let apart = last.zip(first).map_or(0, |(last, first)| last - first);
            assert!(apart > SLOTS / 3, "{in_a_row:?}");
        }
    }
}
