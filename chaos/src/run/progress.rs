//! Shows how far a run is: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::scenario::Scenario;
use crate::words::counted;

/// The one place that prints while scenarios run. A hidden bar prints nothing.
#[derive(Debug)]
pub(super) struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(super) fn new(run_id: &str, scenarios: &[Scenario]) -> Self {
        println!("{}", headline(run_id, scenarios));
        Self {
            bar: bar(0, "{prefix} {wide_bar} {pos}/{len} s {msg}"),
        }
    }

    pub(super) fn begin(&self, scenario: &Scenario) {
        let title = format!("{} {}", scenario.id, scenario.title);
        match &self.bar {
            None => println!("{title}: starting the stack"),
            Some(bar) => {
                bar.reset();
                bar.set_length(Duration::from_secs_f64(scenario.phases.end_at_s()).as_secs());
                bar.set_prefix(title);
                bar.set_message("starting the stack");
            }
        }
    }

    pub(super) fn step(&self, at_s: f64, what: &str) {
        match &self.bar {
            None => println!("  {at_s:6.2} s {what}"),
            Some(bar) => bar.set_message(what.to_owned()),
        }
    }

    pub(super) fn at(&self, at_s: f64) {
        if let Some(bar) = &self.bar {
            bar.set_position(Duration::from_secs_f64(at_s).as_secs());
        }
    }

    pub(super) fn again(&self, scenario: &Scenario) {
        let line = format!(
            "{} {}: nothing learned, once more",
            scenario.id, scenario.title
        );
        match &self.bar {
            None => println!("{line}"),
            Some(bar) => bar.println(line),
        }
    }

    pub(super) fn end(&self, scenario: &Scenario) {
        if let Some(bar) = &self.bar {
            bar.println(format!("{} {}: done", scenario.id, scenario.title));
        }
    }
}

/// A bar of this length, on a terminal.
pub(crate) fn bar(length: u64, template: &'static str) -> Option<ProgressBar> {
    std::io::stdout().is_terminal().then(|| {
        let bar = ProgressBar::new(length);
        // The template is a constant; a wrong one would show the default bar.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar
    })
}

fn headline(run_id: &str, scenarios: &[Scenario]) -> String {
    let total_s: f64 = scenarios.iter().map(|it| it.phases.end_at_s()).sum();
    let scenarios = counted(scenarios.len(), "scenario");
    format!("{run_id}: {scenarios}, about {total_s:.0} s of load")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{load_all, select};
    use crate::tools::repository;

    #[test]
    fn a_run_of_one_scenario_says_so() {
        let all = || load_all(&repository().join("chaos/scenarios")).unwrap();
        let one = select(all(), &["C-01".to_owned()]).unwrap();
        assert!(headline("CHAOS", &one).starts_with("CHAOS: 1 scenario, about "));
        let two = select(all(), &["C-01".to_owned(), "C-02".to_owned()]).unwrap();
        assert!(headline("CHAOS", &two).starts_with("CHAOS: 2 scenarios, about "));
    }
}
