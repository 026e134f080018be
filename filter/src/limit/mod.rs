//! The algorithms: each a Lua script that Redis runs, and a Rust twin that counts the same.
//!
//! The twin serves two masters: property tests hold it and the script together on a real Redis,
//! and the local fallback counts with it while Redis is away.

mod algorithm;
mod charge;
mod fixed_window;
mod local;
#[cfg(test)]
mod refund_tests;
mod reply;
mod script;
mod sliding_log;
mod sliding_window;
#[cfg(test)]
mod tests;
mod token_bucket;
mod window;

pub use algorithm::{Limit, State};
pub use charge::{charge_all, refund_all};
pub use fixed_window::Counter;
pub use local::{LocalBuckets, LocalDemand};
pub use reply::{Charge, ShapeError, Standing, refunded};
pub use script::{Demand, Refund, SCRIPT, Script};
pub use sliding_log::Log;
pub use sliding_window::Counters;
pub use token_bucket::{Tat, TokenBucket};
pub use window::Window;
