//! Builds small records of runs that never happened, for stories about the judge.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;
use velocitygate_chaos::load::Key;
use velocitygate_chaos::record::{
    Action, BreakerMove, BreakerState, Environment, Event, FaultAction, Header, Outcome, Phase,
    Record, Request, Sample, Source, VERSION, names,
};
use velocitygate_chaos::report::Report;
use velocitygate_chaos::scenario::{Hot, Scenario};

/// Requests that waited for an answer which never came.
const FAILED_WAITS: f64 = 10.0;

/// How a run went. [`Story::healthy`] is one in which all goes well; change what matters.
pub(crate) struct Story {
    pub(crate) scenario: Scenario,
    /// What a request due in each phase met: outcome and latency in microseconds.
    pub(crate) baseline: (Outcome, u64),
    pub(crate) fault: (Outcome, u64),
    pub(crate) recovery: (Outcome, u64),
    /// Requests due in a span that took longer: from and to in seconds, microseconds.
    pub(crate) slow: Option<(f64, f64, u64)>,
    /// What the scheduler said after one reading: when it was taken, milliseconds that a thread was
    /// kept waiting, milliseconds that the stack ran.
    pub(crate) scheduler: Option<(f64, f64, f64)>,
    /// The filter's longest pauses and when they began, milliseconds and seconds.
    pub(crate) waits: Vec<(f64, f64)>,
    /// What the hot key gets while its requests are counted, of what its limit lets through.
    pub(crate) hot_share: f64,
    /// Commands that Redis ran for each request of a known count.
    pub(crate) commands_each: f64,
    /// The generator's lateness of every request, microseconds.
    pub(crate) late_us: u64,
    /// Changes of the breaker: seconds, from, to.
    pub(crate) moves: Vec<(f64, BreakerState, BreakerState)>,
    pub(crate) failure: Option<String>,
}

impl Story {
    /// The scenario in a file of `chaos/scenarios`, and a run that upholds it.
    pub(crate) fn healthy(file: &str) -> Self {
        use BreakerState::{Closed, HalfOpen, Open};
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("scenarios")
            .join(file);
        let scenario = Scenario::parse(&fs::read_to_string(path).unwrap()).unwrap();
        let phases = &scenario.phases;
        let (fault_s, healed_s) = (phases.fault_at_s(), phases.recovery_at_s());
        let moves = vec![
            (fault_s + 0.1, Closed, Open),
            (healed_s + 0.2, Open, HalfOpen),
            (healed_s + 0.3, HalfOpen, Closed),
        ];
        Self {
            baseline: (Outcome::Counted, 1_000),
            fault: (Outcome::Uncounted, 900),
            recovery: (Outcome::Counted, 1_000),
            slow: None,
            scheduler: None,
            waits: vec![(51.0, fault_s)],
            hot_share: 1.0,
            commands_each: 1.0,
            late_us: 100,
            moves,
            failure: None,
            scenario,
        }
    }

    /// The record as it would lie on disk.
    pub(crate) fn text(&self) -> String {
        let mut lines = String::new();
        for event in self.events() {
            lines += &serde_json::to_string(&event).unwrap();
            lines.push('\n');
        }
        lines
    }

    /// The record judged.
    pub(crate) fn report(&self) -> Report {
        Report::of(&Record::parse(&self.text()).unwrap())
    }

    fn events(&self) -> Vec<Event> {
        let phases = &self.scenario.phases;
        let (fault_s, healed_s) = (phases.fault_at_s(), phases.recovery_at_s());
        let mut events = vec![header(&self.scenario.id), self.begin()];
        for (at_s, phase) in [
            (0.0, Phase::Warmup),
            (phases.baseline_at_s(), Phase::Baseline),
            (fault_s, Phase::Fault),
            (healed_s, Phase::Recovery),
        ] {
            events.push(Event::Phase { at_s, phase });
        }
        events.push(fault(fault_s, Action::Inject));
        events.push(fault(healed_s, Action::Heal));
        for (at_s, from, to) in &self.moves {
            let (at_s, from, to) = (*at_s, *from, *to);
            events.push(Event::Breaker(BreakerMove {
                at_s,
                from,
                to,
                reason: "told".into(),
            }));
        }
        let requests = self.requests();
        events.extend(self.samples(&requests));
        events.extend(requests.into_iter().map(Event::Request));
        events.push(Event::End {
            at_s: phases.end_at_s() + 0.5,
            failure: self.failure.clone(),
        });
        events
    }

    fn begin(&self) -> Event {
        Event::Scenario {
            text: self.scenario.text.clone(),
            started: "2026-01-31T12:00:00Z".into(),
            config_hash: "0".into(),
        }
    }

    fn requests(&self) -> Vec<Request> {
        let phases = &self.scenario.phases;
        let (fault_s, recovered_s) = (phases.fault_at_s(), phases.recovery_at_s() + 0.3);
        let plan = self.scenario.load.plan(phases.end_at_s());
        let mut bucket = self
            .scenario
            .load
            .hot
            .map(|hot| Bucket::new(hot, self.hot_share));
        plan.map(|arrival| {
            let (outcome, took_us) = match arrival.due_s {
                due_s if due_s < fault_s => self.baseline,
                due_s if due_s < recovered_s => self.fault,
                _ => self.recovery,
            };
            let slow = self.slow.filter(|it| (it.0..it.1).contains(&arrival.due_s));
            let took_us = slow.map_or(took_us, |it| it.2);
            let hot = arrival.key == Key::Hot;
            let refused = hot
                && outcome == Outcome::Counted
                && bucket.as_mut().is_some_and(|it| !it.admits(arrival.due_s));
            Request {
                due_s: arrival.due_s,
                late_us: self.late_us,
                // An answer comes after its request was sent.
                took_us: took_us.max(self.late_us),
                hot,
                outcome: if refused { Outcome::Refused } else { outcome },
            }
        })
        .collect()
    }

