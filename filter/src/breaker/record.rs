//! The breaker of one process as a value, and its transitions as pure functions.

use super::backoff;
use super::window::Window;
use super::{Call, Cause, Outcome, Reason, State, Transition};
use crate::config;
use crate::units::{Instant, Micros};

/// What a breaker is told when it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The breaker's section of the configuration.
    pub breaker: config::Breaker,
    /// How long a probe may stay unsettled before it counts as lost. Longer than the timeout of
    /// the call that carries the probe, or slow answers count as lost ones.
    pub probe_timeout: Micros,
}

/// The time, and a random number to go with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time. It may step either way; workers must not stay apart from each other.
    pub now: Instant,
    /// Uniform over all of `u64`.
    pub random: u64,
}

/// Leave to make one call. Reserves nothing: one that is never settled costs nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    pub(super) generation: u64,
}

/// Leave to send one probe, until its deadline in the record. There is at most one at a time.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a probe that is not sent is lost, and opens the breaker again"]
pub struct ProbePermit {
    pub(super) generation: u64,
    pub(super) number: u64,
}

impl ProbePermit {
    /// The same for all probes of one half-open breaker, and one more for those that follow a failed
    /// one: the breaker has opened and become half-open in between.
    pub const fn round(&self) -> u64 {
        self.generation / 2
    }
}

/// What came of a worker's turn at probing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The change of state it made.
    pub transition: Option<Transition>,
    /// The probe that this worker must send now.
    pub probe: Option<ProbePermit>,
}

/// The whole breaker. Where it stands decides what else it knows, so nothing contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Changes of state so far.
    pub(super) generation: u64,
    pub(super) phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Closed {
        window: Window,
        last_failure: Option<Cause>,
    },
    Open {
        until: Instant,
        /// Probes in a row that failed since it was last closed.
        failed_probes: u32,
    },
    HalfOpen {
        failed_probes: u32,
        /// Probes in a row that succeeded.
        successes: u16,
        /// Probes issued; the number of the newest.
        issued: u64,
        /// When the newest probe counts as lost; `None` when it is settled.
        deadline: Option<Instant>,
    },
}

impl Record {
    /// A closed breaker that has seen no call.
    pub fn new(settings: &Settings) -> Self {
        Self {
            generation: 0,
            phase: closed(settings),
        }
    }

    /// Where it stands.
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// Leave to make a call; `None` unless closed.
    pub fn permit(&self) -> Option<Permit> {
        (self.state() == State::Closed).then_some(Permit {
            generation: self.generation,
        })
    }

    /// Counts the end of a call that `permit` allowed, and opens when a rate is reached. The end
    /// of a call that was permitted before the last change of state changes nothing.
    pub fn settle(
        &mut self,
        settings: &Settings,
        permit: &Permit,
        call: Call,
        moment: Moment,
    ) -> Option<Transition> {
        if permit.generation != self.generation {
            return None;
        }
        let Phase::Closed {
            window,
            last_failure,
        } = &mut self.phase
        else {
            return None;
        };
        window.push(call.mark(settings)?);
        if let Outcome::Failure(cause) = call.outcome {
            *last_failure = Some(cause);
        }
        let reason = tripped(settings, window, last_failure.unwrap_or(Cause::Other))?;
        Some(self.open(settings, 0, moment, reason))
    }

    /// A worker's tick. An open breaker whose wait is over becomes half-open; a half-open one
    /// without a probe under way gives this worker the next; one whose probe is overdue opens again.
    ///
    /// Waits and deadlines that lie further ahead than the settings can have put them (the clock
    /// stepped back, or the settings changed) are cut to the longest they can be.
    pub fn tick(&mut self, settings: &Settings, moment: Moment) -> Turn {
        match &mut self.phase {
            Phase::Closed { .. } => Turn::default(),
            Phase::Open {
                until,
                failed_probes,
            } => {
                *until = (*until).min(moment.now + settings.breaker.max_open);
                if moment.now < *until {
                    return Turn::default();
                }
                let phase = Phase::HalfOpen {
                    failed_probes: *failed_probes,
                    successes: 0,
                    issued: 0,
                    deadline: None,
                };
                let transition = Some(self.change(phase, Reason::WaitOver));
                Turn {
                    transition,
                    probe: self.next_probe(settings, moment.now),
                }
            }
            Phase::HalfOpen { deadline: None, .. } => Turn {
                transition: None,
                probe: self.next_probe(settings, moment.now),
            },
            Phase::HalfOpen {
                deadline: Some(deadline),
                failed_probes,
                ..
            } => {
                *deadline = (*deadline).min(moment.now + settings.probe_timeout);
                if moment.now < *deadline {
                    return Turn::default();
                }
                let failed_probes = failed_probes.saturating_add(1);
                let lost = self.open(settings, failed_probes, moment, Reason::ProbeLost);
                Turn {
                    transition: Some(lost),
                    probe: None,
                }
            }
        }
    }

