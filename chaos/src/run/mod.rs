//! Runs scenarios one after another into one record.
//!
//! What goes wrong within a scenario is written to the record, where the judge finds it; only
//! what makes any run impossible is an error.

mod access_log;
mod conduct;
pub(crate) mod environment;
pub(crate) mod folder;
mod observers;
pub(crate) mod progress;
mod trial;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::record::{Event, Header, Record, Recorder, VERSION};
use crate::report::Report;
use crate::scenario::Scenario;
use crate::tools::Tools;
use progress::Progress;

/// A run that is over.
#[derive(Debug)]
pub struct Ran {
    /// Its folder, with the record.
    pub folder: PathBuf,
    interrupted: watch::Receiver<bool>,
}

impl Ran {
    /// Has somebody asked for the end by now, be it after the last scenario?
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        *self.interrupted.borrow()
    }
}

/// Runs scenarios; the run's folder is made in `out`. Ctrl-C and SIGTERM end the run early
/// but in order: faults are healed, processes are stopped, the record is complete.
///
/// # Errors
/// When a tool is missing or the record cannot be written.
pub async fn run(scenarios: &[Scenario], out: &Path) -> Result<Ran> {
    let environment = environment::discover(&Tools::find()?)?;
    let interrupted = watch_signals()?;
    let (folder, run_id) = folder::create(out, "CHAOS")?;
    let mut recorder = Recorder::create(&folder).context("cannot create the record")?;
    let header = Header {
        version: VERSION,
        run_id: run_id.clone(),
        planned: scenarios.iter().map(|it| it.id.clone()).collect(),
        environment,
    };
    recorder.write(&Event::Header(header))?;
    let progress = Progress::new(&run_id, scenarios);
    for scenario in scenarios {
        if *interrupted.borrow() {
            break;
        }
        for attempt in 1..=ATTEMPTS {
            progress.begin(scenario);
            let logs = folder.join(attempt_name(scenario, attempt));
            let interrupted = interrupted.clone();
            trial::run(
                scenario,
                &logs,
                &mut recorder,
                &progress,
                interrupted.clone(),
            )
            .await?;
            recorder.flush()?;
            progress.end(scenario);
            if attempt == ATTEMPTS || *interrupted.borrow() || !is_spoiled(&folder)? {
                break;
            }
            progress.again(scenario);
        }
    }
    Ok(Ran {
        folder,
        interrupted,
    })
}

/// How often a scenario is tried when the machine spoils it, and for no other reason. All trials stay in the record; the last is reported.
const ATTEMPTS: u32 = 2;

fn attempt_name(scenario: &Scenario, attempt: u32) -> String {
    match attempt {
        1 => scenario.name.clone(),
        later => format!("{}-{later}", scenario.name),
    }
}

/// Whether the machine spoiled the trial that the record ends with.
fn is_spoiled(folder: &Path) -> Result<bool> {
    let report = Report::of(&Record::load(folder)?);
    let last = report.scenarios.last();
    Ok(last
        .and_then(|it| it.cause)
        .is_some_and(crate::judge::Cause::is_machine))
}

/// Becomes true at the first SIGINT or SIGTERM.
pub(crate) fn watch_signals() -> Result<watch::Receiver<bool>> {
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
