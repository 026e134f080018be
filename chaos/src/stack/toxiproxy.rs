//! The stack's Toxiproxy process: one way to Redis, on ports that it keeps over restarts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::Mutex;

use super::process::{Launch, Process};
use super::{REDIS_PROXY, ports, with_free_ports};
use crate::fault::Toxiproxy;

/// How long a start may take.
const START: Duration = Duration::from_secs(30);

/// A running Toxiproxy whose proxy [`REDIS_PROXY`] leads to Redis.
#[derive(Debug)]
pub(super) struct ToxiproxyServer {
    program: PathBuf,
    log: PathBuf,
    api: SocketAddr,
    listen: SocketAddr,
    upstream: SocketAddr,
    client: Toxiproxy,
    process: Mutex<Process>,
}

impl ToxiproxyServer {
    /// Starts it on free ports with a way to `upstream`; its log is `toxiproxy.log` in `dir`.
    ///
    /// # Errors
    /// When it does not answer in time or refuses the proxy.
    pub(super) async fn start(program: &Path, dir: &Path, upstream: SocketAddr) -> Result<Self> {
        let log = dir.join("toxiproxy.log");
        let (api, client, process) = with_free_ports(async || {
            let api = ports::free()?;
            let client = Toxiproxy::new(api)?;
            let process = launch(program, &log, api, &client).await?;
            Ok((api, client, process))
        })
        .await?;
        let listen = with_free_ports(async || {
            let listen = ports::free()?;
            client.create(REDIS_PROXY, listen, upstream).await?;
            Ok(listen)
        })
        .await?;
        Ok(Self {
            program: program.to_owned(),
            log,
            api,
            listen,
            upstream,
            client,
            process: Mutex::new(process),
        })
    }

    /// Its client, good over restarts.
    pub(super) fn client(&self) -> &Toxiproxy {
        &self.client
    }

    /// Where the way to Redis begins.
    pub(super) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Its process id now.
    pub(super) async fn pid(&self) -> u32 {
        self.process.lock().await.pid()
    }

    /// Kills it, with all connections and toxics, and starts one on the same ports.
    ///
    /// # Errors
    /// As [`ToxiproxyServer::start`].
    pub(super) async fn restart(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        process.kill().await?;
        *process = launch(&self.program, &self.log, self.api, &self.client).await?;
        self.client
            .create(REDIS_PROXY, self.listen, self.upstream)
            .await
            .context("cannot make the way to Redis again")
    }

    /// Asks it to end, and kills it after `grace`.
    ///
    /// # Errors
    /// When the system refuses to wait for it.
    pub(super) async fn stop(self, grace: Duration) -> Result<()> {
        self.process.into_inner().stop(grace).await?;
        Ok(())
    }
}

async fn launch(
    program: &Path,
    log: &Path,
    api: SocketAddr,
    client: &Toxiproxy,
) -> Result<Process> {
    let (ip, port) = (api.ip().to_string(), api.port().to_string());
    let mut process = Launch::new(program, log.to_owned())
        .args(["-host", &ip, "-port", &port])
        .spawn()?;
    process
        .ready(START, async || client.version().await.is_ok())
        .await?;
    Ok(process)
}
