//! Random input for everything that reads what strangers send. Each target is a test: a short run
//! in `make test`, a long one in `make fuzz`. What they hold: no panic, no trap (I9), memory within
//! a bound that input cannot move, and what is printed is read back as it was.

mod bridge;
mod bytes;
mod documents;
mod engine;
mod harness;
mod module;
#[path = "../pieces/mod.rs"]
mod pieces;
mod replies;
mod requests;
#[path = "../wasm_host/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "the tests of the ABI use the rest"
)]
mod wasm_host;
