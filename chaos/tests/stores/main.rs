//! Every store that is promised, and every error that Redis itself can answer with, made for real.

#[path = "../common/access_log.rs"]
mod access_log;
mod bed;
mod cluster;
#[path = "../common/mod.rs"]
mod common;
mod errors;
mod examples;
mod failover;
mod patience;
mod products;
mod redirections;
mod sharded;
mod silent_master;
#[path = "../common/stat.rs"]
mod stat;
#[path = "../common/versions.rs"]
mod versions;
mod ward;
