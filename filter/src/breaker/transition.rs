//! A change of state and its reason: what is logged once, and counted.

use std::fmt;

use super::Cause;
use crate::units::Micros;

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Calls pass.
    Closed,
    /// Calls are refused.
    Open,
    /// Calls are refused, and a probe finds out whether they may pass again.
    HalfOpen,
}

impl State {
    /// The state as a metric label. The log says `half-open`, as people do.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        })
    }
}

/// One change of state. Its Display is the log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The state it left.
    pub from: State,
    /// The state it entered.
    pub to: State,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "breaker {} -> {}: {}", self.from, self.to, self.reason)
    }
}

/// Why a breaker changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `failed` of the last `calls` calls failed.
    Failing {
        /// Failed calls in the window.
        failed: u16,
        /// Calls in the window.
        calls: u16,
        /// Why the newest of them failed.
        last: Cause,
    },
    /// `slow` of the last `calls` calls were slow, and not too many of them failed.
    Slow {
        /// Slow calls in the window.
        slow: u16,
        /// Calls in the window.
        calls: u16,
    },
    /// An open breaker has waited long enough.
    WaitOver,
    /// As many probes in a row as the settings ask for succeeded.
    ProbesSucceeded(u16),
    /// A probe failed.
    ProbeFailed(Cause),
    /// A probe was answered, but only after this time.
    ProbeSlow(Micros),
    /// A probe's deadline passed without a word from the worker that sent it.
    ProbeLost,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failing {
                failed,
                calls,
                last,
            } => {
                write!(f, "{failed} of {calls} calls failed (last: {last})")
            }
            Self::Slow { slow, calls } => write!(f, "{slow} of {calls} calls were slow"),
            Self::WaitOver => f.write_str("the wait is over"),
            Self::ProbesSucceeded(1) => f.write_str("1 probe succeeded"),
            Self::ProbesSucceeded(probes) => write!(f, "{probes} probes succeeded"),
            Self::ProbeFailed(cause) => write!(f, "probe failed ({cause})"),
            Self::ProbeSlow(elapsed) => write!(f, "probe was slow ({elapsed})"),
            Self::ProbeLost => f.write_str("probe was lost"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(from: State, to: State, reason: Reason) -> String {
        Transition { from, to, reason }.to_string()
    }

    #[test]
    fn the_log_line_says_old_state_new_state_and_reason() {
        use State::{Closed, HalfOpen, Open};
        let failing = Reason::Failing {
            failed: 10,
            calls: 10,
            last: Cause::Timeout,
        };
        let slow = Reason::Slow { slow: 8, calls: 10 };
        let late = Reason::ProbeSlow(Micros::from_millis(62));
        let lines = [
            line(Closed, Open, failing),
            line(Closed, Open, slow),
            line(Open, HalfOpen, Reason::WaitOver),
            line(HalfOpen, Closed, Reason::ProbesSucceeded(3)),
            line(HalfOpen, Closed, Reason::ProbesSucceeded(1)),
            line(HalfOpen, Open, Reason::ProbeFailed(Cause::Oom)),
            line(HalfOpen, Open, late),
            line(HalfOpen, Open, Reason::ProbeLost),
        ];
        let expected = [
            "breaker closed -> open: 10 of 10 calls failed (last: timeout)",
            "breaker closed -> open: 8 of 10 calls were slow",
            "breaker open -> half-open: the wait is over",
            "breaker half-open -> closed: 3 probes succeeded",
            "breaker half-open -> closed: 1 probe succeeded",
            "breaker half-open -> open: probe failed (oom)",
            "breaker half-open -> open: probe was slow (62ms)",
            "breaker half-open -> open: probe was lost",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn the_label_of_half_open_has_an_underscore() {
        assert_eq!(State::HalfOpen.label(), "half_open");
    }
}