    /// Counts the end of a probe. A success closes the breaker or gives this worker the next probe;
    /// a failure, or an answer that took `slow_call` or longer, opens it for longer than before; an
    /// excluded one leaves the next to whichever worker ticks first. Only the probe under way
    /// counts: a late or doubled end of any other changes nothing.
    pub fn settle_probe(
        &mut self,
        settings: &Settings,
        permit: &ProbePermit,
        call: Call,
        moment: Moment,
    ) -> Turn {
        let Phase::HalfOpen {
            failed_probes,
            successes,
            issued,
            deadline,
        } = &mut self.phase
        else {
            return Turn::default();
        };
        let current = permit.generation == self.generation && permit.number == *issued;
        if !current || deadline.take().is_none() {
            return Turn::default();
        }
        let failed = match call.outcome {
            Outcome::Excluded => return Turn::default(),
            Outcome::Failure(cause) => Some(Reason::ProbeFailed(cause)),
            Outcome::Success if call.is_slow(settings) => Some(Reason::ProbeSlow(call.elapsed)),
            Outcome::Success => None,
        };
        if let Some(reason) = failed {
            let failed_probes = failed_probes.saturating_add(1);
            let opened = self.open(settings, failed_probes, moment, reason);
            return Turn {
                transition: Some(opened),
                probe: None,
            };
        }
        *successes = successes.saturating_add(1);
        let successes = *successes;
        if successes < settings.breaker.probes {
            return Turn {
                transition: None,
                probe: self.next_probe(settings, moment.now),
            };
        }
        let closed = self.change(closed(settings), Reason::ProbesSucceeded(successes));
        Turn {
            transition: Some(closed),
            probe: None,
        }
    }

    fn next_probe(&mut self, settings: &Settings, now: Instant) -> Option<ProbePermit> {
        let Phase::HalfOpen {
            issued, deadline, ..
        } = &mut self.phase
        else {
            return None;
        };
        *issued = issued.saturating_add(1);
        *deadline = Some(now + settings.probe_timeout);
        Some(ProbePermit {
            generation: self.generation,
            number: *issued,
        })
    }

    fn open(
        &mut self,
        settings: &Settings,
        failed_probes: u32,
        moment: Moment,
        reason: Reason,
    ) -> Transition {
        let wait = backoff::wait(&settings.breaker, failed_probes, moment.random);
        self.change(
            Phase::Open {
                until: moment.now + wait,
                failed_probes,
            },
            reason,
        )
    }

    fn change(&mut self, phase: Phase, reason: Reason) -> Transition {
        let from = self.state();
        self.phase = phase;
        self.generation = self.generation.saturating_add(1);
        Transition {
            from,
            to: self.state(),
            reason,
        }
    }
}

fn closed(settings: &Settings) -> Phase {
    Phase::Closed {
        window: Window::new(settings.breaker.window),
        last_failure: None,
    }
}

/// Why these calls open the breaker, if they do. Failures are named before slowness: calls that
/// time out are both, and failing says more.
fn tripped(settings: &Settings, window: &Window, last: Cause) -> Option<Reason> {
    let calls = window.calls();
    if calls < settings.breaker.minimum_calls {
        return None;
    }
    let (failed, slow) = (window.failed(), window.slow());
    if reaches(failed, calls, settings.breaker.failure_rate) {
        return Some(Reason::Failing {
            failed,
            calls,
            last,
        });
    }
    reaches(slow, calls, settings.breaker.slow_call_rate).then_some(Reason::Slow { slow, calls })
}

/// Whether `part` of `whole` is at least `rate`, exactly.
fn reaches(part: u16, whole: u16, rate: config::Ratio) -> bool {
    let millionths = u64::from(part).saturating_mul(1_000_000);
    millionths >= u64::from(whole).saturating_mul(u64::from(rate.0))
}
