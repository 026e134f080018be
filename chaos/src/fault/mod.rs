//! Faults: what is done to Redis and to the way there, and how each is undone.

mod flap;
mod toxiproxy;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::stack::{REDIS_PROXY, Stack};
use flap::Flapping;
pub use flap::Toggle;
pub use toxiproxy::{Stream, Toxic, Toxiproxy};

/// A fault, as a scenario file names it: `{ kind = "latency", latency_ms = 2000, … }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The way to Redis refuses connections and drops those it has.
    ProxyDown,
    /// Data on the way is late.
    Latency {
        /// Milliseconds.
        latency_ms: u64,
        /// Milliseconds more or less.
        jitter_ms: u64,
        /// Which way.
        direction: Direction,
    },
    /// Data on the way is slow.
    Bandwidth {
        /// Kilobytes of 1000 bytes per second and connection; 0 stalls.
        rate_kb: u64,
        /// Which way.
        direction: Direction,
    },
    /// The way goes down and up in turn, beginning with down.
    Flap {
        /// Milliseconds in each state; at least 1.
        every_ms: u64,
    },
    /// Data on the way vanishes; connections stay.
    BlackHole,
    /// Redis crashes. Healing starts an empty one.
    RedisKill,
    /// Redis crashes and an empty one is there at once.
    RedisRestart,
    /// Redis stops answering and keeps its connections (SIGSTOP).
    RedisFreeze,
    /// Redis forgets its scripts.
    ScriptFlush,
}

/// Which way data is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Commands and replies.
    Both,
    /// Commands only.
    Upstream,
    /// Replies only.
    Downstream,
}

impl Direction {
    fn streams(self) -> &'static [Stream] {
        match self {
            Self::Both => &[Stream::Upstream, Stream::Downstream],
            Self::Upstream => &[Stream::Upstream],
            Self::Downstream => &[Stream::Downstream],
        }
    }
}

/// A fault that is in force. Dropping it stops a flapping but heals nothing: call
/// [`Applied::heal`].
#[derive(Debug)]
#[must_use = "a fault lasts until it is healed"]
pub struct Applied {
    /// Every toxic as Toxiproxy reported it after making it.
    pub toxics: Vec<serde_json::Value>,
    flapping: Option<Flapping>,
}

impl Fault {
    /// Brings it about; it is in force when this returns. One fault at a time.
    ///
    /// # Errors
    /// When Toxiproxy or Redis does not do as told; then heal with [`heal_all`].
    pub async fn apply(&self, stack: &Stack) -> Result<Applied> {
        let (toxiproxy, redis) = (stack.toxiproxy(), stack.redis());
        let mut applied = Applied {
            toxics: Vec::new(),
            flapping: None,
        };
        match *self {
            Self::ProxyDown => toxiproxy.set_enabled(REDIS_PROXY, false).await?,
            Self::Latency {
                latency_ms,
                jitter_ms,
                direction,
            } => {
                let toxic = Toxic::Latency {
                    latency: latency_ms,
                    jitter: jitter_ms,
                };
                applied.toxics = poison(toxiproxy, toxic, direction).await?;
            }
            Self::Bandwidth { rate_kb, direction } => {
                let toxic = Toxic::Bandwidth { rate: rate_kb };
                applied.toxics = poison(toxiproxy, toxic, direction).await?;
            }
            Self::BlackHole => {
                let toxic = Toxic::Timeout { timeout: 0 };
                applied.toxics = poison(toxiproxy, toxic, Direction::Both).await?;
            }
            Self::Flap { every_ms } => {
                ensure!(every_ms > 0, "every_ms: expected at least 1");
                let every = Duration::from_millis(every_ms);
                applied.flapping = Some(Flapping::start(toxiproxy.clone(), every).await?);
            }
            Self::RedisKill => redis.kill().await?,
            Self::RedisRestart => redis.restart().await?,
            Self::RedisFreeze => redis.freeze().await?,
            Self::ScriptFlush => redis.script_flush().await?,
        }
        Ok(applied)
    }
}

/// How a fault was healed.
#[derive(Debug)]
pub struct Healed {
    /// Every toggle of a flapping, else none.
    pub toggles: Vec<Toggle>,
    /// Toxiproxy did not heal itself; see [`heal_all`].
    pub toxiproxy_restarted: bool,
}

impl Applied {
    /// Ends it and leaves the stack whole.
    ///
    /// # Errors
    /// When Toxiproxy cannot be restarted, Redis does not do as told, or a toggle had failed.
    pub async fn heal(self, stack: &Stack) -> Result<Healed> {
        let toggles = match self.flapping {
            Some(flapping) => flapping.end().await,
            None => Ok(Vec::new()),
        };
        let toxiproxy_restarted = heal_all(stack).await?;
        Ok(Healed {
            toggles: toggles?,
            toxiproxy_restarted,
        })
    }
}

/// Heals every fault there can be; doing it again changes nothing. Redis, where it is down, is
/// started again, empty. Gives whether Toxiproxy had to be restarted.
///
/// # Errors
/// When Toxiproxy cannot be restarted, or Redis does not do as told.
pub async fn heal_all(stack: &Stack) -> Result<bool> {
    // Toxiproxy 2.12.0 can hang while it takes a toxic from a connection that has much queued. It
    // never comes back from that, and only the connections that the fault ruined are lost.
    let hung = stack.toxiproxy().reset().await.is_err();
    if hung {
        stack
            .restart_toxiproxy()
            .await
            .context("restart Toxiproxy")?;
    }
    stack.redis().ensure_running().await?;
    stack.redis().thaw().await?;
    Ok(hung)
}

async fn poison(
    toxiproxy: &Toxiproxy,
    toxic: Toxic,
    direction: Direction,
) -> Result<Vec<serde_json::Value>> {
    let mut made = Vec::new();
    for stream in direction.streams() {
        made.push(toxiproxy.add(REDIS_PROXY, toxic, *stream).await?);
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_scenario_file_names_faults_in_kebab_case_and_nothing_unknown() {
        let latency =
            json!({ "kind": "latency", "latency_ms": 2000, "jitter_ms": 100, "direction": "both" });
        let fault: Fault = serde_json::from_value(latency).unwrap();
        let expected = Fault::Latency {
            latency_ms: 2000,
            jitter_ms: 100,
            direction: Direction::Both,
        };
        assert_eq!(fault, expected);
        assert!(serde_json::from_value::<Fault>(json!({ "kind": "proxy-down" })).is_ok());
        let typo = json!({ "kind": "flap", "every_ms": 100, "evry": 1 });
        assert!(serde_json::from_value::<Fault>(typo).is_err());
        let undirected = json!({ "kind": "bandwidth", "rate_kb": 1 });
        assert!(serde_json::from_value::<Fault>(undirected).is_err());
    }
}
