//! The algorithms: each a pure Rust twin beside the Lua script that Redis runs.

use crate::units::Micros;

/// A bucket that holds `burst` tokens and gains `requests` of them every `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// Tokens gained in each `per`, 1 to 10^9.
    pub requests: u64,
    /// The window, a whole number of milliseconds, 1 ms to 366 days.
    pub per: Micros,
    /// Tokens the bucket holds when full, 1 to 10^9.
    pub burst: u64,
}
