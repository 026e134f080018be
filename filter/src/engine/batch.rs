//! Many waiting requests, one call: requests with the same buckets share one command.

use std::hash::RandomState;

use hashbrown::HashMap;

use super::effect::StreamId;
use super::waiter::{Part, PartRef, PartResult, Waiter};
use crate::config::Config;
use crate::limit::{Charge, Demand, Standing, TOKEN_BUCKET};
use crate::units::Micros;

/// Commands in one call; the bridge accepts at least as many.
pub(super) const COMMANDS_MAX: usize = 512;
/// Bytes of keys in one call before it counts as full. One request more fits into what the bridge
/// accepts on top.
const KEY_BYTES_MAX: usize = 64 * 1024;

/// The command of one group, and who waits for it in which order.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) buckets: Vec<(u16, Vec<u8>)>,
    pub(super) members: Vec<PartRef>,
}

/// The requests of one call.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) groups: Vec<Group>,
    /// The least time that any of the requests has left.
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
            timeout: Micros(u64::MAX),
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
        self.timeout = self.timeout.min(left);
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
    pub(super) fn encode(&self, config: &Config, load: bool) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.key_bytes.saturating_mul(3));
        for (number, group) in self.groups.iter().enumerate() {
            let demand = group.demand(config);
            TOKEN_BUCKET.command(&mut body, &demand, load && number == 0);
        }
        body
    }
}

impl Group {
    /// The group of a probe, for which no request waits: context 0 is no stream of Envoy's.
    pub(super) fn probe(key: Vec<u8>) -> Self {
        Self {
            buckets: vec![(0, key)],
            members: vec![PartRef { stream: 0, part: 0 }],
        }
    }

    fn demand(&self, config: &Config) -> Demand<'_> {
        let buckets = self.buckets.iter().filter_map(|(number, key)| {
            let rule = config.rules.get(usize::from(*number))?;
            Some((key.as_slice(), rule.limit, rule.cost))
        });
        Demand {
            count: self.members.len() as u64,
            buckets: buckets.collect(),
        }
    }

    /// What a charge of the group means for its members, in their order.
    pub(super) fn share(&self, config: &Config, charge: &Charge) -> Vec<PartResult> {
        (0u64..)
            .zip(&self.members)
            .map(|(place, _)| {
                // Those admitted after this one had not been charged yet when it passed.
                let after = charge.admitted.saturating_sub(place.saturating_add(1));
                let standings = charge.rules.iter().zip(&self.buckets);
                PartResult::Counted {
                    admitted: place < charge.admitted,
                    standings: standings
                        .map(|(standing, (rule, _))| before(config, *rule, *standing, after))
                        .collect(),
                }
            })
            .collect()
    }
}

/// Where the bucket of a rule stood before the last `after` requests were charged.
fn before(config: &Config, rule: u16, standing: Standing, after: u64) -> Standing {
    let Some(rule) = config.rules.get(usize::from(rule)) else {
        return standing;
    };
    let charged = after.saturating_mul(rule.cost);
    let retry = if charged > 0 {
        Micros::ZERO
    } else {
        standing.retry
    };
    let remaining = standing
        .remaining
        .saturating_add(charged)
        .min(rule.limit.burst);
    Standing {
        remaining,
        retry,
        ..standing
    }
}
