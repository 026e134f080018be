//! Many waiting requests, one call: requests with the same buckets share one command.

use std::hash::RandomState;

use hashbrown::HashMap;

use super::effect::StreamId;
use super::waiter::{Bucket, Part, PartRef, PartResult, Waiter};
use crate::limit::{Charge, Demand, SCRIPT};
use crate::units::Micros;

/// Commands in one call; the bridge accepts at least as many.
pub(super) const COMMANDS_MAX: usize = 512;
/// Bytes of keys in one call before it counts as full. One request more fits into what the bridge
/// accepts on top.
const KEY_BYTES_MAX: usize = 64 * 1024;

/// The command of one group, and who waits for it in which order.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) buckets: Vec<Bucket>,
    pub(super) members: Vec<PartRef>,
}

/// The requests of one call.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) groups: Vec<Group>,
    /// The most time that any of the requests has left. Each is ended at its own deadline by the
    /// tick; cutting the call short for the oldest would cost the others an answer.
    pub(super) timeout: Micros,
    pub(super) requests: u64,
    // Signatures hold what clients sent, so the hash must be seeded with real randomness.
    index: HashMap<Vec<u8>, usize, RandomState>,
    key_bytes: usize,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            groups: Vec::new(),
            timeout: Micros::ZERO,
            requests: 0,
            index: HashMap::with_hasher(RandomState::new()),
            key_bytes: 0,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.groups.len() >= COMMANDS_MAX || self.key_bytes >= KEY_BYTES_MAX
    }

    /// Adds the open parts of a request that has `left` until its deadline.
    pub(super) fn add(&mut self, stream: StreamId, waiter: &Waiter, left: Micros) {
        self.timeout = self.timeout.max(left);
        self.requests = self.requests.saturating_add(1);
        for (part_number, part) in waiter.parts.iter().enumerate() {
            if part.result.is_none() {
                self.add_part(
                    PartRef {
                        stream,
                        part: part_number,
                    },
                    part,
                );
            }
        }
    }

    fn add_part(&mut self, member: PartRef, part: &Part) {
        let signature = part.signature();
        let known = self
            .index
            .get(&signature)
            .and_then(|&group| self.groups.get_mut(group));
        if let Some(group) = known {
            group.members.push(member);
            return;
        }
        self.key_bytes = self.key_bytes.saturating_add(signature.len());
        self.index.insert(signature, self.groups.len());
        self.groups.push(Group {
            buckets: part.buckets.clone(),
            members: vec![member],
        });
    }

    /// The RESP commands, one for each group. With `load` the first carries the script's text.
    pub(super) fn encode(&self, load: bool) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.key_bytes.saturating_mul(3));
        for (number, group) in self.groups.iter().enumerate() {
            SCRIPT.command(&mut body, &group.demand(), load && number == 0);
        }
        body
    }
}

impl Group {
    /// The group of a probe, for which no request waits: context 0 is no stream of Envoy's.
    pub(super) fn probe(bucket: Bucket) -> Self {
        Self {
            buckets: vec![bucket],
            members: vec![PartRef { stream: 0, part: 0 }],
        }
    }

    pub(super) fn demand(&self) -> Demand<'_> {
        let buckets = self.buckets.iter();
        Demand {
            count: self.members.len() as u64,
            buckets: buckets
                .map(|b| (b.key.as_slice(), b.limit, b.cost))
                .collect(),
        }
    }

    /// What a charge of the group means for its members, in their order.
    pub(super) fn share(&self, charge: &Charge) -> Vec<PartResult> {
        (0u64..)
            .zip(&self.members)
            .map(|(place, _)| {
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
            })
            .collect()
    }
}
