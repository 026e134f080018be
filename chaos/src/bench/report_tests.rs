use std::collections::BTreeMap;

use super::*;

fn measured(rps: f64) -> Measured {
    Measured {
        rps,
        ..Measured::sample()
    }
}

/// Two rounds of `none` and `strict`, the second of `strict` void, and no `ratelimit` to be had.
fn ran() -> Ran {
    let void = || Err(anyhow::anyhow!("3 of 4 answers are wrong"));
    Ran {
        run_id: "BENCH-20260131-001".to_owned(),
        started: "2026-01-31T00:00:00Z".to_owned(),
        environment: Environment {
            commit: "abc".to_owned(),
            stack: "native".to_owned(),
            cores: 2,
            versions: BTreeMap::from([("Envoy".to_owned(), "1.40.0".to_owned())]),
        },
        settings: Settings::new(2, 2.0),
        wanted: BTreeSet::from([Peer::None, Peer::Strict, Peer::Ratelimit]),
        lacks: vec![Lack {
            peer: Peer::Ratelimit,
            reason: "not installed".to_owned(),
        }],
        turns: vec![
            Turn::new(Peer::None, 1, Ok(measured(1000.0))),
            Turn::new(Peer::Strict, 1, Ok(measured(800.0))),
            Turn::new(Peer::Strict, 2, void()),
            Turn::new(Peer::None, 2, Ok(measured(3000.0))),
        ],
        memory: Err("it did not start".to_owned()),
        module_bytes: Some(1024),
        interrupted: false,
    }
}

fn reason(report: &Report, name: &str) -> String {
    let mut targets = report.targets.iter();
    let target = targets.find(|it| it.name.starts_with(name)).unwrap();
    target.reason.clone().unwrap()
}

#[test]
fn what_was_not_measured_has_its_reason() {
    let report = Report::new(ran());
    assert_eq!(
        reason(&report, "strict: throughput against ratelimit"),
        "strict: 3 of 4 answers are wrong; ratelimit: not installed"
    );
    assert_eq!(
        reason(&report, "strict: throughput against an empty"),
        "strict: 3 of 4 answers are wrong; empty: not asked for"
    );
    assert_eq!(
        reason(&report, "memory for 100,000 keys"),
        "it did not start"
    );
    assert_eq!(
        (report.verdict, report.exit()),
        (Verdict::NotMeasured, Exit::Inconclusive)
    );
}

#[test]
fn a_peers_row_is_of_its_rounds_that_were_not_void() {
    let report = Report::new(ran());
    let row = |peer| report.peers.iter().find(|it| it.peer == peer);
    let none = row(Peer::None).unwrap();
    assert_eq!((none.rounds, none.medians.rps), (2, 2000.0));
    assert_eq!(row(Peer::Strict).unwrap().rounds, 1);
    assert_eq!(row(Peer::Ratelimit), None);
}

#[test]
fn the_command_ends_with_1_for_a_missed_target_and_3_for_an_early_end() {
    let mut missed = ran();
    missed.module_bytes = Some(1_000_000);
    assert_eq!(Report::new(missed).exit(), Exit::Refuted);
    let mut report = Report::new(ran());
    report.verdict = Verdict::Held;
    assert_eq!(report.exit(), Exit::Success);
    report.interrupted = true;
    assert_eq!(report.exit(), Exit::Inconclusive);
}

#[test]
fn the_report_for_people_tells_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    Report::new(ran()).write(folder.path()).unwrap();
    let text = fs::read_to_string(folder.path().join(MARKDOWN_FILE)).unwrap();
    for told in [
        "# BENCH-20260131-001: not measured\n",
        "| size of the .wasm | ≤ 600 KiB | 1.00 | - | held |\n",
        "| none | 2 | 2000 | 1000 to 3000 | 50.0 | 0.0 | 0.0 |",
        "Not measured: strict: added CPU against ratelimit: ",
        "Void: strict in round 2: 3 of 4 answers are wrong.\n",
        "Commit `abc`, 2 cores, Envoy 1.40.0; began 2026-01-31T00:00:00Z.",
    ] {
        assert!(text.contains(told), "no {told:?} in {text}");
    }
}

#[test]
fn the_table_names_each_target_and_each_reason() {
    let text = table(&Report::new(ran()));
    for target in &TARGETS {
        assert!(text.contains(target.name), "{text}");
    }
    assert!(text.contains("not measured: strict: 3 of 4"), "{text}");
    assert!(
        text.ends_with("\n\nBENCH-20260131-001: not measured\n"),
        "{text}"
    );
}

#[test]
fn the_method_lists_the_targets_that_there_are() {
    let method = include_str!("../../../docs/BENCH.md");
    let (_, targets) = method.split_once("\n## Targets\n").unwrap();
    let told = targets.lines().filter(|it| it.starts_with('|')).skip(2);
    let row = |it: &Target| format!("| {} | {} |", it.name, bound(it.bound, it.unit));
    assert!(told.eq(TARGETS.iter().map(row)));
}

#[test]
fn a_number_has_as_many_digits_as_count() {
    let shown = [1234.5, 12.34, 1.234, 0.1234, 0.00123].map(number);
    assert_eq!(shown, ["1234", "12.3", "1.23", "0.123", "0.0012"]);
}
