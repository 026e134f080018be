//! Stories about the judge: a suite that cannot fail proves nothing.

mod story;

use story::Story;
use velocitygate_chaos::judge::{LATENESS_P99_MS_MAX, Verdict};
use velocitygate_chaos::record::{Outcome, Record};
use velocitygate_chaos::report::{Report, ScenarioReport};

const C_01: &str = "c-01-redis-unavailable.toml";
const C_02: &str = "c-02-redis-latency.toml";
const C_03: &str = "c-03-redis-flapping.toml";

fn only(report: &Report) -> &ScenarioReport {
    report.scenarios.first().unwrap()
}

fn missed(report: &Report) -> Vec<&str> {
    let checks = only(report).checks.iter();
    checks
        .filter(|it| it.held == Some(false))
        .map(|it| it.name.as_str())
        .collect()
}

#[test]
fn a_run_that_keeps_every_bound_is_upheld() {
    for file in [C_01, C_02, C_03, "c-05-bandwidth.toml"] {
        let report = Story::healthy(file).report();
        assert_eq!(only(&report).reasons, Vec::<String>::new(), "{file}");
        assert_eq!(report.verdict(), Verdict::Upheld, "{file}");
    }
}

#[test]
fn failing_closed_refutes_that_requests_bypass_limiting_when_redis_is_gone() {
    let story = Story {
        fault: (Outcome::Unavailable, 900),
        ..Story::healthy(C_01)
    };
    let report = story.report();
    assert_eq!(report.verdict(), Verdict::Refuted);
    let expected = [
        "requests succeed while Redis is gone",
        "every request succeeds while Redis is gone",
    ];
    assert_eq!(missed(&report), expected);
}

#[test]
fn a_fallback_that_refuses_refutes_that_no_client_notices_the_flapping() {
    let story = Story {
        fault: (Outcome::RefusedUncounted, 900),
        ..Story::healthy(C_03)
    };
    let expected = [
        "few requests fail while Redis flaps",
        "no request fails while Redis flaps",
    ];
    assert_eq!(missed(&story.report()), expected);
}

#[test]
fn a_hot_key_that_gets_more_than_its_limit_or_less_refutes() {
    let missed_with = |hot_share| {
        let story = Story {
            hot_share,
            ..Story::healthy(C_01)
        };
        let report = story.report();
        missed(&report).join(", ")
    };
    assert_eq!(missed_with(1.0), "");
    let over = "no interval admits more of the hot key than its limit";
    assert_eq!(missed_with(1.1), over);
    let under = "the hot key gets what its limit lets through";
    assert_eq!(missed_with(0.8), under);
}

#[test]
fn a_hot_key_that_met_no_limit_proves_nothing_about_it() {
    let report = Story {
        hot_share: 100.0,
        ..Story::healthy(C_01)
    }
    .report();
    assert_eq!(report.verdict(), Verdict::Inconclusive);
    let reasons = &only(&report).reasons;
    assert!(
        reasons[0].contains("the hot key met no limit in the Baseline phase"),
        "{reasons:?}"
    );
}

#[test]
fn a_redis_that_ran_other_commands_than_were_sent_refutes() {
    for commands_each in [0.9, 1.1] {
        let story = Story {
            commands_each,
            ..Story::healthy(C_01)
        };
        let expected = ["Redis ran as many commands as the filter sent"];
        assert_eq!(missed(&story.report()), expected, "{commands_each}");
    }
}

#[test]
fn a_breaker_that_is_off_refutes_that_requests_fail_fast() {
    let story = Story {
        fault: (Outcome::Uncounted, 50_500),
        moves: vec![],
        ..Story::healthy(C_02)
    };
    let report = story.report();
    assert_eq!(report.verdict(), Verdict::Refuted);
    let expected = [
        "the breaker opens",
        "the breaker opens within half a second",
    ];
    assert_eq!(missed(&report), expected);
    // What needs an open breaker is not measured, and never counts as held.
    let after = only(&report)
        .checks
        .iter()
        .find(|it| it.shown.contains("never opened"))
        .unwrap();
    assert_eq!((after.measured, after.held), (None, None));
}

