//! Shows how far a benchmark is: a bar on a terminal, plain lines elsewhere.

use indicatif::ProgressBar;

use super::Settings;
use crate::run::progress::bar;
use crate::words::counted;

/// The one place that prints while turns run.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    turns: u64,
    done: u64,
}

impl Progress {
    pub(super) fn new(run_id: &str, turns: u64, settings: &Settings) -> Self {
        let rounds = counted(settings.rounds, "round");
        let load_s = turns as f64 * settings.turn_s();
        println!("{run_id}: {rounds}, about {load_s:.0} s of load");
        Self {
            bar: bar(turns, "{wide_bar} {pos}/{len} {msg}"),
            turns,
            done: 0,
        }
    }

    /// A turn begins.
    pub(super) fn begin(&mut self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
            bar.set_message(what.to_owned());
        }
        self.done += 1;
    }

    /// It is over, with this to tell.
    pub(super) fn end(&self, what: &str, outcome: &str) {
        match &self.bar {
            Some(bar) => bar.println(format!("{what}: {outcome}")),
            None => println!("{}/{} {what}: {outcome}", self.done, self.turns),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
