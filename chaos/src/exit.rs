//! Every way for the command to end, with its number: a public contract.

use std::process::{ExitCode, Termination};

use crate::judge::Verdict;

/// How the command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All hypotheses were upheld, all targets held, or there was nothing to judge.
    Success = 0,
    /// At least one hypothesis was refuted, or one target missed.
    Refuted = 1,
    /// The command line, a scenario or the machine's set-up is wrong.
    Usage = 2,
    /// Nothing was refuted or missed, but at least one run proves nothing, or one target was not
    /// measured.
    Inconclusive = 3,
}

impl Exit {
    /// How a run ends: one that somebody cut short never counts as a success, even when the
    /// signal came only while it was judged.
    #[must_use]
    pub fn after(verdict: Verdict, interrupted: bool) -> Self {
        match verdict {
            Verdict::Upheld if interrupted => Self::Inconclusive,
            verdict => verdict.into(),
        }
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Upheld => Self::Success,
            Verdict::Refuted => Self::Refuted,
            Verdict::Inconclusive => Self::Inconclusive,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_has_the_number_of_the_contract() {
        let number = |verdict| Exit::from(verdict) as u8;
        assert_eq!(number(Verdict::Upheld), 0);
        assert_eq!(number(Verdict::Refuted), 1);
        assert_eq!(Exit::Usage as u8, 2);
        assert_eq!(number(Verdict::Inconclusive), 3);
    }

    #[test]
    fn an_interrupted_run_is_no_success_and_what_it_refuted_stays_refuted() {
        assert_eq!(Exit::after(Verdict::Upheld, false), Exit::Success);
        assert_eq!(Exit::after(Verdict::Upheld, true), Exit::Inconclusive);
        assert_eq!(Exit::after(Verdict::Refuted, true), Exit::Refuted);
    }
}
