use super::super::measured::Measured;
use super::super::memory::Memory;
use super::super::peer::Peer;
use super::super::targets::{Sheet, TARGETS};
use super::*;

/// A peer with these CPU microseconds per request, in Envoy and in its service.
fn measured(envoy_us: f64, service_us: f64) -> Measured {
    Measured {
        envoy_us,
        service_us,
        ..Measured::sample()
    }
}

fn sheet(peers: impl IntoIterator<Item = (Peer, Measured)>) -> Sheet {
    Sheet {
        peers: peers.into_iter().collect(),
        ..Sheet::default()
    }
}

fn target(start: &str) -> &'static Target {
    let mut found = TARGETS.iter().filter(|it| it.name.starts_with(start));
    let target = found.next().unwrap_or_else(|| panic!("no {start}"));
    assert!(found.next().is_none(), "several {start}");
    target
}

fn judge(start: &str, medians: &Sheet) -> Judged {
    target(start).judge(medians, std::slice::from_ref(medians), |_| {
        "a reason".to_owned()
    })
}

#[test]
fn added_cpu_is_beyond_no_filter_and_includes_the_service() {
    let mut sheet = sheet([
        (Peer::None, measured(40.0, 0.0)),
        (Peer::Strict, measured(60.0, 0.0)),
        (Peer::Ratelimit, measured(80.0, 60.0)),
    ]);
    let judged = judge("strict: added CPU", &sheet);
    assert_eq!((judged.value, judged.verdict), (Some(0.2), Verdict::Held));
    sheet.peers.insert(Peer::Strict, measured(61.0, 0.0));
    assert_eq!(judge("strict: added CPU", &sheet).verdict, Verdict::Missed);
}

#[test]
fn a_ratio_to_what_added_nothing_is_not_measured() {
    let sheet = sheet([
        (Peer::None, measured(40.0, 0.0)),
        (Peer::Empty, measured(39.0, 0.0)),
        (Peer::Leased, measured(50.0, 0.0)),
    ]);
    let judged = judge("leased: added CPU", &sheet);
    assert_eq!(judged.verdict, Verdict::NotMeasured);
    assert_eq!(judged.reason.as_deref(), Some("a reason"));
}

#[test]
fn throughput_must_reach_its_bound_and_latency_must_not_pass_it() {
    let (mut strict, other) = (measured(40.0, 0.0), measured(40.0, 0.0));
    for (rps, p99_ms, verdict) in [(2000.0, 1.0, Verdict::Held), (1999.0, 1.1, Verdict::Missed)] {
        (strict.rps, strict.p99_ms) = (rps, p99_ms);
        let sheet = sheet([(Peer::Strict, strict), (Peer::Ratelimit, other)]);
        assert_eq!(
            judge("strict: throughput against r", &sheet).verdict,
            verdict
        );
        assert_eq!(judge("strict: p99", &sheet).verdict, verdict);
    }
}

#[test]
fn a_token_that_was_free_at_the_start_is_no_call_too_many() {
    let mut refused = measured(40.0, 0.0);
    // Ten tokens a second for two seconds.
    for (calls, verdict) in [(21.0, Verdict::Held), (22.0, Verdict::Missed)] {
        refused.calls = calls;
        let sheet = sheet([(Peer::Refused, refused)]);
        assert_eq!(judge("refused: ", &sheet).verdict, verdict);
    }
}

#[test]
fn an_open_breaker_may_add_a_millisecond() {
    let (none, mut open) = (measured(40.0, 0.0), measured(40.0, 0.0));
    for (p99_ms, verdict) in [(3.0, Verdict::Held), (3.1, Verdict::Missed)] {
        open.p99_ms = p99_ms;
        let sheet = sheet([(Peer::None, none), (Peer::Open, open)]);
        assert_eq!(judge("open: ", &sheet).verdict, verdict);
    }
}

