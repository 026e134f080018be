//! Stories of requests, on a model Redis and a clock that only moves when told.

mod accounting;
mod clocks;
mod cluster;
mod cold_cluster;
mod deny_cache;
mod failures;
mod hindsight;
mod lease_fleet;
mod lease_terms;
mod leases;
mod liveness;
mod lost_shard;
mod measures;
mod model_redis;
mod requests;
mod script;
mod treatments;
mod world;
