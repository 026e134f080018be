//! A target, and whether what was measured holds it. Pure.

use serde::Serialize;

use super::peer::Peer;
use super::stats::Spread;
use super::targets::Sheet;

/// What bounds a measured value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    /// It may be this at most.
    AtMost(f64),
    /// It must be this at least.
    AtLeast(f64),
}

/// Whether a target is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// It is.
    Held,
    /// It is not.
    Missed,
    /// There is no telling.
    NotMeasured,
}

/// One target.
pub(super) struct Target {
    pub(super) name: &'static str,
    /// What stands behind its numbers.
    pub(super) unit: &'static str,
    pub(super) bound: Bound,
    /// The peers whose turns it needs.
    pub(super) peers: &'static [Peer],
    /// Whether it needs the memory to be measured.
    pub(super) memory: bool,
    /// What is judged; `None` where the sheet lacks a number.
    pub(super) value: fn(&Sheet) -> Option<f64>,
}

/// A target and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Judged {
    /// What is judged.
    pub(super) name: &'static str,
    /// What stands behind the numbers.
    pub(super) unit: &'static str,
    /// What the value must be.
    pub(super) bound: Bound,
    /// The value of the medians; `None` where it was not measured.
    pub(super) value: Option<f64>,
    /// The same function of each round by itself, where it is one of rounds.
    pub(super) rounds: Option<Spread>,
    /// Held or missed.
    pub(super) verdict: Verdict,
    /// Why it was not measured.
    pub(super) reason: Option<String>,
}

impl Verdict {
    /// As people read it.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Missed => "missed",
            Self::NotMeasured => "not measured",
        }
    }

    /// Of all targets together: a missed one counts more than one that was not measured.
    #[must_use]
    pub(super) fn of_all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        verdicts
            .into_iter()
            .fold(Self::Held, |all, one| match (all, one) {
                (Self::Missed, _) | (_, Self::Missed) => Self::Missed,
                (Self::NotMeasured, _) | (_, Self::NotMeasured) => Self::NotMeasured,
                (Self::Held, Self::Held) => Self::Held,
            })
    }
}

impl Judged {
    /// The verdict as people read it, with a doubt where single rounds would have another.
    pub(super) fn verdict_text(&self) -> String {
        let holds = |value| self.bound.holds(value);
        let differs = |it: Spread| holds(it.least) != holds(it.greatest);
        let is_doubtful = self.value.is_some() && self.rounds.is_some_and(differs);
        let doubt = if is_doubtful { ", rounds differ" } else { "" };
        format!("{}{doubt}", self.verdict.name())
    }
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl Target {
    /// Judges it by the medians; `why` tells the reason where they lack something.
    pub(super) fn judge(
        &self,
        medians: &Sheet,
        rounds: &[Sheet],
        why: impl FnOnce(&Self) -> String,
    ) -> Judged {
        let value = (self.value)(medians).filter(|it| it.is_finite());
        Judged {
            name: self.name,
            unit: self.unit,
            bound: self.bound,
            value,
            // What no peer's turn goes into is the same in each round.
            rounds: match self.peers {
                [] => None,
                _ => Spread::of(rounds.iter().filter_map(self.value)),
            },
            verdict: match value {
                None => Verdict::NotMeasured,
                Some(value) if self.bound.holds(value) => Verdict::Held,
                Some(_) => Verdict::Missed,
            },
            reason: value.is_none().then(|| why(self)),
        }
    }
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
