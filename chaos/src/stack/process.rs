//! A child process: started with a log file, waited for, signalled by its own id, never left behind.
//!
//! Three nets catch it. `stop` ends it in order; dropping the handle kills it; and when this
//! process dies without either (Ctrl-C, a panic, SIGKILL), the kernel kills it, because it is
//! started through `setpriv --pdeathsig`, which keeps the process id. The kernel counts the
//! *thread* that started the child as its parent: start from a task, never from
//! `spawn_blocking`, whose threads end when idle.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// Pause between two looks at whether a process is ready.
const POLL: Duration = Duration::from_millis(20);

/// Last lines of a log that an error shows.
const TAIL_LINES: usize = 20;

/// What to start.
#[derive(Debug)]
pub struct Launch {
    program: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(String, String)>,
    log: PathBuf,
    stdout: Option<PathBuf>,
}

impl Launch {
    /// A program whose standard output and error both go to the file `log` (added at its end).
    pub fn new(program: &Path, log: PathBuf) -> Self {
        Self {
            program: program.to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            log,
            stdout: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds an option and the path that is its value.
    #[must_use]
    pub fn arg_path(self, option: &str, path: &Path) -> Self {
        self.args([OsStr::new(option), path.as_os_str()])
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.envs.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends standard output to a file of its own.
    #[must_use]
    pub fn stdout(mut self, path: PathBuf) -> Self {
        self.stdout = Some(path);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// When a log cannot be opened or `setpriv` (util-linux) cannot be started. A `program` that
    /// cannot be started shows as a process that ends at once, with the reason in its log.
    pub fn spawn(self) -> Result<Process> {
        let log = append(&self.log)?;
        let stdout = match &self.stdout {
            Some(path) => append(path)?,
            None => log.try_clone()?,
        };
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.program)
            .args(&self.args)
            .envs(self.envs)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(log)
            // A terminal's Ctrl-C goes to its whole process group; only the parent should get it,
            // so that it can stop the children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start setpriv (of util-linux)")?;
        let pid = child.id().context("a process just started has an id")?;
        Ok(Process {
            name: name_of(&self.program),
            child,
            pid,
            log: self.log,
        })
    }
}

/// A running child process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pid: u32,
    log: PathBuf,
}

impl Process {
    /// Its process id, kept after it ended.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has not ended yet. A frozen process is running.
    ///
    /// # Errors
    /// When the system refuses to say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits until `probe` says yes.
    ///
    /// # Errors
    /// When the process ends first or `deadline` passes; the error shows the end of its log.
    pub async fn ready(
        &mut self,
        deadline: Duration,
        mut probe: impl AsyncFnMut() -> bool,
    ) -> Result<()> {
        let end = Instant::now() + deadline;
        while !probe().await {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "{} ended before it was ready ({status}):\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            if Instant::now() >= end {
                bail!(
                    "{} was not ready after {deadline:?}:\n{}",
                    self.name,
                    self.log_tail()
                );
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        // `id` is None once the child has been reaped: its number may belong to another by then.
        let pid = self
            .child
            .id()
            .ok_or_else(|| anyhow!("{} has ended", self.name))?;
        kill(Pid::from_raw(pid.cast_signed()), signal)
            .with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Asks it to end (SIGTERM) and kills it when it has not done so within `grace`. A process
    /// that has ended already is no error.
    ///
    /// # Errors
    /// When the system refuses to wait for it.
    pub async fn stop(mut self, grace: Duration) -> Result<ExitStatus> {
        if self.is_running()? {
            self.signal(Signal::SIGTERM)?;
        }
        if let Ok(status) = timeout(grace, self.child.wait()).await {
            return Ok(status?);
        }
        self.kill().await
    }

    /// Kills it (SIGKILL), also when it is frozen, and waits until it is gone.
    ///
    /// # Errors
    /// When the system refuses to wait for it.
    pub async fn kill(&mut self) -> Result<ExitStatus> {
        self.child.start_kill()?;
        Ok(self.child.wait().await?)
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

fn append(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open the log {}", path.display()))
}

fn name_of(program: &Path) -> String {
    program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_has_the_variables_that_it_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut process = Launch::new(Path::new("sh"), log.clone())
            .args(["-c", "echo \"it is $GIVEN\"; exec sleep 60"])
            .env("GIVEN", "a value")
            .spawn()
            .unwrap();
        let told = || std::fs::read_to_string(&log).unwrap_or_default();
        let is_told = async || told().contains("it is a value\n");
        let ready = process.ready(Duration::from_secs(10), is_told).await;
        ready.unwrap();
        process.kill().await.unwrap();
    }
}
