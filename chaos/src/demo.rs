//! `chaos demo`: the whole stack on this machine, to try by hand.

use std::path::PathBuf;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use crate::stack::{Spec, Stack};

/// Starts the stack with its logs in `dir`, prints commands to try, and stops it on Ctrl-C or
/// SIGTERM.
///
/// # Errors
/// When the stack cannot be started or stopped.
pub async fn run(dir: PathBuf) -> Result<()> {
    // Before the start, so that a Ctrl-C meanwhile ends it in order too.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let end = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::pin!(end);
    let stack = tokio::select! {
        stack = Stack::start(Spec { workers: 2, ..Spec::new(dir.clone()) }) => stack?,
        () = &mut end => return Ok(()),
    };
    let envoy = &stack.envoys()[0];
    println!(
        "Envoy with VelocityGate is up; logs are in {}. Try:\n",
        dir.display()
    );
    println!("{}", commands(&envoy.front_url(), &envoy.metrics_url()));
    println!("\nCtrl-C stops everything.");
    end.await;
    stack.stop().await
}

/// One request that passes, enough of one key to be refused, and the counts.
fn commands(front: &str, metrics: &str) -> String {
    format!(
        "  curl -i -H 'x-api-key: alice' {front}/\n  \
         for i in $(seq 30); do curl -s -o /dev/null -w '%{{http_code}} ' \
         -H 'x-api-key: bob' {front}/; done; echo\n  \
         curl -s {metrics}/stats/prometheus | grep ^velocitygate_"
    )
}
