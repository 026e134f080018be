//! Every store that is promised, and every error that Redis itself can answer with, made for real.

mod bed;
mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod errors;
mod examples;
mod failover;
mod products;
mod redirections;
mod silent;
#[path = "../common/stat.rs"]
mod stat;
#[path = "../common/versions.rs"]
mod versions;
mod ward;
