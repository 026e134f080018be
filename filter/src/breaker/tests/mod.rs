//! Settings and moments that the breaker's tests share.

mod i7;
mod sharing;
mod transitions;

use super::{Call, Cause, Moment, Outcome, Settings};
use crate::config::{self, Ratio};
use crate::units::{Instant, Micros};

/// Ten calls, opening at half failed or 80 % slow; 250 ms doubling to 1 s; three probes.
pub(super) fn settings() -> Settings {
    let breaker = config::Breaker {
        window: 10,
        minimum_calls: 4,
        failure_rate: Ratio(500_000),
        slow_call: Micros::from_millis(40),
        slow_call_rate: Ratio(800_000),
        open: Micros::from_millis(250),
        max_open: Micros::from_secs(1),
        probes: 3,
    };
    Settings {
        breaker,
        probe_timeout: Micros::from_millis(60),
    }
}

/// Far enough from zero that a clock can step back.
pub(super) const START: Instant = Instant(1_000_000_000_000);

/// `millis` after [`START`], with the random number that draws the longest wait.
fn at(millis: u64) -> Moment {
    Moment {
        now: START + Micros::from_millis(millis),
        random: 0,
    }
}

fn call(outcome: Outcome) -> Call {
    Call {
        outcome,
        elapsed: Micros::from_millis(1),
    }
}

const GOOD: Outcome = Outcome::Success;
const BAD: Outcome = Outcome::Failure(Cause::Timeout);

fn slow() -> Call {
    Call {
        outcome: Outcome::Success,
        elapsed: settings().breaker.slow_call,
    }
}
