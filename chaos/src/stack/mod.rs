//! The stack: Envoys with the filter, Redis, Toxiproxy between them, and a counting upstream.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use velocitygate_chaos::stack::{Spec, Stack};
//! let stack = Stack::start(Spec { workers: 2, ..Spec::new("/tmp/run".into()) }).await?;
//! let url = format!("{}/hello", stack.envoys()[0].front_url());
//! stack.stop().await?;
//! # Ok(()) }
//! ```

mod envoy;
pub mod envoy_config;
pub mod ports;
mod process;
mod redis;
mod upstream;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::fault::Toxiproxy;
use crate::tools::{Tools, repository};
pub use envoy::{Envoy, Ports};
pub use envoy_config::Wiring;
pub use process::{Launch, Process};
pub use redis::Redis;
pub use upstream::{KEY_HEADER, MAX_PAIRS, Upstream};

/// The name of the proxy in Toxiproxy that leads to Redis.
pub const REDIS_PROXY: &str = "redis";

/// The module, relative to the repository root, as `make wasm` builds it.
pub const MODULE: &str = "target/wasm32-wasip1/release/velocitygate.wasm";

/// How long a process may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// How long Toxiproxy may take to start.
const START: Duration = Duration::from_secs(10);

/// Starts of one process before giving up, since a free port can be lost before it is bound.
const ATTEMPTS: usize = 3;

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

/// Where Envoy finds its store. Redis and Toxiproxy run in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// The stack's Redis, through Toxiproxy: faults work.
    Toxiproxy,
    /// The stack's Redis itself: only faults of Redis work.
    Direct,
    /// Something of the caller's, such as a store that lies.
    At(SocketAddr),
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
    /// The filter's module; `None` runs Envoy without the filter.
    pub module: Option<PathBuf>,
    /// Merged into the plugin's JSON of `envoy/envoy.yaml` as a JSON merge patch (RFC 7396):
    /// objects merge, `null` removes, anything else (lists too) replaces.
    pub plugin: Value,
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
            module: Some(repository().join(MODULE)),
            plugin: json!({}),
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

/// A running stack. Dropping it kills all of it.
#[derive(Debug)]
pub struct Stack {
    envoys: Vec<Envoy>,
    upstream: Upstream,
    redis: Redis,
    toxiproxy: Toxiproxy,
    toxiproxy_process: Process,
}

impl Stack {
    /// Starts everything, on loopback and free ports, and returns when every Envoy serves.
    ///
    /// # Errors
    /// When a tool or the module is not there, or a process does not become ready; the error shows
    /// the end of its log. What had been started is killed.
    pub async fn start(spec: Spec) -> Result<Self> {
        let tools = Tools::find()?;
        std::fs::create_dir_all(&spec.dir)
            .with_context(|| format!("cannot make {}", spec.dir.display()))?;
        let upstream = Upstream::start().await?;
        let redis = start_redis(&tools.redis()?, &spec.dir).await?;
        let (toxiproxy_process, toxiproxy) =
            start_toxiproxy(&tools.toxiproxy()?, &spec.dir).await?;
        let proxied = start_proxy(&toxiproxy, redis.address()).await?;
        let store = match spec.store {
            Store::Toxiproxy => proxied,
            Store::Direct => redis.address(),
            Store::At(address) => address,
        };
        let program = match &spec.envoy {
            EnvoyVersion::Newest => tools.envoy()?,
            EnvoyVersion::Oldest => tools.envoy_oldest()?,
            EnvoyVersion::At(path) => path.clone(),
        };
        let mut envoys = Vec::new();
        for index in 0..spec.envoys {
            let name = format!("envoy-{index}");
            envoys.push(start_envoy(&program, &name, &spec, (store, upstream.address())).await?);
        }
        Ok(Self {
            envoys,
            upstream,
            redis,
            toxiproxy,
            toxiproxy_process,
        })
    }

    /// The Envoys, in the order of their numbers.
    pub fn envoys(&self) -> &[Envoy] {
        &self.envoys
    }

    /// The upstream and its counts.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// The Redis, to disturb or to ask.
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// The client of the stack's Toxiproxy, whose proxy [`REDIS_PROXY`] leads to Redis.
    pub fn toxiproxy(&self) -> &Toxiproxy {
        &self.toxiproxy
    }

    /// Every process id of the stack.
    pub async fn pids(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self.envoys.iter().map(Envoy::pid).collect();
        pids.push(self.toxiproxy_process.pid());
        pids.extend(self.redis.pid().await);
        pids
    }

    /// Stops everything in order, Envoys first; what does not end within 5 s is killed.
    ///
    /// # Errors
    /// When the system refuses to wait for a process; dropping still kills the rest.
    pub async fn stop(self) -> Result<()> {
        for envoy in self.envoys {
            envoy.stop(GRACE).await?;
        }
        self.toxiproxy_process.stop(GRACE).await?;
        self.redis.kill().await
    }
}

/// Runs `start` again while ports are lost between choosing and binding them.
async fn with_free_ports<T>(mut start: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let mut attempt = 1;
    loop {
        match start().await {
            Err(error) if attempt < ATTEMPTS && lost_port(&error) => attempt += 1,
            other => return other,
        }
    }
}

/// Redis, Toxiproxy and Envoy all say so in these words, of the system.
fn lost_port(error: &anyhow::Error) -> bool {
    format!("{error:#}")
        .to_lowercase()
        .contains("address already in use")
}

async fn start_redis(program: &Path, dir: &Path) -> Result<Redis> {
    with_free_ports(async || Redis::start(program, ports::free()?, dir).await).await
}

async fn start_toxiproxy(program: &Path, dir: &Path) -> Result<(Process, Toxiproxy)> {
    with_free_ports(async || {
        let api = ports::free()?;
        let client = Toxiproxy::new(api)?;
        let mut process = Launch::new(program, dir.join("toxiproxy.log"))
            .args([
                "-host",
                &api.ip().to_string(),
                "-port",
                &api.port().to_string(),
            ])
            .spawn()?;
        process
            .ready(START, async || client.version().await.is_ok())
            .await?;
        Ok((process, client))
    })
    .await
}

async fn start_proxy(toxiproxy: &Toxiproxy, redis: SocketAddr) -> Result<SocketAddr> {
    with_free_ports(async || {
        let listen = ports::free()?;
        toxiproxy.create(REDIS_PROXY, listen, redis).await?;
        Ok(listen)
    })
    .await
}

async fn start_envoy(
    program: &Path,
    name: &str,
    spec: &Spec,
    (store, upstream): (SocketAddr, SocketAddr),
) -> Result<Envoy> {
    with_free_ports(async || {
        let ports = Ports {
            front: ports::free()?,
            metrics: ports::free()?,
            admin: ports::free()?,
        };
        let settings = envoy_config::Settings {
            ports,
            store,
            upstream,
            module: spec.module.as_deref(),
            plugin: &spec.plugin,
            wiring: spec.wiring,
        };
        let source = repository().join("envoy/envoy.yaml");
        let mut tree = envoy_config::adapt(&source, &settings)?;
        if let Some(tweak) = &spec.tweak {
            tweak(&mut tree);
        }
        let path = spec.dir.join(format!("{name}.json"));
        std::fs::write(&path, serde_json::to_vec_pretty(&tree)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Envoy::start(program, (&spec.dir, name), spec.workers, ports).await
    })
    .await
}
