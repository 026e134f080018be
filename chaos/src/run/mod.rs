//! Runs scenarios one after another into one record.
//!
//! What goes wrong within a scenario is written to the record, where the judge finds it; only
//! what makes any run impossible is an error.

mod access_log;
mod conduct;
mod environment;
mod folder;
mod observers;
mod progress;
mod trial;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::record::{Event, Header, Recorder, VERSION};
use crate::scenario::Scenario;
use crate::tools::Tools;
use progress::Progress;

/// Runs scenarios; gives the run's folder, made in `out`. Ctrl-C and SIGTERM end the run early
/// but in order: faults are healed, processes are stopped, the record is complete.
///
/// # Errors
/// When a tool is missing or the record cannot be written.
pub async fn run(scenarios: &[Scenario], out: &Path) -> Result<PathBuf> {
    let environment = environment::discover(&Tools::find()?)?;
    let interrupted = watch_signals()?;
    let (folder, run_id) = folder::create(out)?;
    let mut recorder = Recorder::create(&folder).context("cannot create the record")?;
    let header = Header {
        version: VERSION,
        run_id: run_id.clone(),
        environment,
    };
    recorder.write(&Event::Header(header))?;
    let progress = Progress::new(&run_id, scenarios);
    for scenario in scenarios {
        if *interrupted.borrow() {
            break;
        }
        progress.begin(scenario);
        let folder = folder.join(&scenario.name);
        trial::run(
            scenario,
            &folder,
            &mut recorder,
            &progress,
            interrupted.clone(),
        )
        .await?;
        recorder.flush()?;
        progress.end(scenario);
    }
    Ok(folder)
}

/// Becomes true at the first SIGINT or SIGTERM.
fn watch_signals() -> Result<watch::Receiver<bool>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // Nobody listens any more once the run is over.
        let _ = sender.send(true);
        // The sender lives on, so that waiting for a change waits for ever.
        std::future::pending::<()>().await;
    });
    Ok(receiver)
}
