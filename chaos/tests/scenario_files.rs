//! Every scenario file is sound, and every mistake in one is told.

use std::collections::HashSet;
use std::path::PathBuf;

use velocitygate_chaos::scenario::{
    HOT_MAX, LENGTH_MAX_S, Measure, Op, Scenario, ScenarioError, Source, Window, load_all, select,
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

fn shipped() -> Vec<Scenario> {
    load_all(&folder()).unwrap()
}

#[test]
fn the_default_set_is_the_plan_and_fits_six_minutes() {
    let default = select(shipped(), &[]).unwrap();
    let names: Vec<_> = default
        .iter()
        .map(|it| (it.id.as_str(), it.name.as_str()))
        .collect();
    let plan = [
        ("C-01", "redis-unavailable"),
        ("C-02", "redis-latency"),
        ("C-03", "redis-flapping"),
        ("C-04", "thundering-herd"),
        ("C-05", "bandwidth"),
    ];
    assert_eq!(names, plan);
    let total: f64 = default.iter().map(|it| it.phases.end_at_s()).sum();
    assert!(
        total < 300.0,
        "{total} s of load leave no room for the stacks' starts"
    );
}

/// One row of a list of bounds: scenario, measure, window, comparison, bound. The window of a
/// measure with a span of its own is the whole.
type Row = (&'static str, Measure, Window, Op, f64);

/// The bounds that the shipped scenarios must have.
fn assert_bounds(source: Source, rows: &[Row]) {
    let scenarios = shipped();
    for (id, measure, window, op, bound) in rows {
        let scenario = scenarios.iter().find(|it| it.id == *id).unwrap();
        let found = scenario.checks.iter().any(|it| {
            (it.source, it.measure, it.window, it.op) == (source, *measure, *window, *op)
                && it.bound == *bound
        });
        assert!(found, "{id} {measure:?} {op} {bound}");
    }
}

/// The founding plan's thresholds, one row each.
#[test]
fn the_plans_thresholds_are_bounds() {
    use Measure as M;
    use Op::{Above, AtLeast, AtMost, Below};
    use Window::{Fault, Whole};
    assert_bounds(
        Source::Plan,
        &[
            ("C-01", M::SuccessShare, Fault, Above, 0.99),
            ("C-01", M::P99, Fault, Below, 50.0),
            ("C-01", M::ConnectionErrors, Fault, Above, 0.0),
            ("C-02", M::Openings, Fault, AtLeast, 1.0),
            ("C-02", M::AnsweredShare, Fault, AtLeast, 1.0),
            ("C-02", M::P99, Fault, Below, 100.0),
            ("C-03", M::SuccessShare, Fault, Above, 0.95),
            ("C-03", M::FullRecovery, Whole, Below, 2.0),
            ("C-04", M::CpuShare, Fault, Below, 80.0),
            ("C-04", M::MemoryFit, Fault, AtLeast, 0.99),
            ("C-04", M::EnvoyRestarts, Whole, AtMost, 0.0),
            ("C-05", M::ConnectionErrors, Fault, Above, 0.0),
            ("C-05", M::Openings, Fault, AtLeast, 1.0),
            ("C-05", M::InFlight, Fault, Below, 48.0),
        ],
    );
}

/// The design's targets of single scenarios, one row each.
#[test]
fn the_designs_targets_are_bounds() {
    use Measure as M;
    use Op::{AtLeast, AtMost};
    use Window::{AfterOpen, Fault, Whole};
    assert_bounds(
        Source::Target,
        &[
            ("C-01", M::SuccessShare, Fault, AtLeast, 1.0),
            ("C-01", M::P99OverBaseline, Fault, AtMost, 5.0),
            ("C-01", M::RedisWhileOpen, Whole, AtMost, 0.0),
            ("C-02", M::TimeToOpen, Whole, AtMost, 0.5),
            ("C-02", M::P99OverBaseline, AfterOpen, AtMost, 5.0),
            ("C-02", M::RedisWhileOpen, Whole, AtMost, 0.0),
            ("C-03", M::SuccessShare, Fault, AtLeast, 1.0),
            ("C-03", M::FullRecovery, Whole, AtMost, 1.2),
            ("C-04", M::EvalCalls, Fault, AtMost, 2.0),
            ("C-04", M::MemoryLeft, Whole, AtMost, 256.0),
            ("C-04b", M::EvalCalls, Fault, AtMost, 2.0),
            ("C-04b", M::MemoryLeft, Whole, AtMost, 256.0),
            ("C-05", M::Waiting, Fault, AtMost, 20.0),
            ("C-05", M::ThreadsAdded, Fault, AtMost, 0.0),
        ],
    );
}

/// What the design promises of every scenario, and what makes its baseline a steady state.
#[test]
fn what_holds_in_every_scenario_is_a_bound_in_each() {
    for scenario in shipped() {
        let timeout = scenario.filter["redis"]["timeout"].as_str().unwrap();
        let timeout_ms: f64 = timeout.strip_suffix("ms").unwrap().parse().unwrap();
        let holds = |measure, op, bound| {
            let mut checks = scenario.checks.iter().filter(|it| it.measure == measure);
            let found = checks.any(|it| it.op == op && it.bound <= bound);
            assert!(found, "{} {measure:?} {op} {bound}", scenario.id);
        };
        holds(Measure::FullRecovery, Op::AtMost, 2.0);
        holds(Measure::LongestWait, Op::AtMost, timeout_ms + 10.0);
        for never in [
            Measure::OverAdmitted,
            Measure::Unaccounted,
            Measure::UnexplainedCommands,
            Measure::IllegalMoves,
            Measure::EnvoyRestarts,
        ] {
            holds(never, Op::AtMost, 0.0);
        }
        let mut checks = scenario.checks.iter();
        let gets_its_share = checks.any(|it| it.measure == Measure::LimitUsed && it.bound >= 0.8);
        assert!(gets_its_share, "{}", scenario.id);
        let steady = scenario
            .steady
            .iter()
            .map(|it| (it.measure, it.op, it.bound));
        let expected = [
            (Measure::SuccessShare, Op::AtLeast, 1.0),
            (Measure::CountedShare, Op::AtLeast, 0.99),
            (Measure::P99, Op::AtMost, 15.0),
        ];
        assert_eq!(steady.collect::<Vec<_>>(), expected, "{}", scenario.id);
    }
}

/// A scenario of more workers, or fewer, has to say so in its bound.
#[test]
fn each_worker_may_send_the_script_once() {
    for scenario in shipped() {
        let evals = scenario
            .checks
            .iter()
            .filter(|it| it.measure == Measure::EvalCalls);
        for check in evals {
            assert_eq!(check.bound, scenario.workers as f64, "{}", scenario.id);
        }
    }
}

#[test]
fn a_scenario_is_picked_by_identifier_or_name_once() {
    let wanted = [
        "c-02".to_owned(),
        "bandwidth".to_owned(),
        "redis-latency".to_owned(),
    ];
    let picked = select(shipped(), &wanted).unwrap();
    assert_eq!(
        picked.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(),
        ["C-02", "C-05"]
    );
    let error = select(shipped(), &["redis-gone".to_owned()]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("find scenario redis-gone; there are C-01 redis-un")
    );
}

#[test]
fn names_of_measures_are_unique() {
    let names: HashSet<_> = Measure::NAMES.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), Measure::NAMES.len());
}

