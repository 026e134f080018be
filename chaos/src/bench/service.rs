//! The limiter services that two of the peers ask: separate processes on the stack's Redis.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::net::TcpStream;

use super::peer::Peer;
use super::wiring::{DOMAIN, ENTRY, HOURLY};
use crate::run::environment::version_of;
use crate::stack::{Launch, Process, ports};
use crate::tools::{Tools, ToolsError};

/// How long a start may take.
const START: Duration = Duration::from_secs(20);

/// How long a stop may take before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// A running limiter service.
#[derive(Debug)]
pub(super) struct Service {
    process: Process,
}

impl Service {
    /// Starts the one that `peer` needs, when it needs one, and waits until it listens.
    ///
    /// # Errors
    /// When it cannot be started or is not ready in 20 s.
    pub(super) async fn start(
        peer: Peer,
        dir: &Path,
        listen: SocketAddr,
        redis: SocketAddr,
    ) -> Result<Option<Self>> {
        let launch = match peer {
            Peer::Ratelimit => ratelimit(dir, listen, redis)?,
            Peer::Limitador => limitador(dir, listen, redis)?,
            _ => return Ok(None),
        };
        let mut process = launch.spawn()?;
        process
            .ready(START, async || TcpStream::connect(listen).await.is_ok())
            .await?;
        Ok(Some(Self { process }))
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.process.stop(GRACE).await?;
        Ok(())
    }
}

/// Why `peer` cannot be measured here, and what would change that.
pub(super) fn lack(peer: Peer, tools: &Tools) -> Option<String> {
    match peer {
        Peer::Ratelimit => without(tools.ratelimit(), "make bench"),
        Peer::Limitador => without(
            tools.limitador(),
            "cargo install --git https://github.com/Kuadrant/limitador limitador-server; make bench",
        ),
        _ => None,
    }
}

/// The version of the service that `peer` asks.
pub(super) fn version(peer: Peer, tools: &Tools) -> Result<Option<String>> {
    match peer {
        // It tells none, but its folder does.
        Peer::Ratelimit => {
            let program = tools.ratelimit()?;
            let folder = program.parent().and_then(Path::file_name);
            let name = folder.unwrap_or_default().to_string_lossy();
            Ok(Some(name.trim_start_matches("ratelimit-").to_owned()))
        }
        Peer::Limitador => Ok(Some(version_of(&tools.limitador()?, "--version")?)),
        _ => Ok(None),
    }
}

fn without<T>(tool: Result<T, ToolsError>, fix: &str) -> Option<String> {
    match tool {
        Ok(_) => None,
        Err(_) => Some(format!("not installed; `{fix}` gets it or says why not")),
    }
}

fn ratelimit(dir: &Path, listen: SocketAddr, redis: SocketAddr) -> Result<Launch> {
    let limits = format!(
        "domain: {DOMAIN}\ndescriptors:\n- key: {ENTRY}\n  \
         rate_limit: {{ unit: hour, requests_per_unit: {HOURLY} }}\n"
    );
    write(&dir.join("ratelimit/config/limits.yaml"), &limits)?;
    let program = Tools::find()?.ratelimit()?;
    let ip = listen.ip().to_string();
    let mut launch = Launch::new(&program, dir.join("ratelimit.log"));
    for (name, value) in [
        ("RUNTIME_ROOT", dir.join("ratelimit").display().to_string()),
        ("RUNTIME_WATCH_ROOT", "false".to_owned()),
        ("HOST", ip.clone()),
        ("PORT", ports::free()?.port().to_string()),
        ("DEBUG_HOST", ip.clone()),
        ("DEBUG_PORT", ports::free()?.port().to_string()),
        ("GRPC_HOST", ip),
        ("GRPC_PORT", listen.port().to_string()),
        ("REDIS_SOCKET_TYPE", "tcp".to_owned()),
        ("REDIS_URL", redis.to_string()),
        // Without a statsd it would write each of them to its log.
        ("DISABLE_STATS", "true".to_owned()),
        ("LOG_LEVEL", "error".to_owned()),
    ] {
        launch = launch.env(name, &value);
    }
    Ok(launch)
}

fn limitador(dir: &Path, listen: SocketAddr, redis: SocketAddr) -> Result<Launch> {
    let limits = format!(
        "- namespace: {DOMAIN}\n  max_value: {HOURLY}\n  seconds: 3600\n  \
         conditions: []\n  variables: [\"descriptors[0]['{ENTRY}']\"]\n"
    );
    let path = dir.join("limitador.yaml");
    write(&path, &limits)?;
    let program = Tools::find()?.limitador()?;
    let ip = listen.ip().to_string();
    Ok(Launch::new(&program, dir.join("limitador.log"))
        .args(["--rls-ip", &ip, "--rls-port", &listen.port().to_string()])
        .args(["--http-ip", &ip])
        .args(["--http-port", &ports::free()?.port().to_string()])
        .args(["--rate-limit-headers", "DRAFT_VERSION_03"])
        .args([path.as_os_str()])
        .args(["redis", &format!("redis://{redis}")]))
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file is in a folder")?;
    fs::create_dir_all(folder)?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_is_not_there_is_lacking_with_its_fix_and_no_other_peer_is() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(".tools")).unwrap();
        fs::write(root.path().join(".tools/env"), "RATELIMIT=gone\n").unwrap();
        let tools = Tools::at(root.path()).unwrap();
        for (peer, fix) in [
            (Peer::Ratelimit, "`make bench`"),
            (Peer::Limitador, "; make bench`"),
        ] {
            let reason = lack(peer, &tools).unwrap();
            assert!(reason.contains(fix), "{reason}");
        }
        assert_eq!(lack(Peer::Strict, &tools), None);
        fs::write(root.path().join("gone"), "").unwrap();
        assert_eq!(lack(Peer::Ratelimit, &tools), None);
    }
}
