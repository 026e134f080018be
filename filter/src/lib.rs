//! VelocityGate: global rate limiting inside stock Envoy, with counters in Redis.
//!
//! The crate is a functional core and a thin shell. Every module but `wasm` is a deterministic
//! function of its state, an event and the time it is told: no host call, no clock, no I/O. The
//! shell (`wasm`, compiled for wasm32 only) turns Envoy's callbacks into events for the core and
//! the core's effects into host calls.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod answer;
pub mod bounded;
pub mod breaker;
pub mod bridge;
pub mod census;
pub mod config;
pub mod decision;
pub mod engine;
pub mod fingerprint;
pub mod limit;
pub mod matching;
pub mod metrics;
pub mod random;
pub mod resp;
#[cfg(test)]
mod testing;
pub mod units;
#[cfg(target_arch = "wasm32")]
mod wasm;
