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
mod redis_cluster;
mod redis_spec;
mod spec;
mod toxiproxy;
mod upstream;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::fault::Toxiproxy;
use crate::tools::Tools;
pub use envoy::{Envoy, Ports};
pub use envoy_config::Wiring;
pub use process::{Launch, Process};
pub use redis::Redis;
pub use redis_cluster::{MASTERS, RedisCluster};
pub use redis_spec::{Login, RedisProgram, RedisSpec};
pub use spec::{EnvoyVersion, MODULE, Spec, Store, Tweak};
use toxiproxy::ToxiproxyServer;
pub use upstream::{KEY_HEADER, MAX_PAIRS, Upstream};

/// The name of the proxy in Toxiproxy that leads to Redis.
pub const REDIS_PROXY: &str = "redis";

/// How long a process may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(20);

/// Starts of one process before giving up, since a free port can be lost before it is bound.
const ATTEMPTS: usize = 3;

/// A running stack. Dropping it kills all of it.
#[derive(Debug)]
pub struct Stack {
    envoys: Vec<Envoy>,
    upstream: Upstream,
    redis: Redis,
    toxiproxy: ToxiproxyServer,
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
        let redis = Redis::start(&spec.redis, &spec.dir).await?;
        let toxiproxy =
            ToxiproxyServer::start(&tools.toxiproxy()?, &spec.dir, redis.store_address()).await?;
        let store = match &spec.store {
            Store::Toxiproxy => vec![toxiproxy.listen()],
            Store::Direct => vec![redis.store_address()],
            Store::At(address) => vec![*address],
            Store::Cluster(masters) => masters.clone(),
        };
        let program = match &spec.envoy {
            EnvoyVersion::Newest => tools.envoy()?,
            EnvoyVersion::Oldest => tools.envoy_oldest()?,
            EnvoyVersion::At(path) => path.clone(),
        };
        let mut envoys = Vec::new();
        for index in 0..spec.envoys {
            let name = format!("envoy-{index}");
            envoys.push(start_envoy(&program, &name, &spec, (&store, upstream.address())).await?);
        }
        Ok(Self {
            envoys,
            upstream,
            redis,
            toxiproxy,
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
        self.toxiproxy.client()
    }

    /// Kills Toxiproxy and starts it on the same ports, with the way to Redis whole.
    ///
    /// # Errors
    /// When it does not answer within 10 s or refuses the way.
    pub async fn restart_toxiproxy(&self) -> Result<()> {
        self.toxiproxy.restart().await
    }

    /// Every process id of the stack: of the Envoys, of Toxiproxy, of Redis unless it is down.
    pub async fn pids(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self.envoys.iter().map(Envoy::pid).collect();
        pids.push(self.toxiproxy.pid().await);
        pids.extend(self.redis.pid().await);
        pids
    }

    /// Stops everything in order, Envoys first; what does not end within 20 s is killed.
    ///
    /// # Errors
    /// When the system refuses to wait for a process; dropping still kills the rest.
    pub async fn stop(self) -> Result<()> {
        for envoy in self.envoys {
            envoy.stop(GRACE).await?;
        }
        self.toxiproxy.stop(GRACE).await?;
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

async fn start_envoy(
    program: &Path,
    name: &str,
    spec: &Spec,
    (store, upstream): (&[SocketAddr], SocketAddr),
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
            files: &spec.dir,
        };
        let (mut tree, ports) = envoy_config::adapt(&spec.config, &settings)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[tokio::test]
    async fn a_start_that_lost_its_port_is_tried_again_a_bounded_number_of_times() {
        let mut starts = 0;
        let outcome: Result<()> = with_free_ports(async || {
            starts += 1;
            bail!("bind: Address already in use")
        })
        .await;
        assert!(outcome.is_err());
        assert_eq!(starts, ATTEMPTS);
    }

    #[tokio::test]
    async fn a_start_that_failed_otherwise_is_not_tried_again() {
        let mut starts = 0;
        let outcome: Result<()> = with_free_ports(async || {
            starts += 1;
            bail!("no such file")
        })
        .await;
        assert!(outcome.is_err());
        assert_eq!(starts, 1);
    }
}
