//! What one call to Redis proved about Redis.

use std::fmt;

use super::Settings;
use super::window::Mark;
use crate::units::Micros;

/// The end of one call or probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What came of it.
    pub outcome: Outcome,
    /// From sending it to its end.
    pub elapsed: Micros,
}

/// What came of a call, as far as the health of the whole store goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Redis did its work, or one of its shards did. A call that met nothing but an error of a single
    /// key (WRONGTYPE, a corrupt value) belongs here: Redis is well, and one poisoned key must never
    /// open the breaker.
    Success,
    /// None of the store did its work.
    Failure(Cause),
    /// Nothing was learned, neither from the answer nor from its time: a call cancelled by its
    /// client, or NOSCRIPT, which is answered by a second call.
    Excluded,
}

/// The ways a whole store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No answer in time.
    Timeout,
    /// No connection, or a broken one.
    Unreachable,
    /// An empty or unreadable answer, or one that does not fit its request.
    Malformed,
    /// OOM: `maxmemory` reached.
    Oom,
    /// READONLY: a replica.
    Readonly,
    /// LOADING: reading its data set after a start.
    Loading,
    /// BUSY: a script blocks it.
    Busy,
    /// NOAUTH, WRONGPASS or NOPERM.
    Auth,
    /// CLUSTERDOWN or TRYAGAIN.
    Cluster,
    /// MISCONF: it cannot persist and refuses writes.
    Misconf,
    /// Any other error of the whole store, such as too many clients.
    Other,
}

impl Cause {
    /// Every cause, in the order of their codes in the record. Append only: a code that changed
    /// its meaning would need a new version of the record.
    pub const ALL: [Self; 11] = [
        Self::Timeout,
        Self::Unreachable,
        Self::Malformed,
        Self::Oom,
        Self::Readonly,
        Self::Loading,
        Self::Busy,
        Self::Auth,
        Self::Cluster,
        Self::Misconf,
        Self::Other,
    ];

    /// The word for it in logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Malformed => "malformed",
            Self::Oom => "oom",
            Self::Readonly => "readonly",
            Self::Loading => "loading",
            Self::Busy => "busy",
            Self::Auth => "auth",
            Self::Cluster => "cluster",
            Self::Misconf => "misconf",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Call {
    /// What the window remembers of this call; `None` when it proved nothing. A failed call may be
    /// slow as well (a timeout is), and then counts in both rates.
    pub(super) fn mark(self, settings: &Settings) -> Option<Mark> {
        let failed = match self.outcome {
            Outcome::Success => false,
            Outcome::Failure(_) => true,
            Outcome::Excluded => return None,
        };
        Some(Mark {
            failed,
            slow: self.is_slow(settings),
        })
    }

    /// Whether it took at least `slow_call`.
    pub(super) fn is_slow(self, settings: &Settings) -> bool {
        self.elapsed >= settings.breaker.slow_call
    }
}
