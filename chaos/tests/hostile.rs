//! Stores that lie, clients that attack, VMs that trap: real Envoy with the real module, and nothing
//! of it may break (I8, I9).

mod lies;
