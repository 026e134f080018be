//! When to stop asking Redis, and when to ask again.
//!
//! ```text
//!            too many of the last `window` calls failed or were slow
//!   closed ──────────────────────────────────────────────────────────▶ open ◀─┐
//!      ▲                                                                │      │ a probe failed,
//!      │ `probes` probes in a row succeeded              its wait is over      │ was slow or got lost
//!      └──────────────────────────────── half-open ◀────────────────────┘      │
//!                                            └─────────────────────────────────┘
//! ```
//!
//! Closed: calls pass. Open: calls are refused. Half-open: calls are still refused, while one
//! worker at a time sends a probe of its own from its tick, so no user request ever waits to find
//! out whether Redis is back.
//!
//! One [`Record`] holds the breaker of a process. It is a value: every transition is a function of
//! the record, what happened, the time and a random number. [`Breaker`] runs those functions on a
//! cell that all workers share, by compare-and-swap.
//!
//! Two things keep a lost, late or doubled reply harmless. A [`Permit`] names the generation (the
//! count of state changes) it was issued in and settles only there; as it reserves nothing, losing
//! one costs nothing. A [`ProbePermit`] is also numbered and has a deadline in the record: when
//! the worker that holds it dies, any other worker's tick opens the breaker again.
//!
//! The generation counter follows sony/gobreaker, the two rates follow Resilience4j, and a reason
//! that is a value follows linkerd2-proxy's `TripReason`.

mod backoff;
mod call;
mod codec;
mod record;
mod shared;
#[cfg(test)]
mod tests;
mod transition;
mod window;

pub use call::{Call, Cause, Outcome};
pub use codec::DecodeError;
pub use record::{Moment, Permit, ProbePermit, Record, Settings, Turn};
pub use shared::{Breaker, Contended, MAX_CAS_ATTEMPTS, SharedBreaker, SharedCell, shared_key};
pub use transition::{Reason, State, Transition};
