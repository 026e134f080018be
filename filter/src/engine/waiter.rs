//! A request that waits, and what it asks of Redis.

use super::effect::StreamId;
use crate::limit::Standing;
use crate::units::{Instant, Micros};

/// Rules that are charged together in one command: all the enforced ones, or one shadow rule,
/// which must neither refuse nor be held back by the others.
#[derive(Debug)]
pub(super) struct Part {
    /// Rule numbers and the Redis key of each.
    pub(super) buckets: Vec<(u16, Vec<u8>)>,
    pub(super) shadow: bool,
    /// `None` until answered; an answered part is never asked again.
    pub(super) result: Option<PartResult>,
}

/// What Redis said of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PartResult {
    /// There was room, or not, and this is where each bucket stands after it.
    Counted {
        admitted: bool,
        standings: Vec<Standing>,
    },
    /// The count is unknown.
    Unknown,
}

/// A paused request.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) parts: Vec<Part>,
    pub(super) arrived: Instant,
}

/// One part of one waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartRef {
    pub(super) stream: StreamId,
    pub(super) part: usize,
}

impl Part {
    pub(super) const fn asking(buckets: Vec<(u16, Vec<u8>)>, shadow: bool) -> Self {
        Self {
            buckets,
            shadow,
            result: None,
        }
    }

    /// A shadow rule that would have refused a request for its missing key: nothing to ask Redis.
    pub(super) fn refused_in_shadow(rule: u16) -> Self {
        let refused = PartResult::Counted {
            admitted: false,
            standings: Vec::new(),
        };
        Self {
            buckets: vec![(rule, Vec::new())],
            shadow: true,
            result: Some(refused),
        }
    }

    /// Equal for parts that may share one command with a summed count: the same buckets.
    pub(super) fn signature(&self) -> Vec<u8> {
        let mut signature = Vec::with_capacity(64);
        for (rule, key) in &self.buckets {
            signature.extend_from_slice(&rule.to_be_bytes());
            signature.extend_from_slice(&key.len().to_be_bytes());
            signature.extend_from_slice(key);
        }
        signature
    }
}

impl Waiter {
    pub(super) fn deadline(&self, timeout: Micros) -> Instant {
        self.arrived + timeout
    }

    pub(super) fn is_answered(&self) -> bool {
        self.parts.iter().all(|part| part.result.is_some())
    }

    /// Marks every part that is still open as unknown.
    pub(super) fn give_up(&mut self) {
        for part in &mut self.parts {
            part.result.get_or_insert(PartResult::Unknown);
        }
    }
}
