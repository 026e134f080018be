//! Stories about whole runs: what did not run, or ran twice, must not pass for a success.

mod story;

use story::Story;
use velocitygate_chaos::judge::{Cause, Verdict};
use velocitygate_chaos::record::{Outcome, Record};
use velocitygate_chaos::report::{self, Report};

const C_01: &str = "c-01-redis-unavailable.toml";

fn report(text: &str) -> Report {
    Report::of(&Record::parse(text).unwrap())
}

#[test]
fn a_run_that_lacks_a_planned_scenario_is_inconclusive_and_names_it() {
    let whole = Story::healthy(C_01).text();
    assert_eq!(report(&whole).verdict(), Verdict::Upheld);
    let planned = r#""planned":["C-01"]"#;
    assert!(whole.contains(planned));
    let cut = report(&whole.replacen(planned, r#""planned":["C-01","C-02","C-05"]"#, 1));
    assert_eq!(cut.verdict(), Verdict::Inconclusive);
    let table = report::verdicts(&cut);
    assert!(table.contains("not run: C-02, C-05"), "{table}");
    let markdown = report::markdown(&cut).unwrap();
    assert!(markdown.contains("| C-05 | not run | |"), "{markdown}");
}

#[test]
fn only_what_the_machine_spoiled_is_worth_another_trial() {
    let cause = |change: &dyn Fn(&mut Story)| {
        let mut story = Story::healthy(C_01);
        change(&mut story);
        story.report().scenarios.remove(0).cause
    };
    assert_eq!(cause(&|_| ()), None);
    let late = cause(&|it| it.late_us = 60_000);
    let slow = cause(&|it| it.baseline.1 = 40_000);
    assert_eq!(
        (late, slow),
        (Some(Cause::Machine), Some(Cause::SlowBaseline))
    );
    let failed = cause(&|it| it.baseline.0 = Outcome::Other(500));
    let broken = cause(&|it| it.failure = Some("told".into()));
    assert_eq!(failed, Some(Cause::UnsteadyBaseline));
    assert_eq!(broken, Some(Cause::Suite));
    let again = [late, slow, failed, broken].map(|it| it.unwrap().is_machine());
    assert_eq!(again, [true, true, false, false]);
}

#[test]
fn a_refuted_trial_is_not_forgotten_for_a_later_upheld_one() {
    let both = |first: Story| {
        let good = Story::healthy(C_01).text();
        let (_, trial) = good.split_once('\n').unwrap();
        report(&(first.text() + trial))
    };
    let refuted = both(Story {
        fault: (Outcome::Unavailable, 900),
        ..Story::healthy(C_01)
    });
    assert_eq!(refuted.verdict(), Verdict::Refuted);
    let late = both(Story {
        late_us: 60_000,
        ..Story::healthy(C_01)
    });
    let table = report::verdicts(&late);
    assert!(table.contains("upheld (2nd try)"), "{table}");
}

fn without(text: &str, unwanted: impl Fn(&str) -> bool) -> Report {
    let lines = text.split_inclusive('\n').filter(|line| !unwanted(line));
    report(&lines.collect::<String>())
}

#[test]
fn an_observer_that_was_silent_makes_the_run_inconclusive() {
    let text = Story::healthy("c-02-redis-latency.toml").text();
    for source in ["envoy", "redis", "upstream", "process"] {
        let source = format!(r#""source":"{source}""#);
        let report = without(&text, |line| line.contains(&source));
        assert_eq!(report.verdict(), Verdict::Inconclusive, "{source}");
        let reasons = &report.scenarios[0].reasons;
        assert!(reasons[0].contains("gave no readings"), "{reasons:?}");
    }
}

#[test]
fn a_fault_that_did_not_go_as_planned_makes_the_run_inconclusive() {
    let text = Story::healthy("c-03-redis-flapping.toml").text();
    assert_eq!(report(&text).verdict(), Verdict::Upheld);
    let unhealed = without(&text, |line| line.contains(r#""action":"heal""#));
    assert_eq!(unhealed.verdict(), Verdict::Inconclusive);
    let still = report(&text.replace("toggles", "none"));
    assert_eq!(still.verdict(), Verdict::Inconclusive);
    let reasons = &still.scenarios[0].reasons;
    assert_eq!(reasons, &["Redis flapped 0 times, planned were 80"]);
}
