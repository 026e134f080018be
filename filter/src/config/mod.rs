//! The configuration after validation. Everything here is proof that a check was made: the rest of
//! the filter never sees a raw document.

use crate::limit::TokenBucket;
use crate::units::Micros;

/// A whole validated configuration of the HTTP root.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How to reach Redis, and how long to wait for it.
    pub redis: Redis,
    /// The breaker's settings; `None` when it is turned off.
    pub breaker: Option<Breaker>,
    /// Which header families answers carry.
    pub headers: Headers,
    /// The rules, in the order of the document. All that match apply.
    pub rules: Vec<Rule>,
}

/// How to reach Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// The Envoy cluster that leads to the bridge.
    pub cluster: String,
    /// The longest a request waits for Redis; whole milliseconds, at least one.
    pub timeout: Micros,
    /// First part of every key: `[A-Za-z0-9_.-]{1,64}`, so it can hold no hash tag.
    pub key_prefix: String,
    /// Requests of one worker that may wait at once.
    pub max_waiting: usize,
}

/// The settings of the circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Calls the sliding window remembers, 1 to [`Breaker::WINDOW_MAX`].
    pub window: u16,
    /// Calls in the window before it may open; at most `window`.
    pub minimum_calls: u16,
    /// Share of failed calls that opens it.
    pub failure_rate: Ratio,
    /// A call that takes at least this long is slow.
    pub slow_call: Micros,
    /// Share of slow calls that opens it.
    pub slow_call_rate: Ratio,
    /// How long it stays open the first time.
    pub open: Micros,
    /// The longest it stays open, however often probes fail.
    pub max_open: Micros,
    /// Successful probes that close it, at least 1.
    pub probes: u16,
}

impl Breaker {
    /// The largest window: the record of a breaker is copied on every call.
    pub const WINDOW_MAX: u16 = 1_000;
}

/// A share between 0 (excluded) and 1, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(pub u32);

/// Which header families answers carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// `RateLimit` and `RateLimit-Policy`.
    pub ratelimit: bool,
    /// `X-RateLimit-Limit`, `-Remaining`, `-Reset`.
    pub x_ratelimit: bool,
    /// `Retry-After`.
    pub retry_after: bool,
}

/// One limit: which requests it counts, by which key, and what happens to the surplus.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// `[a-z0-9_-]{1,64}`, unique in the configuration.
    pub name: String,
    /// Which requests the rule counts.
    pub matcher: crate::matching::Matcher,
    /// What a request is counted by.
    pub key: crate::matching::KeyRecipe,
    /// What happens when a part of the key is absent.
    pub missing_key: MissingKey,
    /// How much is allowed.
    pub limit: TokenBucket,
    /// Tokens a request takes; at most the limit's burst. 0 reads without charging.
    pub cost: u64,
    /// What happens when Redis does not answer.
    pub on_failure: OnFailure,
    /// Decide, count and export, but never refuse.
    pub shadow: bool,
}

/// What a rule does with a request that lacks a part of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingKey {
    /// Count it with all others that lack the part.
    Share,
    /// The rule does not apply.
    Skip,
    /// Refuse the request as if it were over the limit.
    Deny,
}

/// What a rule decides when the count is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Let the request pass (fail open).
    Allow,
    /// Refuse it with 503 (fail closed).
    Deny,
    /// Ask a bucket of this worker; the bucket is the rule's limit times `local.share`.
    Local(TokenBucket),
}