    /// Observers that agree with the client, ten times a second. The filter's calls stop at the
    /// breaker's first opening and go on after its last closing.
    fn samples(&self, requests: &[Request]) -> Vec<Event> {
        let mut events = Vec::new();
        let end_s = self.scenario.phases.end_at_s() + 0.1;
        for tick in 0_u32.. {
            let at_s = f64::from(tick) / 10.0;
            let done: Vec<&Request> = requests.iter().filter(|it| it.due_s < at_s).collect();
            let count = |wanted: fn(Outcome) -> bool| {
                done.iter().filter(|it| wanted(it.outcome)).count() as f64
            };
            let failed = done.iter().filter(|it| {
                !it.outcome.is_counted() && self.moves.first().is_none_or(|m| it.due_s < m.0)
            });
            let counted = count(|it| it == Outcome::Counted);
            let envoy = [
                ("decision.allowed", counted),
                ("decision.denied", count(|it| it == Outcome::Refused)),
                (
                    "decision.degraded_allow",
                    count(|it| it == Outcome::Uncounted),
                ),
                (
                    "decision.degraded_deny",
                    count(|it| it == Outcome::Unavailable),
                ),
                (
                    "decision.degraded_local_deny",
                    count(|it| it == Outcome::RefusedUncounted),
                ),
                ("redis_calls.ok", count(Outcome::is_counted)),
                ("redis_calls.timeout", failed.count() as f64),
                (names::COMPLETED, done.len() as f64),
                (names::WAITING, 3.0),
                (names::VM_RELOADS, 0.0),
            ];
            events.push(sample(at_s, Source::Envoy, &envoy));
            let redis = [
                (names::INSTANCE, 1.0),
                (names::EVAL_CALLS, 0.0),
                (
                    names::EVALSHA_CALLS,
                    count(Outcome::is_counted) * self.commands_each,
                ),
            ];
            events.push(sample(at_s, Source::Redis, &redis));
            let hits = count(Outcome::is_success);
            events.push(sample(at_s, Source::Upstream, &[(names::HITS, hits)]));
            let process = [
                (names::ENVOY_CPU_S, at_s * 0.3),
                (names::REDIS_CPU_S, at_s * 0.1),
                (names::ENVOY_THREADS, 9.0),
            ];
            let mut process = process.to_vec();
            if let Some((taken_s, kept_ms, ran_ms)) = self.scheduler
                && (taken_s - at_s).abs() < 0.05
            {
                process.push((names::KEPT_WAITING_MS, kept_ms));
                process.push((names::STACK_RAN_MS, ran_ms));
            }
            events.push(sample(at_s, Source::Process, &process));
            if at_s > end_s {
                break;
            }
        }
        let counted = requests.iter().filter(|it| it.outcome.is_counted()).count();
        let log = [(names::PAUSED, counted as f64 + FAILED_WAITS)];
        events.push(sample(end_s, Source::AccessLog, &log));
        for (wait_ms, at_s) in &self.waits {
            let wait = [(names::WAIT_US, wait_ms * 1e3), (names::WAIT_AT_S, *at_s)];
            events.push(sample(end_s, Source::AccessLog, &wait));
        }
        events
    }
}

/// The hot key's bucket, of which more or less may be let through than its limit says.
struct Bucket {
    hot: Hot,
    share: f64,
    tokens: f64,
    at_s: f64,
}

impl Bucket {
    fn new(hot: Hot, share: f64) -> Self {
        let (tokens, at_s) = (hot.limit.burst, 0.0);
        Self {
            hot,
            share,
            tokens,
            at_s,
        }
    }

    fn admits(&mut self, now_s: f64) -> bool {
        let refilled = (now_s - self.at_s) * self.hot.limit.rate * self.share;
        self.tokens = (self.tokens + refilled).min(self.hot.limit.burst);
        self.at_s = now_s;
        let admits = self.tokens >= 1.0;
        self.tokens -= f64::from(admits);
        admits
    }
}

fn header(planned: &str) -> Event {
    let environment = Environment {
        commit: "0123abc".into(),
        stack: "native".into(),
        cores: 2,
        versions: BTreeMap::from([("Envoy".to_owned(), "1.40.0".to_owned())]),
    };
    Event::Header(Header {
        version: VERSION,
        run_id: "CHAOS-20260131-001".into(),
        planned: vec![planned.to_owned()],
        environment,
    })
}

fn fault(at_s: f64, action: Action) -> Event {
    Event::Fault(FaultAction {
        at_s,
        action,
        fault: "told".into(),
        // As many as a flap of the shipped scenarios makes; other faults have none to look at.
        read_back: json!({ "toggles": vec![(at_s, true); 80] }),
    })
}

fn sample(at_s: f64, source: Source, values: &[(&str, f64)]) -> Event {
    let values = values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect();
    Event::Sample(Sample {
        at_s,
        source,
        values,
    })
}