#[test]
fn a_breaker_that_stays_open_refutes_the_recovery() {
    let mut story = Story::healthy(C_01);
    story.moves.truncate(1);
    let report = story.report();
    assert_eq!(missed(&report), ["the system recovers by itself"]);
    assert_eq!(only(&report).recovery.full_s, None);
}

#[test]
fn a_generator_at_its_lateness_bound_is_trusted_and_beyond_it_is_not() {
    let bound_us = (LATENESS_P99_MS_MAX * 1e3) as u64;
    let at = |late_us| {
        Story {
            late_us,
            ..Story::healthy(C_01)
        }
        .report()
    };
    assert_eq!(at(bound_us - 10).verdict(), Verdict::Upheld);
    let late = at(bound_us + 100);
    assert_eq!(late.verdict(), Verdict::Inconclusive);
    assert!(
        only(&late)
            .reasons
            .iter()
            .any(|it| it.contains("generator was late"))
    );
}

#[test]
fn doubt_about_the_generator_outweighs_a_missed_bound() {
    let fault = (Outcome::Unavailable, 900);
    let story = Story {
        fault,
        late_us: 60_000,
        ..Story::healthy(C_01)
    };
    assert_eq!(story.report().verdict(), Verdict::Inconclusive);
}

/// C-01 with a tenth of a second in which requests took 35 ms, and what the scheduler said of it.
fn slow_for_a_moment(scheduler: Option<(f64, f64, f64)>) -> Story {
    Story {
        slow: Some((10.0, 10.1, 35_000)),
        scheduler,
        ..Story::healthy(C_01)
    }
}

const COSTS_5_MS: &str = "the fault costs at most 5 ms at the 99th percentile";

#[test]
fn a_latency_that_only_the_machine_explains_proves_nothing_and_is_tried_again() {
    let report = slow_for_a_moment(Some((10.1, 50.0, 20.0))).report();
    assert_eq!(report.verdict(), Verdict::Inconclusive);
    assert!(only(&report).cause.unwrap().is_machine());
    assert_eq!(missed(&report), [COSTS_5_MS]);
    let why = only(&report).reasons.last().unwrap();
    let expected = "the machine may be why: from 9.9 s it kept a thread waiting for a processor 30.0 ms longer than the stack ran";
    assert_eq!(why, expected);
}

#[test]
fn a_latency_that_the_machine_does_not_explain_refutes() {
    for (why, scheduler) in [
        ("nobody waited for a processor", None),
        (
            "Envoy itself kept the others waiting",
            Some((10.1, 50.0, 45.0)),
        ),
        ("too little to explain 35 ms", Some((10.1, 45.0, 20.0))),
        ("at another time", Some((9.0, 500.0, 20.0))),
    ] {
        let report = slow_for_a_moment(scheduler).report();
        assert_eq!(report.verdict(), Verdict::Refuted, "{why}");
        assert_eq!(missed(&report), [COSTS_5_MS], "{why}");
    }
}

#[test]
fn the_machine_explains_no_other_miss() {
    let story = Story {
        hot_share: 1.1,
        ..slow_for_a_moment(Some((10.1, 50.0, 20.0)))
    };
    assert_eq!(story.report().verdict(), Verdict::Refuted);
}

#[test]
fn a_latency_that_met_only_a_moment_of_a_stall_refutes() {
    // The stall is over 1 ms after the requests came.
    let story = Story {
        slow: Some((10.099, 10.2, 35_000)),
        ..slow_for_a_moment(Some((10.1, 50.0, 20.0)))
    };
    let report = story.report();
    assert_eq!(report.verdict(), Verdict::Refuted);
    assert_eq!(missed(&report), [COSTS_5_MS]);
}

