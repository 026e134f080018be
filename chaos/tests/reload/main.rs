//! The examples in `envoy/` whose limits depend on more than one static filter: hot reload
//! (`reload.yaml`) and limits by route (`per-route.yaml`), loaded as they are and driven.

#[path = "../common/mod.rs"]
mod common;
mod discovery;
mod leases;
#[path = "../common/page.rs"]
mod page;
mod per_route;
mod refused;
mod requests;
mod start;
mod state;
#[path = "../common/versions.rs"]
mod versions;
