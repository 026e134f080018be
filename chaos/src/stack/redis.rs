//! The stack's Redis: started empty on a port that it keeps over restarts, and the hands on it
//! that faults need.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::Signal;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, IntoConnectionInfo};
use tokio::sync::Mutex;

use super::process::{Launch, Process};
use super::redis_spec::{Login, RedisSpec};
use super::{ports, with_free_ports};

/// How long a start may take.
const START: Duration = Duration::from_secs(30);

/// Longest wait for one command or connection of this observer: far longer than a busy machine
/// takes, since whoever asks takes no answer for a failure of Redis.
const COMMAND: Duration = Duration::from_secs(10);

/// A Redis on a fixed loopback port. All methods may be called while others run.
#[derive(Debug)]
pub struct Redis {
    program: PathBuf,
    arguments: Vec<OsString>,
    login: Option<Login>,
    address: SocketAddr,
    tls: Option<SocketAddr>,
    dir: PathBuf,
    process: Mutex<Option<Process>>,
}

impl Redis {
    /// Starts an empty Redis on free ports; its log is `redis.log` in `dir`, which is made when it
    /// is not there and should hold no other Redis.
    ///
    /// # Errors
    /// When its program is not there, or it does not answer in time.
    pub async fn start(spec: &RedisSpec, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        with_free_ports(async || {
            let tls = if spec.tls { Some(ports::free()?) } else { None };
            let redis = Self {
                program: spec.program.path()?,
                arguments: spec.prepare(tls, dir)?,
                login: spec.login.clone(),
                address: ports::free_for_redis()?,
                tls,
                dir: dir.to_owned(),
                process: Mutex::new(None),
            };
            redis.ensure_running().await?;
            Ok(redis)
        })
        .await
    }

    /// Where observers reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where Envoy has to reach it: the port for TLS when there is one.
    pub fn store_address(&self) -> SocketAddr {
        self.tls.unwrap_or(self.address)
    }

    /// Its process id, `None` while it is down.
    pub async fn pid(&self) -> Option<u32> {
        self.process.lock().await.as_ref().map(Process::pid)
    }

    /// Starts it again, empty, when it is down.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub async fn ensure_running(&self) -> Result<()> {
        let mut slot = self.process.lock().await;
        if let Some(process) = slot.as_mut()
            && process.is_running()?
        {
            return Ok(());
        }
        let mut process = self.launch().spawn()?;
        // Any other Redis could answer on a port that was lost; only ours has this id.
        let own = format!("process_id:{}\r\n", process.pid());
        process
            .ready(START, async || {
                self.info().await.is_ok_and(|i| i.contains(&own))
            })
            .await?;
        *slot = Some(process);
        Ok(())
    }

    /// Kills it at once, as a crash would. Nothing happens when it is down.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn kill(&self) -> Result<()> {
        if let Some(mut process) = self.process.lock().await.take() {
            process.kill().await?;
        }
        Ok(())
    }

    /// Kills it and starts an empty one on the same port.
    ///
    /// # Errors
    /// As [`Redis::kill`] and [`Redis::start`].
    pub async fn restart(&self) -> Result<()> {
        self.kill().await?;
        self.ensure_running().await
    }

    /// Freezes it (SIGSTOP): it keeps its connections and says nothing.
    ///
    /// # Errors
    /// When it is down.
    pub async fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP).await
    }

    /// Lets a frozen one go on (SIGCONT); nothing happens to one that was not frozen.
    ///
    /// # Errors
    /// When it is down.
    pub async fn thaw(&self) -> Result<()> {
        self.signal(Signal::SIGCONT).await
    }

    /// Makes it forget every script, so that the next EVALSHA is answered NOSCRIPT.
    ///
    /// # Errors
    /// When it does not answer within 10 s, as for every command below.
    pub async fn script_flush(&self) -> Result<()> {
        let mut command = redis::cmd("SCRIPT");
        command.arg("FLUSH");
        self.ask(command).await
    }

    /// Deletes every key.
    ///
    /// # Errors
    /// When it does not answer within 10 s.
    pub async fn flush_all(&self) -> Result<()> {
        self.ask(redis::cmd("FLUSHALL")).await
    }

    /// The text of `INFO everything`.
    ///
    /// # Errors
    /// When it does not answer within 10 s.
    pub async fn info(&self) -> Result<String> {
        let mut command = redis::cmd("INFO");
        command.arg("everything");
        self.ask(command).await
    }

    /// How many keys there are.
    ///
    /// # Errors
    /// When it does not answer within 10 s.
    pub async fn dbsize(&self) -> Result<u64> {
        self.ask(redis::cmd("DBSIZE")).await
    }

    /// A command of the caller's, on a connection of its own.
    ///
    /// # Errors
    /// When Redis cannot be reached, answers with an error, or does not answer within 10 s.
    pub async fn ask<T: FromRedisValue>(&self, command: redis::Cmd) -> Result<T> {
        let mut connection = self.connect().await?;
        command
            .query_async(&mut connection)
            .await
            .context("Redis refused a command")
    }

    /// A connection that outlives a command, for what new ones are not allowed to do.
    ///
    /// # Errors
    /// When Redis cannot be reached, or refuses the login.
    pub async fn connect(&self) -> Result<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(COMMAND))
            .set_response_timeout(Some(COMMAND));
        let mut info = format!("redis://{}", self.address).into_connection_info()?;
        if let Some(Login { user, password }) = &self.login {
            let login = info.redis_settings().clone();
            info = info.set_redis_settings(login.set_username(user).set_password(password));
        }
        Client::open(info)?
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .with_context(|| format!("cannot reach Redis at {}", self.address))
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        let slot = self.process.lock().await;
        slot.as_ref()
            .ok_or_else(|| anyhow!("Redis is down"))?
            .signal(signal)
    }

    /// Nothing is written to the disk: a restarted Redis is an empty one.
    fn launch(&self) -> Launch {
        let (ip, port) = (
            self.address.ip().to_string(),
            self.address.port().to_string(),
        );
        Launch::new(&self.program, self.dir.join("redis.log"))
            .args([
                "--bind",
                &ip,
                "--port",
                &port,
                "--save",
                "",
                "--appendonly",
                "no",
            ])
            .arg_path("--dir", &self.dir)
            .args(&self.arguments)
    }
}