#[test]
fn each_pause_beyond_the_bound_refutes_unless_the_machine_explains_it() {
    let with = |waits: &[(f64, f64)], scheduler| {
        let story = Story {
            waits: waits.to_vec(),
            scheduler,
            ..Story::healthy(C_01)
        };
        story.report().verdict()
    };
    let one = [(75.0, 7.3)];
    assert_eq!(with(&one, None), Verdict::Refuted);
    assert_eq!(with(&one, Some((7.4, 30.0, 20.0))), Verdict::Refuted);
    assert_eq!(with(&one, Some((7.4, 40.0, 20.0))), Verdict::Inconclusive);
    assert_eq!(with(&one, Some((8.4, 40.0, 20.0))), Verdict::Refuted);
    let two = [(75.0, 7.3), (70.0, 9.0)];
    assert_eq!(with(&two, Some((7.4, 40.0, 20.0))), Verdict::Refuted);
}

#[test]
fn a_request_that_was_not_sent_makes_the_run_inconclusive() {
    let story = Story {
        fault: (Outcome::NotSent, 0),
        ..Story::healthy(C_01)
    };
    let report = story.report();
    assert_eq!(report.verdict(), Verdict::Inconclusive);
    assert!(
        only(&report)
            .reasons
            .iter()
            .any(|it| it.contains("not sent, as"))
    );
}

#[test]
fn a_run_whose_baseline_was_not_steady_is_void() {
    let story = Story {
        baseline: (Outcome::Other(500), 900),
        ..Story::healthy(C_01)
    };
    let report = story.report();
    assert!(only(&report).void);
    assert_eq!(report.verdict(), Verdict::Inconclusive);
}

#[test]
fn a_baseline_that_limits_nothing_or_is_slow_is_not_steady() {
    for (baseline, missed) in [
        ((Outcome::Uncounted, 900), "nearly every answer is by a"),
        ((Outcome::Counted, 15_100), "requests are quick before the"),
    ] {
        let story = Story {
            baseline,
            ..Story::healthy(C_01)
        };
        let report = story.report();
        let reasons = &only(&report).reasons;
        assert!(only(&report).void && reasons.len() == 1, "{reasons:?}");
        assert!(reasons[0].starts_with(missed), "{reasons:?}");
    }
    let at_the_bound = Story {
        baseline: (Outcome::Counted, 14_900),
        ..Story::healthy(C_01)
    };
    assert_eq!(at_the_bound.report().verdict(), Verdict::Upheld);
}

#[test]
fn a_failure_of_the_suite_is_inconclusive_and_named() {
    let story = Story {
        failure: Some("heal latency: refused".into()),
        ..Story::healthy(C_02)
    };
    let report = story.report();
    assert_eq!(report.verdict(), Verdict::Inconclusive);
    assert_eq!(
        only(&report).reasons,
        ["the suite failed: heal latency: refused"]
    );
}

#[test]
fn a_cut_record_is_refused_with_its_line() {
    let text = Story::healthy(C_01).text();
    let lines = text.lines().count();
    let error = Record::parse(text.trim_end_matches('\n')).unwrap_err();
    assert_eq!((error.line, error.why.as_str()), (lines, "it is cut"));
    let half = &text[..text.len() / 2];
    assert_eq!(Record::parse(half).unwrap_err().line, half.lines().count());
    assert_eq!(Record::parse("").unwrap_err().line, 1);
}

#[test]
fn a_record_that_stops_early_is_inconclusive() {
    let text = Story::healthy(C_01).text();
    let last = text.trim_end().rfind('\n').unwrap();
    let report = Report::of(&Record::parse(&text[..=last]).unwrap());
    assert_eq!(report.verdict(), Verdict::Inconclusive);
}

#[test]
fn events_out_of_place_and_unknown_fields_are_refused() {
    let text = Story::healthy(C_01).text();
    let twice = format!("{text}{}\n", text.lines().next().unwrap());
    assert_eq!(
        Record::parse(&twice).unwrap_err().why,
        "it belongs to no scenario"
    );
    let unknown = text.replacen("\"late_us\"", "\"later_us\"", 1);
    assert!(
        Record::parse(&unknown)
            .unwrap_err()
            .why
            .contains("later_us")
    );
    let future = text.replacen("\"version\":3", "\"version\":4", 1);
    assert_eq!(Record::parse(&future).unwrap_err().why, "version 4, not 3");
}
