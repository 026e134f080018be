//! What to start: the choices that scenarios and tests make.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{RedisSpec, Wiring};
use crate::tools::repository;

/// The module, relative to the repository root, as `make wasm` builds it.
pub const MODULE: &str = "target/wasm32-wasip1/release/velocitygate.wasm";

/// Which Envoy runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvoyVersion {
    /// The newest supported.
    Newest,
    /// The oldest supported.
    Oldest,
    /// This program.
    At(PathBuf),
}

/// The configuration that a stack runs unless it is told otherwise, relative to the repository root.
const CONFIG: &str = "envoy/envoy.yaml";

/// Where Envoy finds its store. Redis and Toxiproxy run in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// The stack's Redis, through Toxiproxy: faults work.
    Toxiproxy,
    /// The stack's Redis itself: only faults of Redis work.
    Direct,
    /// Something of the caller's, such as a store that lies.
    At(SocketAddr),
    /// A Redis Cluster of the caller's, by its masters.
    Cluster(Vec<SocketAddr>),
}

/// A last change to an Envoy's configuration.
pub type Tweak = Arc<dyn Fn(&mut Value) + Send + Sync>;

/// What to start. Take [`Spec::new`] and change what matters.
#[derive(Clone)]
pub struct Spec {
    /// The folder for configurations and logs; made when it is not there.
    pub dir: PathBuf,
    /// How many Envoys share the store.
    pub envoys: usize,
    /// Worker threads of each.
    pub workers: usize,
    /// Which Envoy.
    pub envoy: EnvoyVersion,
    /// The configuration that is adapted to this run: `envoy/envoy.yaml` or one beside it.
    pub config: PathBuf,
    /// The filter's module; `None` runs Envoy without the filter.
    pub module: Option<PathBuf>,
    /// Merged into the plugin's JSON of `config` as a JSON merge patch (RFC 7396):
    /// objects merge, `null` removes, anything else (lists too) replaces.
    pub plugin: Value,
    /// The stack's Redis.
    pub redis: RedisSpec,
    /// Where the store is.
    pub store: Store,
    /// What stands behind the bridge.
    pub wiring: Wiring,
    /// Any other change, made last to each Envoy's configuration.
    pub tweak: Option<Tweak>,
}

impl Spec {
    /// One Envoy of the newest version with one worker, the built module and the plugin
    /// configuration of `envoy/envoy.yaml`, its store through Toxiproxy.
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            envoys: 1,
            workers: 1,
            envoy: EnvoyVersion::Newest,
            config: repository().join(CONFIG),
            module: Some(repository().join(MODULE)),
            plugin: json!({}),
            redis: RedisSpec::default(),
            store: Store::Toxiproxy,
            wiring: Wiring::RedisProxy,
            tweak: None,
        }
    }
}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}
