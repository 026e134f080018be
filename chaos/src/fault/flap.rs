//! Flapping: the way to Redis goes down and up on a fixed schedule until ended.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::Toxiproxy;
use crate::stack::REDIS_PROXY;

/// Toggles kept for the record; the flapping goes on beyond, unrecorded.
const MAX_TOGGLES: usize = 100_000;

/// One change of the way's state.
#[derive(Debug, Clone, Copy)]
pub struct Toggle {
    /// When Toxiproxy had confirmed it.
    pub at: std::time::Instant,
    /// Whether the way is up from here on.
    pub up: bool,
}

/// A running flapping. Dropping it stops it in whatever state it is.
#[derive(Debug)]
pub(super) struct Flapping {
    end: watch::Sender<bool>,
    task: Option<JoinHandle<Result<Vec<Toggle>>>>,
}

impl Flapping {
    /// Takes the way down, then toggles every `every`.
    pub(super) async fn start(toxiproxy: Toxiproxy, every: Duration) -> Result<Self> {
        toxiproxy.set_enabled(REDIS_PROXY, false).await?;
        let first = Toggle {
            at: std::time::Instant::now(),
            up: false,
        };
        let (end, ended) = watch::channel(false);
        let task = tokio::spawn(toggle(toxiproxy, every, first, ended));
        Ok(Self {
            end,
            task: Some(task),
        })
    }

    /// Ends it and gives its toggles, or the error that ended it before.
    pub(super) async fn end(mut self) -> Result<Vec<Toggle>> {
        // No receiver means that the task ended by itself, with an error.
        let _ = self.end.send(true);
        match self.task.take() {
            Some(task) => task.await?,
            None => Ok(Vec::new()),
        }
    }
}

impl Drop for Flapping {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn toggle(
    toxiproxy: Toxiproxy,
    every: Duration,
    first: Toggle,
    mut ended: watch::Receiver<bool>,
) -> Result<Vec<Toggle>> {
    let mut toggles = vec![first];
    let mut up = first.up;
    let mut ticks = interval_at(Instant::now() + every, every);
    // After a slow call the next toggle comes late, rather than several at once.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ended.wait_for(|end| *end) => return Ok(toggles),
            _ = ticks.tick() => {}
        }
        up = !up;
        toxiproxy.set_enabled(REDIS_PROXY, up).await?;
        if toggles.len() < MAX_TOGGLES {
            toggles.push(Toggle {
                at: std::time::Instant::now(),
                up,
            });
        }
    }
}
