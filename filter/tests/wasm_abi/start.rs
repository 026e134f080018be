//! Roots, configurations, and what the module declares to the host.

use velocitygate::metrics::{Kind, Metric};

use crate::wasm_host::{CALLED, MetricKind, NEVER_CALLED, Process, Reply, WASI, Worker, built};
use crate::{CLOSED, Fixture, OPEN, commands, replied};

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

/// Each reload defined all of them anew: Envoy grew by 36 kB with each one of sixty rules.
#[test]
fn a_reload_defines_only_metrics_that_the_vm_does_not_know() {
    let mut fixture = Fixture::new(OPEN);
    let defined = |fixture: &Fixture| fixture.process.borrow().definitions;
    let before = defined(&fixture);
    fixture.root = fixture.worker.root("velocitygate", CLOSED).unwrap();
    assert_eq!(defined(&fixture), before);
    fixture.worker.root("velocitygate", "{").unwrap_err();
    assert_eq!(defined(&fixture), before);
    assert_eq!(fixture.metric("config_rejected_total"), 1);

    let other = CLOSED.replace("per-key", "per-user");
    fixture.root = fixture.worker.root("velocitygate", &other).unwrap();
    let of_a_rule = Metric::all(1).len() - Metric::all(0).len();
    assert_eq!(defined(&fixture), before + of_a_rule);
    let stream = fixture.ask("a");
    fixture.worker.reply(Reply::Reset);
    assert_eq!(fixture.decision(stream), "degraded_deny");
    let counted = "requests_total.rule.per-user.decision.degraded_deny";
    assert_eq!(fixture.metric(counted), 1);
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

/// Two requests in one call, which are a demand: of what the call brings beyond them, nothing is used.
fn with_a_lease() -> Fixture {
    const LEASED: &str = r#"{ "rules": [ { "name": "per-key", "key": [ { "header": "x-api-key" } ],
        "lease": { "max": 9, "ttl": "1s" }, "limit": { "requests": 60, "per": "1m" } } ] }"#;
    let mut fixture = Fixture::new(LEASED);
    let streams = [fixture.wait("a"), fixture.wait("a")];
    fixture.worker.turn();
    let four = "*5\r\n:4\r\n:7\r\n:55\r\n:0\r\n:4000000\r\n";
    fixture.worker.reply(replied(four));
    for stream in streams {
        fixture.assert_passed(stream);
        fixture.worker.delete(stream);
    }
    fixture
}

#[test]
fn a_replaced_root_stays_until_it_gave_back_what_it_held() {
    for end in [replied("*1\r\n:2\r\n"), Reply::Reset] {
        let mut fixture = with_a_lease();
        let old_root = fixture.root;
        fixture.root = fixture.worker.root("velocitygate", OPEN).unwrap();
        fixture.worker.delete(old_root);
        let calls = fixture.worker.calls();
        assert_eq!((calls.len(), calls[0].context), (1, old_root));
        let refunds = commands(&calls[0]);
        assert_eq!(refunds[0][4..7], [b"refund".as_slice(), b"2", b"7"]);
        fixture.worker.tick(old_root);
        assert!(fixture.worker.vm().contexts.contains_key(&old_root));
        fixture.worker.reply(end);
        assert!(!fixture.worker.vm().contexts.contains_key(&old_root));
        let later = fixture.ask("a");
        fixture.worker.reply(replied(crate::CHARGED));
        fixture.assert_passed(later);
    }
}

#[test]
fn a_replaced_root_whose_call_cannot_be_sent_goes_at_once() {
    let mut fixture = with_a_lease();
    fixture.worker.vm().dispatch_status = crate::wasm_host::status::BAD_ARGUMENT;
    fixture.worker.delete(fixture.root);
    assert!(!fixture.worker.vm().contexts.contains_key(&fixture.root));
    assert_eq!(fixture.metric("refunds_dropped_total"), 2);
}
