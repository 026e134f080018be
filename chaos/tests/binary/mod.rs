//! Runs the built `chaos` command.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Longest any one use of the command here may take.
const DEADLINE: Duration = Duration::from_secs(180);

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The command, to be started; it is killed when its handle is dropped.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs it to its end.
pub(crate) async fn chaos(arguments: &[&str]) -> Ended {
    ended(&mut command(arguments)).await
}

/// Runs a command to its end.
pub(crate) async fn ended(command: &mut Command) -> Ended {
    let output = timeout(DEADLINE, command.output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("{command:?} did not end within {DEADLINE:?}"))
        .unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
