//! Roots, configurations, and what the module declares to the host.

use velocitygate::metrics::{Kind, Metric};

use crate::wasm_host::{CALLED, MetricKind, NEVER_CALLED, Process, Reply, WASI, Worker, built};
use crate::{Fixture, OPEN, replied};

#[test]
fn the_module_imports_nothing_but_the_calls_listed() {
    let mut found: Vec<&str> = built().1.imports().map(|import| import.name()).collect();
    found.sort_unstable();
    let mut listed = [&CALLED[..], &NEVER_CALLED, &WASI].concat();
    listed.sort_unstable();
    assert_eq!(found, listed);
}

#[test]
fn both_roots_start_and_accept_their_configuration() {
    let mut worker = Worker::start(&Process::start());
    worker.root("velocitygate", OPEN).unwrap();
    worker.root("velocitygate_redis", "").unwrap();
    assert_eq!(worker.log(), "");
}

#[test]
fn an_unknown_root_id_is_refused_and_the_log_names_it_and_the_known_ones() {
    for root_id in ["", "velocity", "velocitygate_redis2"] {
        let mut worker = Worker::start(&Process::start());
        let log = worker.root(root_id, OPEN).unwrap_err();
        for part in [
            "\"velocitygate\"",
            "\"velocitygate_redis\"",
            &format!("found {root_id:?}"),
        ] {
            assert!(log.contains(part), "{log}");
        }
    }
}

#[test]
fn a_bad_configuration_is_counted_and_refused_with_every_problem_in_one_log_line() {
    let process = Process::start();
    let mut worker = Worker::start(&process);
    let bad = OPEN
        .replace("1m", "1 fortnight")
        .replace("per-key", "Per Key");
    let log = worker.root("velocitygate", &bad).unwrap_err();
    assert!(log.contains("rules[0].limit.per"), "{log}");
    assert!(log.contains("rules[0].name"), "{log}");
    assert_eq!(worker.vm().log.len(), 1, "{log}");
    let rejected = "velocitygate_config_rejected_total";
    assert_eq!(process.borrow().metric(rejected), 1);
}

#[test]
fn configurations_that_are_no_json_are_refused() {
    for bad in ["", "{", "[]", "null", "\u{0}", "{\"rules\": 1}"] {
        let mut worker = Worker::start(&Process::start());
        assert!(worker.root("velocitygate", bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_metrics_defined_are_exactly_those_of_the_table() {
    let fixture = Fixture::new(OPEN);
    let kind = |metric: Metric| match metric.kind() {
        Kind::Counter => MetricKind::Counter,
        Kind::Gauge => MetricKind::Gauge,
        Kind::Histogram => MetricKind::Histogram,
    };
    let all = Metric::all(1).into_iter();
    let mut table: Vec<_> = all
        .map(|metric| (metric.name(|_| "per-key"), kind(metric)))
        .collect();
    let process = fixture.process.borrow();
    let defined = process
        .metrics
        .iter()
        .map(|metric| (metric.name.clone(), metric.kind));
    let mut defined: Vec<_> = defined.collect();
    table.sort_by(|a, b| a.0.cmp(&b.0));
    defined.sort_by(|a, b| a.0.cmp(&b.0));
    // Error classes without a label of their own share one, `other`.
    table.dedup();
    assert_eq!(defined, table);
}

#[test]
fn after_a_reload_the_requests_of_the_old_root_and_of_the_new_are_all_answered() {
    let mut fixture = Fixture::new(OPEN);
    let old_root = fixture.root;
    let asked = fixture.ask("a");
    let unasked = fixture.wait("b");
    fixture.root = fixture.worker.root("velocitygate", OPEN).unwrap();
    let new = fixture.wait("c");
    fixture.worker.turn();
    assert_eq!(fixture.worker.calls().len(), 3);
    fixture.worker.reply(replied(crate::CHARGED));
    fixture.worker.reply(Reply::Reset);
    fixture.worker.reply(replied(crate::CHARGED));
    for stream in [asked, unasked, new] {
        fixture.assert_passed(stream);
    }
    fixture.worker.delete(asked);
    fixture.worker.delete(unasked);
    fixture.worker.delete(old_root);
    let later = fixture.ask("d");
    fixture.worker.reply(replied(crate::CHARGED));
    fixture.assert_passed(later);
}
