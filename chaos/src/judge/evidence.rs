//! A trial seen through windows: the requests and readings that a measure may look at.

use crate::record::{Action, BreakerState, Environment, Phase, Request, Sample, Source, Trial};
use crate::scenario::Window;

/// Why a number could not be had, as it follows "not measured, ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmeasured {
    /// The record has no such phase.
    #[error("the record has no {0:?} phase")]
    NoPhase(Phase),
    /// The breaker never opened, so there is no time after it.
    #[error("the breaker never opened")]
    NeverOpened,
    /// No request was due in the window.
    #[error("no request was due")]
    NoRequests,
    /// The observer gave too few numbers.
    #[error("{0:?} gave too few readings of {1}")]
    TooFewReadings(Source, &'static str),
    /// The load has no hot key.
    #[error("the load has no hot key")]
    NoHotKey,
    /// No request of the hot key was refused in a phase, so its limit was not put to the test.
    #[error("the hot key met no limit in the {0:?} phase")]
    LimitNotMet(Phase),
    /// No fault is on the record.
    #[error("no fault was recorded")]
    NoFault,
}

/// A trial and what it ran on.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'t> {
    trial: &'t Trial,
    environment: &'t Environment,
}

impl<'t> Evidence<'t> {
    /// Looks at a trial.
    #[must_use]
    pub fn new(trial: &'t Trial, environment: &'t Environment) -> Self {
        Self { trial, environment }
    }

    /// The trial itself.
    #[must_use]
    pub fn trial(&self) -> &'t Trial {
        self.trial
    }

    /// Processors of the machine.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "no machine has 2^53 processors")]
    pub fn cores(&self) -> f64 {
        self.environment.cores as f64
    }

    /// When a phase began and ended, seconds.
    ///
    /// # Errors
    /// [`Unmeasured::NoPhase`] when the record does not reach it.
    pub fn phase(&self, phase: Phase) -> Result<(f64, f64), Unmeasured> {
        let mut rest = self.trial.phases.iter().skip_while(|(_, it)| *it != phase);
        let (from_s, _) = rest.next().ok_or(Unmeasured::NoPhase(phase))?;
        let end_s = self
            .trial
            .end
            .as_ref()
            .map_or(f64::INFINITY, |(at_s, _)| *at_s);
        Ok((*from_s, rest.next().map_or(end_s, |(at_s, _)| *at_s)))
    }

    /// When a window begins and ends, seconds.
    ///
    /// # Errors
    /// When the record has no such window.
    pub fn span(&self, window: Window) -> Result<(f64, f64), Unmeasured> {
        match window {
            Window::Baseline => self.phase(Phase::Baseline),
            Window::Fault => self.phase(Phase::Fault),
            Window::Recovery => self.phase(Phase::Recovery),
            Window::Whole => Ok((
                self.phase(Phase::Baseline)?.0,
                self.phase(Phase::Recovery)?.1,
            )),
            Window::AfterOpen => {
                let (from_s, to_s) = self.phase(Phase::Fault)?;
                let opened_s = self.opened_after(from_s).filter(|at_s| *at_s < to_s);
                Ok((opened_s.ok_or(Unmeasured::NeverOpened)?, to_s))
            }
        }
    }

    /// Requests that were due in a window; at least one.
    ///
    /// # Errors
    /// When the window does not exist or is empty.
    pub fn requests(&self, window: Window) -> Result<Vec<&'t Request>, Unmeasured> {
        let (from_s, to_s) = self.span(window)?;
        let due = self
            .trial
            .requests
            .iter()
            .filter(|it| it.due_s >= from_s && it.due_s < to_s);
        let due: Vec<&Request> = due.collect();
        if due.is_empty() {
            Err(Unmeasured::NoRequests)
        } else {
            Ok(due)
        }
    }

    /// The breaker's first opening at or after a time.
    #[must_use]
    pub fn opened_after(&self, at_s: f64) -> Option<f64> {
        let mut opened = self
            .trial
            .moves
            .iter()
            .filter(|it| it.to == BreakerState::Open);
        opened.find(|it| it.at_s >= at_s).map(|it| it.at_s)
    }

    /// The first injection and the last healing, seconds.
    ///
    /// # Errors
    /// [`Unmeasured::NoFault`] when one of them is missing.
    pub fn fault_span(&self) -> Result<(f64, f64), Unmeasured> {
        let times = |action| {
            self.trial
                .faults
                .iter()
                .filter(move |it| it.action == action)
                .map(|it| it.at_s)
        };
        let first = times(Action::Inject).reduce(f64::min);
        let last = times(Action::Heal).reduce(f64::max);
        first.zip(last).ok_or(Unmeasured::NoFault)
    }

    /// An observer's samples in a window, the last one before it first.
    ///
    /// # Errors
    /// When the window does not exist.
    pub fn samples(&self, source: Source, window: Window) -> Result<Vec<&'t Sample>, Unmeasured> {
        let (from_s, to_s) = self.span(window)?;
        let until = self
            .trial
            .samples
            .iter()
            .filter(|it| it.source == source && it.at_s <= to_s);
        let until: Vec<&Sample> = until.collect();
        let first = until
            .partition_point(|it| it.at_s < from_s)
            .saturating_sub(1);
        Ok(until.get(first..).unwrap_or_default().to_vec())
    }

    /// Readings of one number in a window, with their times; at least one.
    ///
    /// # Errors
    /// When there is none.
    pub fn readings(
        &self,
        source: Source,
        name: &'static str,
        window: Window,
    ) -> Result<Vec<(f64, f64)>, Unmeasured> {
        let samples = self.samples(source, window)?;
        let readings = samples
            .iter()
            .filter_map(|it| Some((it.at_s, *it.values.get(name)?)));
        let readings: Vec<(f64, f64)> = readings.collect();
        if readings.is_empty() {
            return Err(Unmeasured::TooFewReadings(source, name));
        }
        Ok(readings)
    }
}
