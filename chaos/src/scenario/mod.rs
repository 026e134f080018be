//! A scenario: one experiment as data. Which load meets which faults, on which filter
//! configuration, and what must be measured for its hypothesis to be upheld.
//!
//! Everything here is pure. [`Scenario::parse`] refuses a file as a whole and lists every problem.

mod check;
mod fields;
mod files;
mod hot;
mod parse;

pub use check::{Check, Extent, Measure, Op, Source, Window};
pub use files::{ScenarioError, load_all, select};
pub use hot::{HOT_MAX, Hot, Limit};

use crate::fault::Fault;

/// Most arrivals a scenario may plan, over its whole length: bounds the record's size.
pub const ARRIVALS_MAX: u64 = 300_000;
/// Longest scenario, seconds, from the first arrival to the last.
pub const LENGTH_MAX_S: f64 = 90.0;

/// One experiment, proven to be consistent.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// The file's text, for the record.
    pub text: String,
    /// Short identifier, for example `C-01`.
    pub id: String,
    /// Name for the command line, for example `redis-unavailable`.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// What is believed to be true, and is put to the test.
    pub hypothesis: String,
    /// Runs when no scenario is named.
    pub default: bool,
    /// Envoy's worker threads.
    pub workers: u64,
    /// Changes to the filter's configuration in `envoy/envoy.yaml`, as a JSON merge patch; the
    /// filter itself checks the result.
    pub filter: serde_json::Value,
    /// Requests over time.
    pub load: Load,
    /// Lengths of the phases.
    pub phases: Phases,
    /// Faults, ordered as in the file.
    pub timeline: Vec<Injection>,
    /// What the baseline must show, or the run is void.
    pub steady: Vec<Check>,
    /// What must hold for the hypothesis.
    pub checks: Vec<Check>,
}

/// Open-loop load: a rate that changes by steps, and a plan for the keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Requests per second from the start.
    pub rps: f64,
    /// The key each request carries.
    pub keys: Keys,
    /// The key that some carry instead.
    pub hot: Option<Hot>,
    /// Seed of the key plan's random choices.
    pub seed: u64,
    /// Changes of the rate, by rising time.
    pub steps: Vec<RateStep>,
}

/// From `at_s` on, the rate is `rps`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateStep {
    /// Seconds from the scenario's start.
    pub at_s: f64,
    /// Requests per second; 0 pauses the load.
    pub rps: f64,
}

/// Which key a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// All requests share one key.
    One,
    /// Every request has a key of its own.
    Distinct,
    /// Each request picks one of `count` keys at random.
    Uniform {
        /// How many keys there are.
        count: u64,
    },
}

/// Lengths of the phases in seconds, in this order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Phases {
    /// Load runs but nothing is judged: connections open, scripts are loaded.
    pub warmup_s: f64,
    /// The steady state that the fault is compared with.
    pub baseline_s: f64,
    /// The faults of the timeline happen in here.
    pub fault_s: f64,
    /// Everything is healed; the system has to come back by itself.
    pub recovery_s: f64,
}

impl Phases {
    /// When the baseline begins, seconds from the start.
    #[must_use]
    pub fn baseline_at_s(&self) -> f64 {
        self.warmup_s
    }

    /// When the fault phase begins.
    #[must_use]
    pub fn fault_at_s(&self) -> f64 {
        self.warmup_s + self.baseline_s
    }

    /// When the recovery begins.
    #[must_use]
    pub fn recovery_at_s(&self) -> f64 {
        self.fault_at_s() + self.fault_s
    }

    /// When the last arrival is due at the latest.
    #[must_use]
    pub fn end_at_s(&self) -> f64 {
        self.recovery_at_s() + self.recovery_s
    }
}

/// One fault: what, when, until when.
#[derive(Debug, Clone, PartialEq)]
pub struct Injection {
    /// Seconds from the start at which it is injected.
    pub at_s: f64,
    /// Seconds from the start at which it is healed.
    pub heal_at_s: f64,
    /// What is done.
    pub fault: Fault,
}
