//! Conducts a scenario: phases begin and faults come and go when the plan says so.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use super::progress::Progress;
use crate::fault::{Applied, Fault};
use crate::record::{Action, Event, FaultAction, Phase};
use crate::scenario::{Injection, Scenario};
use crate::stack::{REDIS_PROXY, Stack};

/// How often the progress moves.
const BEAT: Duration = Duration::from_millis(250);

/// What is to be done at one time. The order of the variants is the order at equal times.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Cue<'s> {
    Heal(&'s Injection),
    Begin(Phase),
    Inject(&'s Injection),
    End,
}

/// Everything a scenario does, by time.
fn cues(scenario: &Scenario) -> Vec<(f64, Cue<'_>)> {
    let phases = &scenario.phases;
    let heals = scenario
        .timeline
        .iter()
        .map(|it| (it.heal_at_s, Cue::Heal(it)));
    let begins = [
        (0.0, Cue::Begin(Phase::Warmup)),
        (phases.baseline_at_s(), Cue::Begin(Phase::Baseline)),
        (phases.fault_at_s(), Cue::Begin(Phase::Fault)),
        (phases.recovery_at_s(), Cue::Begin(Phase::Recovery)),
    ];
    let injects = scenario
        .timeline
        .iter()
        .map(|it| (it.at_s, Cue::Inject(it)));
    let mut cues: Vec<_> = heals
        .chain(begins)
        .chain(injects)
        .chain([(phases.end_at_s(), Cue::End)])
        .collect();
    // Stable: at equal times the order above holds.
    cues.sort_by(|a, b| a.0.total_cmp(&b.0));
    cues
}

/// Where a conductor works.
#[derive(Debug)]
pub(super) struct Stage<'s> {
    pub(super) stack: &'s Stack,
    pub(super) start: Instant,
    pub(super) events: &'s UnboundedSender<Event>,
    pub(super) progress: &'s Progress,
}

impl Stage<'_> {
    /// Plays a scenario to its end. One fault at a time: the parser saw to it.
    pub(super) async fn play(&self, scenario: &Scenario) -> Result<()> {
        let mut applied: Option<Applied> = None;
        for (at_s, cue) in cues(scenario) {
            self.wait_until(at_s).await;
            match cue {
                Cue::Begin(phase) => {
                    self.progress
                        .step(at_s, &format!("{phase:?}").to_lowercase());
                    self.send(Event::Phase {
                        at_s: self.now_s(),
                        phase,
                    });
                }
                Cue::Inject(injection) => applied = Some(self.inject(&injection.fault).await?),
                Cue::Heal(injection) => {
                    if let Some(applied) = applied.take() {
                        self.heal(&injection.fault, applied).await?;
                    }
                }
                Cue::End => {}
            }
        }
        Ok(())
    }

    async fn inject(&self, fault: &Fault) -> Result<Applied> {
        let at_s = self.now_s();
        let name = name_of(fault)?;
        self.progress.step(at_s, &format!("inject {name}"));
        let applied = fault
            .apply(self.stack)
            .await
            .with_context(|| format!("inject {name}"))?;
        let read_back = json!({ "in_force_s": self.now_s(), "toxics": applied.toxics });
        self.send(Event::Fault(FaultAction {
            at_s,
            action: Action::Inject,
            fault: name,
            read_back,
        }));
        Ok(applied)
    }

    async fn heal(&self, fault: &Fault, applied: Applied) -> Result<()> {
        let name = name_of(fault)?;
        // Before the call: the way may be whole long before the last of it has answered.
        let at_s = self.now_s();
        let healed = applied.heal(self.stack).await;
        let took_s = self.now_s() - at_s;
        let healed = healed.with_context(|| format!("heal {name}"))?;
        self.progress.step(at_s, &format!("healed {name}"));
        if healed.toxiproxy_restarted {
            self.progress.step(at_s, "toxiproxy restarted");
        }
        let toggles: Vec<_> = healed
            .toggles
            .iter()
            .map(|it| {
                json!([
                    it.at.saturating_duration_since(self.start).as_secs_f64(),
                    it.up
                ])
            })
            .collect();
        let toxics = self.stack.toxiproxy().toxics(REDIS_PROXY).await?;
        let read_back = json!({
            "took_s": took_s,
            "toxics": toxics,
            "toggles": toggles,
            "toxiproxy_restarted": healed.toxiproxy_restarted,
        });
        self.send(Event::Fault(FaultAction {
            at_s,
            action: Action::Heal,
            fault: name,
            read_back,
        }));
        Ok(())
    }

    async fn wait_until(&self, at_s: f64) {
        let due = self.start + Duration::from_secs_f64(at_s);
        loop {
            let wait = due.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait.min(BEAT)).await;
            self.progress.at(self.now_s());
        }
    }

    fn now_s(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn send(&self, event: Event) {
        // The receiver outlives the conductor; were it gone, the record would lack its end.
        let _ = self.events.send(event);
    }
}

/// A fault as scenario files write it, in JSON.
fn name_of(fault: &Fault) -> Result<String> {
    Ok(serde_json::to_string(fault)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_equal_times_a_fault_heals_before_the_phase_that_ends_it_and_begins_within_its_own() {
        let text = include_str!("../../scenarios/c-01-redis-unavailable.toml");
        let scenario = Scenario::parse(text).unwrap();
        let fault = &scenario.timeline[0];
        let expected = [
            (0.0, Cue::Begin(Phase::Warmup)),
            (2.0, Cue::Begin(Phase::Baseline)),
            (7.0, Cue::Begin(Phase::Fault)),
            (7.0, Cue::Inject(fault)),
            (15.0, Cue::Heal(fault)),
            (15.0, Cue::Begin(Phase::Recovery)),
            (20.0, Cue::End),
        ];
        assert_eq!(cues(&scenario), expected);
    }
}
