//! Observations: what Envoy, Redis and the kernel say about a running stack.

mod envoy;
mod process;
mod redis;
mod turns;

pub use envoy::{BreakerState, EnvoySample, Summary};
pub use process::ProcessSample;
pub use redis::RedisSample;
pub use turns::{Stolen, Turns};
