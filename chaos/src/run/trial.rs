//! One scenario from a fresh stack to a stopped one. Healing and stopping always happen.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::sync::watch;

use super::access_log;
use super::conduct::Stage;
use super::observers::Observers;
use super::progress::Progress;
use crate::fault::heal_all;
use crate::load::{Client, Pacer};
use crate::record::{Event, Recorder, parse_breaker_line};
use crate::scenario::Scenario;
use crate::stack::{Spec, Stack};
use crate::tools::repository;

/// The scenario's clock starts this much ahead, so that the first reading of all observers is
/// done before the first request is due.
const LEAD: Duration = Duration::from_millis(500);

/// The scenario's start, on both clocks.
#[derive(Debug, Clone, Copy)]
struct Start {
    at: Instant,
    utc: Timestamp,
}

impl Start {
    fn soon() -> Result<Self> {
        Ok(Self {
            at: Instant::now() + LEAD,
            utc: Timestamp::now().checked_add(LEAD)?,
        })
    }

    /// Seconds since then; 0 before.
    fn now_s(self) -> f64 {
        Instant::now()
            .saturating_duration_since(self.at)
            .as_secs_f64()
    }
}

/// Runs one scenario into the record, with the processes' logs in `folder`.
///
/// # Errors
/// Only when the record cannot be written; all else is written to it.
pub(super) async fn run(
    scenario: &Scenario,
    folder: &Path,
    recorder: &mut Recorder,
    progress: &Progress,
    interrupted: watch::Receiver<bool>,
) -> Result<()> {
    let stack = start_stack(scenario, folder, interrupted.clone()).await;
    let start = Start::soon()?;
    recorder.write(&Event::Scenario {
        text: scenario.text.clone(),
        started: start.utc.to_string(),
        config_hash: config_hash(scenario)?,
    })?;
    let (events, mut received) = mpsc::unbounded_channel();
    let asked_to_end = interrupted.clone();
    let work = async move {
        let player = Player {
            scenario,
            start,
            events,
            progress,
        };
        player.play(stack?, interrupted).await?;
        player.read_logs(folder)
    };
    let write = async {
        while let Some(event) = received.recv().await {
            recorder.write(&event)?;
        }
        Ok::<(), std::io::Error>(())
    };
    let (result, written) = tokio::join!(work, write);
    written?;
    // Also when it came during the healing, the stop or the reading of the logs.
    let interrupted = || asked_to_end.borrow().then(|| anyhow!("interrupted"));
    let failure = result.err().or_else(interrupted);
    let failure = failure.map(|error| format!("{error:#}"));
    recorder.write(&Event::End {
        at_s: start.now_s(),
        failure,
    })?;
    Ok(())
}

async fn start_stack(
    scenario: &Scenario,
    folder: &Path,
    mut interrupted: watch::Receiver<bool>,
) -> Result<Stack> {
    let spec = Spec {
        workers: usize::try_from(scenario.workers)?,
        plugin: scenario.filter.clone(),
        ..Spec::new(folder.to_owned())
    };
    tokio::select! {
        stack = Stack::start(spec) => stack.context("start the stack"),
        _ = interrupted.wait_for(|stop| *stop) => Err(anyhow!("interrupted")),
    }
}

/// Plays a scenario on a stack. Dropping it ends the stream of its events.
struct Player<'s> {
    scenario: &'s Scenario,
    start: Start,
    events: UnboundedSender<Event>,
    progress: &'s Progress,
}

impl Player<'_> {
    /// The scenario itself, then a last reading, healing, and the stack's end, in any case.
    async fn play(&self, stack: Stack, mut interrupted: watch::Receiver<bool>) -> Result<()> {
        let observers = Observers::new(&stack, &self.events)?;
        observers.read_all(0.0).await;
        let pacer = self.pace(&stack)?;
        let stage = Stage {
            stack: &stack,
            start: self.start.at,
            events: &self.events,
            progress: self.progress,
        };
        let played = tokio::select! {
            played = stage.play(self.scenario) => played,
            () = observers.watch(self.start.at) => Err(anyhow!("the observers ended")),
            _ = interrupted.wait_for(|stop| *stop) => Err(anyhow!("interrupted")),
        };
        pacer.finish().await;
        // Before the healing, which would start a Redis anew that had gone unplanned.
        observers.read_all(self.start.now_s()).await;
        let healed = heal_all(&stack).await.map(drop).context("heal");
        let stopped = stack.stop().await.context("stop the stack");
        played.and(healed).and(stopped)
    }

    fn pace(&self, stack: &Stack) -> Result<Pacer> {
        let envoy = stack.envoys().first().context("no Envoy")?;
        let client = Client::new(envoy.ports().front)?;
        let (load, end_s) = (self.scenario.load.clone(), self.scenario.phases.end_at_s());
        Ok(Pacer::start(
            load,
            end_s,
            self.start.at,
            self.events.clone(),
            move |key| {
                let client = client.clone();
                async move { client.send(key).await }
            },
        ))
    }

    /// What Envoy wrote, complete now that it has stopped.
    fn read_logs(&self, folder: &Path) -> Result<()> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        // Envoy logs in the system's time zone.
        let zone = TimeZone::system();
        for line in read("envoy-0.log")?.lines() {
            if let Some(moved) = parse_breaker_line(line, self.start.utc, &zone) {
                self.events.send(Event::Breaker(moved))?;
            }
        }
        let log = read("envoy-0.access.log")?;
        for sample in access_log::read(&log, self.start.utc, self.start.now_s())? {
            self.events.send(Event::Sample(sample))?;
        }
        Ok(())
    }
}

/// A hash of everything that configures the filter: the file and the scenario's changes to it.
fn config_hash(scenario: &Scenario) -> Result<String> {
    let path = repository().join("envoy/envoy.yaml");
    let mut bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    bytes.extend(scenario.filter.to_string().bytes());
    Ok(format!("{:016x}", fnv1a(&bytes)))
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo): tells configurations apart, and is the same everywhere.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
