//! The side-by-side benchmark: peers take turns on the same machine under the same load, and what
//! is judged are ratios between them, since absolute numbers belong to the machine.
//!
//! In each round every peer has one turn, in shuffled order and with fresh processes, so that a
//! machine whose speed drifts treats all alike. `docs/BENCH.md` tells the method.

mod closed;
mod cost;
mod measured;
mod memory;
mod open;
mod peer;
mod progress;
mod report;
mod service;
mod stats;
mod target;
mod targets;
mod turn;
mod wiring;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::ValueEnum as _;
use jiff::Timestamp;
use rand::seq::SliceRandom as _;
use serde::Serialize;
use tokio::sync::watch;

use crate::exit::Exit;
use crate::run::{environment, folder, watch_signals};
use crate::stack::MODULE;
use crate::tools::{Tools, repository};
use measured::Measured;
pub use peer::Peer;
use progress::Progress;
use report::{Lack, Report, Turn};

/// Connections of the full load, unless told otherwise.
const CONNECTIONS: usize = 64;

/// How long and how often.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Settings {
    /// Turns of each peer.
    pub rounds: u64,
    /// Seconds of the full load, and of the fixed rate.
    pub seconds: f64,
    /// Connections of the full load.
    pub connections: usize,
}

impl Settings {
    /// So many rounds and seconds.
    #[must_use]
    pub fn new(rounds: u64, seconds: f64) -> Self {
        Self {
            rounds,
            seconds,
            connections: CONNECTIONS,
        }
    }

    fn length(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// Half of what is measured, a second at least where that is longer.
    fn warm_up(&self) -> Duration {
        Duration::from_secs_f64((self.seconds / 2.0).max(self.seconds.min(1.0)))
    }

    fn turn_s(&self) -> f64 {
        self.warm_up().as_secs_f64() + 2.0 * self.seconds
    }
}

/// Measures `peers`, all of them when none is named, and writes the report into a folder of its own
/// in `out`. Ctrl-C and SIGTERM end it early but in order.
///
/// # Errors
/// When a tool of the stack is missing or the report cannot be written. What goes wrong in a turn
/// is told in the report.
pub async fn run(
    peers: &[Peer],
    settings: &Settings,
    out: &Path,
) -> Result<(Exit, PathBuf, String)> {
    let tools = Tools::find()?;
    let mut environment = environment::discover(&tools)?;
    let interrupted = watch_signals()?;
    let (folder, run_id) = folder::create(out, "BENCH")?;
    let wanted: BTreeSet<Peer> = match peers {
        [] => Peer::value_variants().iter().copied().collect(),
        named => named.iter().copied().collect(),
    };
    let (mut able, mut lacks) = (Vec::new(), Vec::new());
    for peer in wanted.iter().copied() {
        match service::lack(peer, &tools) {
            None => {
                let version = service::version(peer, &tools)?;
                let named = version.map(|it| (peer.name().to_owned(), it));
                environment.versions.extend(named);
                able.push(peer);
            }
            Some(reason) => lacks.push(Lack { peer, reason }),
        }
    }
    let bench = Bench {
        folder: &folder,
        settings,
        interrupted: interrupted.clone(),
    };
    let started = Timestamp::now().to_string();
    let with_memory = wanted.contains(&Peer::Strict) && settings.seconds >= MEMORY_FROM_S;
    let ran = bench.play(&run_id, &mut able, with_memory).await;
    let report = Report::new(report::Ran {
        run_id,
        started,
        environment,
        settings: *settings,
        wanted,
        lacks,
        turns: ran.turns,
        memory: ran.memory,
        module_bytes: module_bytes(),
        interrupted: *interrupted.borrow(),
    });
    report.write(&folder)?;
    let text = report::table(&report);
    Ok((report.exit(), folder.join(report::MARKDOWN_FILE), text))
}

/// A shorter benchmark is a try of the machinery, and does not wait for 200,000 keys.
const MEMORY_FROM_S: f64 = 1.0;

fn module_bytes() -> Option<u64> {
    let metadata = std::fs::metadata(repository().join(MODULE)).ok()?;
    Some(metadata.len())
}

/// What came of all turns.
struct Played {
    turns: Vec<Turn>,
    memory: Result<memory::Memory, String>,
}

struct Bench<'b> {
    folder: &'b Path,
    settings: &'b Settings,
    interrupted: watch::Receiver<bool>,
}

impl Bench<'_> {
    async fn play(&self, run_id: &str, peers: &mut [Peer], with_memory: bool) -> Played {
        let all = self.settings.rounds * peers.len() as u64 + u64::from(with_memory);
        let mut progress = Progress::new(run_id, all, self.settings);
        let mut turns = Vec::new();
        for round in 1..=self.settings.rounds {
            peers.shuffle(&mut rand::rng());
            for peer in peers.iter().copied() {
                let what = format!("round {round}: {peer}");
                progress.begin(&what);
                let dir = self.folder.join(format!("{peer}-{round}"));
                let turn = turn::run(peer, &dir, self.settings);
                let outcome = self.unless_interrupted(turn).await;
                progress.end(&what, &told(&outcome));
                turns.push(Turn::new(peer, round, outcome));
                if *self.interrupted.borrow() {
                    let memory = Err("interrupted".to_owned());
                    return Played { turns, memory };
                }
            }
        }
        let memory = match with_memory {
            false => Err("not asked for".to_owned()),
            true => {
                progress.begin("memory");
                let dir = self.folder.join("memory");
                let measured = memory::run(&dir, self.settings);
                let measured = self.unless_interrupted(measured).await;
                progress.end("memory", if measured.is_ok() { "done" } else { "failed" });
                measured.map_err(|error| format!("{error:#}"))
            }
        };
        Played { turns, memory }
    }

    /// Dropping what it runs stops the processes of it.
    async fn unless_interrupted<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut interrupted = self.interrupted.clone();
        tokio::select! {
            done = work => done,
            _ = interrupted.wait_for(|stop| *stop) => Err(anyhow!("interrupted")),
        }
    }
}

fn told(outcome: &Result<Measured>) -> String {
    match outcome {
        Ok(it) => format!(
            "{:.0} rps, {:.0} us of Envoy, p99 {:.2} ms",
            it.rps, it.envoy_us, it.p99_ms
        ),
        Err(error) => format!("void: {error:#}"),
    }
}
