//! Many waiting requests, one call: requests with the same buckets share one command.

use std::hash::RandomState;

use hashbrown::HashMap;

use super::effect::StreamId;
use super::group::{Ask, Group};
use super::waiter::{Part, PartRef, Waiter};
use crate::fingerprint::Fingerprint;
use crate::limit::SCRIPT;
use crate::resp::MAX_COMMAND_BYTES;
use crate::units::Micros;

/// Commands in one call; the bridge accepts at least as many.
pub(super) const COMMANDS_MAX: usize = 512;
/// Bytes of keys in one call before it counts as full. One request more fits into what the bridge
/// accepts on top.
const KEY_BYTES_MAX: usize = 64 * 1024;
/// Commands of one call that carry the script's text.
pub(super) const TEXTS_MAX: usize = 16;
/// A call whose texts did not reach every shard is followed by one with so many times as many. A
/// master that replaces another needs one; a fleet that finds none of them ready must not send the
/// text with every command.
pub(super) const TEXTS_GROWTH: usize = 4;

// The bridge accepts the longest command and as much again: half of that for texts, half for the
// commands of a full call.
const _: () = assert!(TEXTS_MAX * SCRIPT.body.len() <= MAX_COMMAND_BYTES / 2);

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

    /// Adds a command for which no request waits; `timeout` is the time that it has.
    pub(super) fn add_errand(&mut self, group: Group, timeout: Micros) {
        let keys = group.buckets.iter().map(|bucket| bucket.key.len());
        self.key_bytes = self.key_bytes.saturating_add(keys.sum());
        self.groups.push(group);
        self.timeout = self.timeout.max(timeout);
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
        if let Some(Group {
            ask: Ask::Charge { members, .. },
            ..
        }) = known
        {
            members.push(member);
            return;
        }
        self.key_bytes = self.key_bytes.saturating_add(signature.len());
        self.index.insert(signature, self.groups.len());
        self.groups.push(Group {
            buckets: part.buckets.clone(),
            ask: Ask::Charge {
                members: vec![member],
                spare: 0,
            },
        });
    }

    /// Puts a command for each of these keys first, whose shards lack the script, and tells how many
    /// commands should carry its text. A shard runs the commands that it is sent in their order.
    pub(super) fn lead_with(&mut self, keys: &[Fingerprint]) -> usize {
        let mut texts: usize = 0;
        for key in keys {
            let others = self.groups.get_mut(texts..).unwrap_or_default();
            let asks = |group: &Group| group.lead() == Some(*key);
            let place = others.iter().position(asks);
            if let Some(before) = place.and_then(|place| others.get_mut(..=place)) {
                before.rotate_right(1);
                texts = texts.saturating_add(1);
            }
        }
        // Those who asked for the keys may be gone; the script is missing all the same.
        texts.max(1)
    }

    /// The RESP commands, one for each group; the first `texts` carry the script's text.
    pub(super) fn encode(&self, texts: usize) -> Vec<u8> {
        let text_bytes = SCRIPT.body.len().saturating_mul(texts);
        let other_bytes = self.key_bytes.saturating_mul(3);
        let mut body = Vec::with_capacity(other_bytes.saturating_add(text_bytes));
        for (number, group) in self.groups.iter().enumerate() {
            group.encode(&mut body, number < texts);
        }
        body
    }
}
