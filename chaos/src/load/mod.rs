//! Open-loop load: requests leave when the plan says so, whatever became of earlier ones.
//!
//! Latency counts from the planned send time, so a stall shows in every request it delayed, and
//! the generator's own lateness is recorded beside it (wrk2's README, last section, explains why:
//! coordinated omission).

mod client;
mod pacer;
mod plan;

pub use client::{Client, key_text};
pub use pacer::{IN_FLIGHT_MAX, Pacer};
pub use plan::{Arrival, Arrivals, Key};