/// Each fixture names its problems in its first lines, as comments.
#[test]
fn every_invalid_fixture_gives_exactly_its_problems() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/invalid");
    let mut fixtures = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected: Vec<&str> = text
            .lines()
            .filter_map(|it| it.strip_prefix("#! "))
            .collect();
        let problems = Scenario::parse(&text).unwrap_err();
        assert_eq!(problems, expected, "{}", path.display());
        fixtures += 1;
    }
    assert!(fixtures >= 4);
}

#[test]
fn an_invalid_file_is_named_with_its_problems() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.toml"), "id = ").unwrap();
    let error = load_all(folder.path()).unwrap_err();
    assert!(matches!(&error, ScenarioError::Invalid { problems, .. } if problems.len() == 1));
    let text = error.to_string();
    assert!(
        text.contains("broken.toml") && text.contains("line 1: "),
        "{text}"
    );
}

#[test]
fn two_scenarios_of_one_name_are_refused() {
    let copy = tempfile::tempdir().unwrap();
    for name in ["a.toml", "b.toml"] {
        std::fs::copy(folder().join("c-05-bandwidth.toml"), copy.path().join(name)).unwrap();
    }
    let error = load_all(copy.path()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tell scenarios apart: C-05 bandwidth is used twice"
    );
}

#[test]
fn as_many_hot_requests_as_the_judge_can_compare_are_accepted_and_no_more() {
    let text = std::fs::read_to_string(folder().join("c-05-bandwidth.toml")).unwrap();
    // Each of 20 s of requests, all of them hot.
    let with = |rps: u64| {
        let text = text.replace("rps = 500", &format!("rps = {rps}"));
        Scenario::parse(&text.replace("every = 5", "every = 1"))
    };
    let rps = HOT_MAX / 20;
    assert!(with(rps).is_ok());
    let problems = with(rps + 1).unwrap_err();
    assert_eq!(
        problems,
        ["load.hot.every: 10020 hot requests are planned, at most 10000"]
    );
}

#[test]
fn the_longest_scenario_is_accepted_and_a_longer_one_is_not() {
    let text = std::fs::read_to_string(folder().join("c-05-bandwidth.toml")).unwrap();
    let with = |recovery_s: f64| {
        Scenario::parse(&text.replace("recovery_s = 5", &format!("recovery_s = {recovery_s}")))
    };
    assert!(with(LENGTH_MAX_S - 15.0).is_ok());
    let problems = with(LENGTH_MAX_S - 14.9).unwrap_err();
    assert_eq!(
        problems,
        ["phases.recovery_s: the phases together exceed 90 s"]
    );
}
