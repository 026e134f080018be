//! A small proxy-wasm 0.2.1 host: what the module needs of Envoy, in plain Rust, with clocks and
//! faults that a test controls. It answers as Envoy's host does, also where that is unkind: the
//! wrong status makes the module's SDK panic, and a panic is a trap.

mod abi;
mod driver;
mod memory;
mod module;
mod shared;
mod state;
mod wasi;

pub(crate) use abi::{CALLED, NEVER_CALLED};
pub(crate) use driver::{Action, Reply, Worker};
pub(crate) use module::built;
pub(crate) use state::{HttpCall, MetricKind, Pairs, Process, status};
pub(crate) use wasi::WASI;
