//! Stories about whole runs: what did not run, or ran twice, must not pass for a success.

mod story;

use serde_json::Value;
use story::Story;
use velocitygate_chaos::judge::{Cause, OFF_PLAN_S_MAX, SILENCE_S_MAX, TOGGLES_MIN, Verdict};
use velocitygate_chaos::record::{Outcome, Record};
use velocitygate_chaos::report::{self, Report};

const C_01: &str = "c-01-redis-unavailable.toml";
const C_03: &str = "c-03-redis-flapping.toml";

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
    let timed_out = cause(&|it| it.baseline = (Outcome::Uncounted, 50_000));
    let uncounted = cause(&|it| it.baseline.0 = Outcome::Uncounted);
    assert_eq!(timed_out, Some(Cause::SlowBaseline));
    assert_eq!(uncounted, Some(Cause::UnsteadyBaseline));
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
    let text = Story::healthy(C_03).text();
    assert_eq!(report(&text).verdict(), Verdict::Upheld);
    let unhealed = without(&text, |line| line.contains(r#""action":"heal""#));
    assert_eq!(unhealed.verdict(), Verdict::Inconclusive);
    let still = report(&text.replace("toggles", "none"));
    assert_eq!(still.verdict(), Verdict::Inconclusive);
    let reasons = &still.scenarios[0].reasons;
    assert_eq!(reasons, &["Redis flapped 0 times, planned were 80"]);
}

#[test]
fn a_silence_is_the_machines_only_where_the_load_was_late_too() {
    let cause = |late_us| {
        let text = Story {
            late_us,
            ..Story::healthy(C_01)
        }
        .text();
        let mut report = without(&text, |line| line.contains(r#""source":"envoy""#));
        report.scenarios.remove(0).cause
    };
    assert_eq!(cause(100), Some(Cause::Suite));
    assert_eq!(cause(60_000), Some(Cause::Machine));
}

/// A record of which `change` alters the events, or takes them out by saying false.
fn altered(text: &str, mut change: impl FnMut(&mut Value) -> bool) -> Report {
    let mut changed = String::new();
    for line in text.lines() {
        let mut event: Value = serde_json::from_str(line).unwrap();
        if change(&mut event) {
            changed += &format!("{event}\n");
        }
    }
    report(&changed)
}

fn reasons(report: &Report) -> Vec<&str> {
    let reasons = report.scenarios[0].reasons.iter();
    reasons.map(String::as_str).collect()
}

#[test]
fn a_stall_in_the_phase_that_is_judged_spoils_the_run_though_few_were_late() {
    let text = Story::healthy(C_01).text();
    let late_from = |from_s: f64| {
        altered(&text, |event| {
            // 45 requests: nearly 2 % of the fault's, less than 1 % of all.
            let due_s = event["due_s"].as_f64().unwrap_or_default();
            if due_s >= from_s && due_s < from_s + 0.15 {
                (event["late_us"], event["took_us"]) = (20_000.into(), 21_000.into());
            }
            true
        })
    };
    let spoiled = late_from(9.0);
    assert_eq!(spoiled.scenarios[0].cause, Some(Cause::Machine));
    let told = "the generator was late: p99 20.0 ms, at most 10 ms";
    assert_eq!(reasons(&spoiled), [told]);
    assert_eq!(late_from(17.0).verdict(), Verdict::Upheld);
}

#[test]
fn a_fault_at_the_edge_of_its_time_is_accepted_and_beyond_it_is_not() {
    let text = Story::healthy(C_01).text();
    for action in ["inject", "heal"] {
        let moved = |by_s: f64| {
            altered(&text, |event| {
                if event["action"] == action {
                    event["at_s"] = (event["at_s"].as_f64().unwrap() + by_s).into();
                }
                true
            })
        };
        assert_eq!(moved(OFF_PLAN_S_MAX).verdict(), Verdict::Upheld, "{action}");
        assert_eq!(
            moved(-OFF_PLAN_S_MAX).verdict(),
            Verdict::Upheld,
            "{action}"
        );
        let off = moved(OFF_PLAN_S_MAX + 0.001);
        assert_eq!(off.verdict(), Verdict::Inconclusive, "{action}");
        assert!(
            reasons(&off)[0].contains("was not injected and healed"),
            "{off:?}"
        );
    }
}

#[test]
fn a_flapping_of_the_least_toggles_is_accepted_and_of_one_less_is_not() {
    let text = Story::healthy(C_03).text();
    let flapped = |toggles: usize| {
        altered(&text, |event| {
            let list = event.pointer_mut("/read_back/toggles");
            if let Some(list) = list.and_then(Value::as_array_mut) {
                list.truncate(toggles);
            }
            true
        })
    };
    let least = (80.0 * TOGGLES_MIN) as usize;
    assert_eq!(flapped(least).verdict(), Verdict::Upheld);
    let expected = [format!(
        "Redis flapped {} times, planned were 80",
        least - 1
    )];
    assert_eq!(reasons(&flapped(least - 1)), expected);
    assert_eq!(
        reasons(&flapped(1)),
        ["Redis flapped 1 time, planned were 80"]
    );
}

#[test]
fn a_silence_of_the_longest_time_is_accepted_and_a_longer_one_is_not() {
    let text = Story::healthy(C_01).text();
    // Observers read ten times a second; from 4 s on.
    let silent = |until_s: f64| {
        altered(&text, |event| {
            let at_s = event["at_s"].as_f64().unwrap_or_default();
            !(event["source"] == "upstream" && at_s > 4.0 && at_s < until_s)
        })
    };
    assert_eq!(silent(4.0 + SILENCE_S_MAX).verdict(), Verdict::Upheld);
    let expected = ["Upstream gave no readings for 1.1 s from 4.0 s"];
    assert_eq!(reasons(&silent(4.05 + SILENCE_S_MAX)), expected);
}

#[test]
fn after_an_early_end_nobody_is_called_silent_and_before_it_whoever_was() {
    const ENDED_S: f64 = 9.0;
    let text = Story::healthy(C_01).text();
    let ended = |silent_from_s: f64, tells: bool| {
        altered(&text, |event| {
            if event["event"] == "end" {
                (event["at_s"], event["failure"]) = (ENDED_S.into(), "interrupted".into());
                return tells;
            }
            let at_s = event["at_s"].as_f64().or_else(|| event["due_s"].as_f64());
            let at_s = at_s.unwrap_or_default();
            at_s <= ENDED_S && !(event["source"] == "process" && at_s > silent_from_s)
        })
    };
    let silent = |report: &Report| {
        let reasons = reasons(report).into_iter();
        let silent = reasons.filter(|it| it.contains("gave no readings"));
        silent.map(str::to_owned).collect::<Vec<_>>()
    };
    for tells in [true, false] {
        let early = ended(f64::INFINITY, tells);
        assert_eq!(early.verdict(), Verdict::Inconclusive);
        assert_eq!(silent(&early), Vec::<String>::new(), "{early:?}");
        let expected = ["Process gave no readings for 2.0 s from 7.0 s"];
        assert_eq!(silent(&ended(7.0, tells)), expected);
    }
    assert_eq!(
        reasons(&ended(9.0, true))[0],
        "the suite failed: interrupted"
    );
}
