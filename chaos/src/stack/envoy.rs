//! One Envoy of the stack: its process and its addresses.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::process::{Launch, Process};

/// How long a start may take; compiling the module is most of it.
const START: Duration = Duration::from_secs(60);

/// Addresses on which an Envoy listens.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// Clients' requests.
    pub front: SocketAddr,
    /// `/stats/prometheus` and `/ready`, nothing else; the admin interface where there is no such
    /// listener.
    pub metrics: SocketAddr,
    /// The admin interface.
    pub admin: SocketAddr,
}

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    ports: Ports,
    process: Process,
}

impl Envoy {
    /// Starts `program` with the configuration file `<name>.json` in `dir` and waits until it
    /// serves. Its log is `<name>.log`, its access log (JSON lines) `<name>.access.log`.
    pub(super) async fn start(
        program: &Path,
        (dir, name): (&Path, &str),
        workers: usize,
        ports: Ports,
    ) -> Result<Self> {
        let mut process = Launch::new(program, dir.join(format!("{name}.log")))
            .arg_path("--config-path", &dir.join(format!("{name}.json")))
            .args(["--concurrency", &workers.to_string()])
            // Two Envoys of one base id share memory meant for hot restarts.
            .args(["--disable-hot-restart", "--log-level", "info"])
            .stdout(dir.join(format!("{name}.access.log")))
            .spawn()?;
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(1))
            .no_proxy()
            .build()?;
        let url = format!("http://{}/ready", ports.admin);
        process
            .ready(START, async || is_live(&http, &url).await)
            .await?;
        Ok(Self { ports, process })
    }

    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// The base URL for clients, without a slash at its end.
    pub fn front_url(&self) -> String {
        format!("http://{}", self.ports.front)
    }

    /// The base URL of the metrics listener.
    pub fn metrics_url(&self) -> String {
        format!("http://{}", self.ports.metrics)
    }

    /// The base URL of the admin interface.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.ports.admin)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(super) async fn stop(self, grace: Duration) -> Result<()> {
        self.process.stop(grace).await?;
        Ok(())
    }
}

async fn is_live(http: &reqwest::Client, url: &str) -> bool {
    let Ok(answer) = http.get(url).send().await else {
        return false;
    };
    answer.text().await.is_ok_and(|text| text.trim() == "LIVE")
}
