//! The limits that a rule can have: one for each algorithm.

use super::charge::Level;
use super::fixed_window::{self, Counter};
use super::reply::Standing;
use super::sliding_log::{self, Log};
use super::sliding_window::{self, Counters};
use super::token_bucket::{Tat, TokenBucket};
use super::window::Window;
use crate::config::PER_MAX;
use crate::units::Micros;

/// How much a rule allows, and how that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A bucket that refills steadily.
    TokenBucket(TokenBucket),
    /// Windows that are multiples of `per`, each counted from zero.
    FixedWindow(Window),
    /// A window that ends now, estimated from two counters.
    SlidingWindow(Window),
    /// A window that ends now, exactly.
    SlidingLog(Window),
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
    /// Of a fixed window.
    FixedWindow(Counter),
    /// Of a sliding window.
    SlidingWindow(Counters),
    /// Of a sliding log.
    SlidingLog(Log),
}

impl Limit {
    /// Requests of cost 1 that are allowed in each [`Limit::per`].
    pub const fn requests(&self) -> u64 {
        match self {
            Self::TokenBucket(bucket) => bucket.requests,
            Self::FixedWindow(it) | Self::SlidingWindow(it) | Self::SlidingLog(it) => it.requests,
        }
    }

    /// The window.
    pub const fn per(&self) -> Micros {
        match self {
            Self::TokenBucket(bucket) => bucket.per,
            Self::FixedWindow(it) | Self::SlidingWindow(it) | Self::SlidingLog(it) => it.per,
        }
    }

    /// The most tokens that there can be at once, and so the most that a request may cost.
    pub const fn capacity(&self) -> u64 {
        match self {
            Self::TokenBucket(bucket) => bucket.burst,
            Self::FixedWindow(it) | Self::SlidingWindow(it) | Self::SlidingLog(it) => it.requests,
        }
    }

    /// What the algorithm is called in Redis: in the script's arguments and at the end of keys, so
    /// that no algorithm meets the value of another.
    pub const fn tag(&self) -> &'static str {
        match self {
            Self::TokenBucket(_) => "tb",
            Self::FixedWindow(_) => "fw",
            Self::SlidingWindow(_) => "sw",
            Self::SlidingLog(_) => "sl",
        }
    }

    /// The longest wait until nothing counts any more, whatever limit there was before.
    pub(super) const fn longest_reset(&self) -> Micros {
        match self {
            Self::TokenBucket(_) => TokenBucket::LONGEST_RESET,
            Self::FixedWindow(_) | Self::SlidingLog(_) => PER_MAX,
            // A longer window of a former limit, the rest of one of its own, and one more.
            Self::SlidingWindow(_) => PER_MAX.saturating_mul(3),
        }
    }

    /// What Redis counts for a rule whose workers may spend tokens up to `ttl` after they took them,
    /// so that no interval sees more than this limit admits; `None` when that leaves no token.
    ///
    /// What is spent in an interval of length `t` was taken in one of `t + ttl`. A bucket may admit
    /// `burst + requests x t / per` in `t`, so it is told of a burst that is smaller by
    /// `requests x ttl / per`. A log or sliding window counts over `per + ttl`: fewer requests over
    /// `per` would not do, for two bursts `per` apart, the first spent late, meet in one window. In
    /// a fixed window a lease ends with its window ([`Limit::lease_span`]).
    pub fn leased(&self, ttl: Micros) -> Option<Self> {
        let longer = |window: &Window| Window {
            per: window.per + ttl,
            ..*window
        };
        match self {
            Self::TokenBucket(bucket) => {
                let refill = u128::from(bucket.requests).saturating_mul(ttl.0.into());
                let refill = refill.div_ceil(u128::from(bucket.per.0).max(1));
                let refill = u64::try_from(refill).unwrap_or(u64::MAX);
                let burst = bucket.burst.saturating_sub(refill);
                (burst > 0).then_some(Self::TokenBucket(TokenBucket { burst, ..*bucket }))
            }
            Self::SlidingWindow(window) => Some(Self::SlidingWindow(longer(window))),
            Self::SlidingLog(window) => Some(Self::SlidingLog(longer(window))),
            Self::FixedWindow(window) => Some(Self::FixedWindow(*window)),
        }
    }

    /// How long tokens may be held that were taken when the rule stood like this.
    pub fn lease_span(&self, ttl: Micros, standing: Standing) -> Micros {
        match self {
            Self::FixedWindow(_) => ttl.min(standing.reset),
            _ => ttl,
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
                Self::FixedWindow(_) | Self::SlidingWindow(_) | Self::SlidingLog(_) => {
                    standing.reset
                }
            },
        }
    }

    pub(super) fn level(&self, state: &State, now_us: u64) -> Box<dyn Level> {
        match *self {
            Self::TokenBucket(bucket) => {
                let tat = match state {
                    State::TokenBucket(tat) => *tat,
                    _ => Tat::default(),
                };
                Box::new(bucket.level(tat, now_us))
            }
            Self::FixedWindow(window) => {
                let counter = match state {
                    State::FixedWindow(counter) => Some(*counter),
                    _ => None,
                };
                Box::new(fixed_window::Level::at(now_us, window, counter))
            }
            Self::SlidingWindow(window) => {
                let counters = match state {
                    State::SlidingWindow(counters) => Some(*counters),
                    _ => None,
                };
                Box::new(sliding_window::Level::at(now_us, window, counters))
            }
            Self::SlidingLog(window) => {
                let log = match state {
                    State::SlidingLog(log) => log.clone(),
                    _ => Log::default(),
                };
                Box::new(sliding_log::Level::at(now_us, window, log))
            }
        }
    }
}

impl State {
    /// How the script stores it; `None` where it stores nothing. Of a list, the entries with spaces
    /// between them.
    pub fn stored(&self) -> Option<String> {
        match self {
            Self::Fresh => None,
            Self::TokenBucket(tat) => Some(tat.stored()),
            Self::FixedWindow(counter) => Some(counter.stored()),
            Self::SlidingWindow(counters) => Some(counters.stored()),
            Self::SlidingLog(log) => Some(log.stored()),
        }
    }
}