#[test]
fn memory_and_size_are_told_in_their_units() {
    let sheet = Sheet {
        memory: Some(Memory {
            grown_bytes: 33_554_432.0,
            further_bytes: 2_097_152.0,
        }),
        module_bytes: Some(614_401),
        ..Sheet::default()
    };
    assert_eq!(
        judge("memory for 100,000 keys", &sheet).verdict,
        Verdict::Held
    );
    assert_eq!(judge("memory for 100,000 f", &sheet).value, Some(2.0));
    assert_eq!(judge("size", &sheet).verdict, Verdict::Missed);
}

#[test]
fn the_spread_is_that_of_the_rounds_in_which_all_were_measured() {
    let round = |rps| {
        let mut strict = measured(40.0, 0.0);
        strict.rps = rps;
        sheet([(Peer::Strict, strict), (Peer::Empty, measured(40.0, 0.0))])
    };
    let void = sheet([(Peer::Empty, measured(40.0, 0.0))]);
    let rounds = [round(900.0), void, round(1100.0)];
    let judged =
        target("strict: throughput against an empty")
            .judge(&round(1000.0), &rounds, |_| String::new());
    let spread = judged.rounds.unwrap();
    assert_eq!(
        (spread.least, judged.value, spread.greatest),
        (0.9, Some(1.0), 1.1)
    );
    assert_eq!(judged.verdict_text(), "held");
}

#[test]
fn a_verdict_that_some_rounds_would_not_give_says_so() {
    let round = |rps| {
        let mut strict = measured(40.0, 0.0);
        strict.rps = rps;
        sheet([(Peer::Strict, strict), (Peer::Empty, measured(40.0, 0.0))])
    };
    let text = |median, rounds: [f64; 2]| {
        let target = target("strict: throughput against an empty");
        let judged = target.judge(&round(median), &rounds.map(round), |_| String::new());
        judged.verdict_text()
    };
    // At least 0.9 of 1,000 requests a second.
    assert_eq!(text(900.0, [900.0, 950.0]), "held");
    assert_eq!(text(900.0, [899.0, 950.0]), "held, rounds differ");
    assert_eq!(text(890.0, [800.0, 900.0]), "missed, rounds differ");
    assert_eq!(text(890.0, [800.0, 899.0]), "missed");
}

#[test]
fn every_target_names_the_peers_without_which_it_has_no_value() {
    let all = [
        (Peer::None, measured(40.0, 0.0)),
        (Peer::Empty, measured(50.0, 0.0)),
        (Peer::Local, measured(45.0, 0.0)),
        (Peer::Strict, measured(60.0, 0.0)),
        (Peer::Leased, measured(55.0, 0.0)),
        (Peer::Refused, measured(45.0, 0.0)),
        (Peer::Open, measured(45.0, 0.0)),
        (Peer::Ratelimit, measured(80.0, 60.0)),
        (Peer::Limitador, measured(80.0, 60.0)),
    ];
    for target in TARGETS.iter().filter(|it| !it.peers.is_empty()) {
        assert!((target.value)(&sheet(all)).is_some(), "{}", target.name);
        for (peer, _) in all {
            let others = all.into_iter().filter(|(it, _)| *it != peer);
            let is_lost = (target.value)(&sheet(others)).is_none();
            assert_eq!(
                is_lost,
                target.peers.contains(&peer),
                "{}: {peer}",
                target.name
            );
        }
    }
}

#[test]
fn one_missed_target_counts_more_than_any_that_was_not_measured() {
    use Verdict::{Held, Missed, NotMeasured};
    assert_eq!(Verdict::of_all([Held, Held]), Held);
    assert_eq!(Verdict::of_all([Held, NotMeasured]), NotMeasured);
    assert_eq!(Verdict::of_all([Missed, NotMeasured, Held]), Missed);
    assert_eq!(Verdict::of_all([NotMeasured, Missed]), Missed);
}
