//! The limits that a rule can have: one for each algorithm.

use super::charge::Level;
use super::reply::Standing;
use super::token_bucket::{Tat, TokenBucket};
use crate::units::Micros;

/// How much a rule allows, and how that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A bucket that refills steadily.
    TokenBucket(TokenBucket),
}

/// What is remembered of one key of a rule. One of another algorithm than the rule's counts as
/// nothing remembered; in Redis the two have different keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    #[default]
    Fresh,
    /// Of a token bucket.
    TokenBucket(Tat),
}

impl Limit {
    /// Requests of cost 1 that are allowed in each [`Limit::per`].
    pub const fn requests(&self) -> u64 {
        match self {
            Self::TokenBucket(bucket) => bucket.requests,
        }
    }

    /// The window.
    pub const fn per(&self) -> Micros {
        match self {
            Self::TokenBucket(bucket) => bucket.per,
        }
    }

    /// The most tokens that there can be at once, and so the most that a request may cost.
    pub const fn capacity(&self) -> u64 {
        match self {
            Self::TokenBucket(bucket) => bucket.burst,
        }
    }

    /// What the algorithm is called in Redis: in the script's arguments and at the end of keys, so
    /// that no algorithm meets the value of another.
    pub const fn tag(&self) -> &'static str {
        match self {
            Self::TokenBucket(_) => "tb",
        }
    }

    /// The longest wait until nothing counts any more.
    pub(super) const fn longest_reset(&self) -> Micros {
        match self {
            Self::TokenBucket(_) => TokenBucket::LONGEST_RESET,
        }
    }

    /// Where the rule stood before the last `tokens` of what it has just been charged.
    pub fn before(&self, standing: Standing, tokens: u64) -> Standing {
        if tokens == 0 {
            return standing;
        }
        let remaining = standing.remaining.saturating_add(tokens);
        Standing {
            remaining: remaining.min(self.capacity()),
            retry: Micros::ZERO,
            reset: match self {
                Self::TokenBucket(bucket) => standing.reset - bucket.refill_time(tokens),
            },
        }
    }

    pub(super) fn level(&self, state: &State, now_us: u64) -> Box<dyn Level> {
        match (self, state) {
            (Self::TokenBucket(bucket), State::TokenBucket(tat)) => {
                Box::new(bucket.level(*tat, now_us))
            }
            (Self::TokenBucket(bucket), State::Fresh) => {
                Box::new(bucket.level(Tat::default(), now_us))
            }
        }
    }
}

impl State {
    /// How the script stores it; `None` where it stores nothing.
    pub fn stored(&self) -> Option<String> {
        match self {
            Self::Fresh => None,
            Self::TokenBucket(tat) => Some(tat.stored()),
        }
    }
}
