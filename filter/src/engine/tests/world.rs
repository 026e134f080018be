//! A worker, a network that loses what it is told to lose, and a Redis that is a map.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::model_redis::ModelRedis;
use crate::breaker::{self, Breaker, State};
use crate::bridge::{Downstream, REPLIES_HEADER, Session};
use crate::census::Census;
use crate::config::Config;
use crate::decision::Decision;
use crate::engine::{Action, CallEnd, Effect, Engine, OutgoingCall, Step, StreamId, Verdict};
use crate::matching::Request;
use crate::metrics::Metric;
use crate::resp::encode;
use crate::testing::{Cell, FakeHost};
use crate::units::{Instant, Micros};

pub(super) struct World {
    pub(super) engine: Engine<Cell>,
    pub(super) redis: ModelRedis,
    /// The worker's own clock.
    pub(super) now: Instant,
    /// How far the clock that all workers share is behind it.
    pub(super) shared_behind: Micros,
    /// Calls under way.
    pub(super) calls: Vec<OutgoingCall>,
    pub(super) wakes: u32,
    /// Every end of a wait, in order.
    pub(super) finished: Vec<(StreamId, Verdict)>,
    /// What was decided without a wait.
    pub(super) at_once: Vec<(StreamId, Verdict)>,
    pub(super) counts: BTreeMap<String, i64>,
    /// What gauges were set to and histograms were told, in order.
    records: BTreeMap<String, Vec<u64>>,
    pub(super) moves: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl World {
    pub(super) fn new(config: &str) -> Self {
        Self::worker_of(config, Cell::default())
    }

    pub(super) fn worker_of(config: &str, cell: Cell) -> Self {
        let config = Rc::new(Config::parse(config.as_bytes()).expect("a good configuration"));
        let census = Census::new(Cell::default(), 7);
        let breaker = config.breaker.map_or(Breaker::Off, |settings| {
            let probe_timeout = Micros::from_millis(110);
            Breaker::on(
                breaker::Settings {
                    breaker: settings,
                    probe_timeout,
                },
                cell,
                7,
            )
        });
        Self {
            engine: Engine::new(config, breaker, census),
            redis: ModelRedis::scripted(),
            now: Instant(1_800_000_000_000_000),
            shared_behind: Micros::ZERO,
            calls: Vec::new(),
            wakes: 0,
            finished: Vec::new(),
            at_once: Vec::new(),
            counts: BTreeMap::new(),
            records: BTreeMap::new(),
            moves: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// A request with this `x-api-key`; `None` when it has to wait.
    pub(super) fn request(&mut self, stream: StreamId, key: &str) -> Option<Verdict> {
        self.request_with(stream, &[("x-api-key", key)])
    }

    pub(super) fn request_with(
        &mut self,
        stream: StreamId,
        headers: &[(&str, &str)],
    ) -> Option<Verdict> {
        let host = FakeHost::with_headers(headers);
        let step = self.engine.request(stream, &Request::new(&host), self.now);
        self.drain();
        match step {
            Step::Done(verdict) => {
                self.at_once.push((stream, verdict.clone()));
                Some(verdict)
            }
            Step::Wait => None,
            Step::Pass => panic!("no rule applies"),
        }
    }

    pub(super) fn turn(&mut self) {
        self.engine.turn(self.now);
        self.drain();
    }

    pub(super) fn tick(&mut self, later: Micros) {
        self.now = self.now + later;
        let shared = Instant(self.now.0.saturating_sub(self.shared_behind.0));
        self.engine.tick(self.now, shared);
        self.drain();
    }

    /// The engine is about to go.
    pub(super) fn retire(&mut self) {
        self.engine.retire(self.now);
        self.drain();
    }

    /// Redis answers the oldest call.
    pub(super) fn deliver(&mut self) {
        let call = self.calls.remove(0);
        let bytes = self.redis.run(&call, self.now);
        self.end(&call, CallEnd::Replied(&bytes));
    }

    /// The oldest call ends in some other way.
    pub(super) fn fail(&mut self, end: CallEnd<'_>) {
        let call = self.calls.remove(0);
        self.end(&call, end);
    }

    pub(super) fn end(&mut self, call: &OutgoingCall, end: CallEnd<'_>) {
        self.engine.call_ended(call.id, end, self.now);
        self.drain();
    }

    /// A request that is decided by Redis at once.
    pub(super) fn round_trip(&mut self, stream: StreamId, key: &str) -> Decision {
        if let Some(verdict) = self.request(stream, key) {
            return verdict.decision;
        }
        self.turn();
        while !self.calls.is_empty() {
            self.deliver();
        }
        self.verdict(stream).decision
    }

    pub(super) fn verdict(&self, stream: StreamId) -> Verdict {
        let ended = self.finished.iter().chain(&self.at_once);
        let mut of_stream = ended.filter(|(id, _)| *id == stream);
        let verdict = of_stream.next().expect("the request ended").1.clone();
        assert_eq!(of_stream.count(), 0, "a request ends once");
        verdict
    }

    pub(super) fn decisions(&self) -> Vec<(StreamId, Decision)> {
        self.finished
            .iter()
            .map(|(stream, verdict)| (*stream, verdict.decision))
            .collect()
    }

    pub(super) fn count(&self, name: &str) -> i64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    /// What was recorded under this name, in order.
    pub(super) fn recorded(&self, name: &str) -> &[u64] {
        self.records.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn field(&self, stream: StreamId, name: &str) -> Option<String> {
        let verdict = self.verdict(stream);
        let fields = match verdict.action {
            Action::Pass(fields) => fields
                .into_iter()
                .map(|(name, value)| (name.into(), value))
                .collect(),
            Action::Refuse(answer) => answer.headers,
        };
        fields
            .into_iter()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value)
    }

    /// Opens the breaker by letting calls time out.
    pub(super) fn open_the_breaker(&mut self) {
        for stream in 10_000..10_020 {
            if self.request(stream, "any").is_none() {
                self.turn();
                self.fail(CallEnd::TimedOut);
            }
        }
        assert!(
            self.moves
                .iter()
                .any(|line| line.starts_with("breaker closed -> open"))
        );
        self.finished.clear();
        self.moves.clear();
    }

    fn drain(&mut self) {
        for effect in self.engine.take_effects() {
            match effect {
                Effect::Wake => self.wakes += 1,
                Effect::Call(call) => {
                    assert_bridge_takes(&call);
                    self.calls.push(call);
                }
                Effect::Warn(line) => self.warnings.push(line),
                Effect::Finish(stream, verdict) => self.finished.push((stream, verdict)),
                Effect::Add(metric, n) => *self.counts.entry(self.name(metric)).or_default() += n,
                Effect::Record(metric, value) => {
                    self.records
                        .entry(self.name(metric))
                        .or_default()
                        .push(value);
                }
                Effect::Moved(transition) => {
                    assert_ne!(transition.from, transition.to);
                    if transition.to == State::Closed {
                        assert_eq!(transition.from, State::HalfOpen, "I7");
                    }
                    self.moves.push(transition.to_string());
                }
            }
        }
    }

    fn name(&self, metric: Metric) -> String {
        metric
            .name(|_| "rule")
            .trim_start_matches("velocitygate_")
            .to_owned()
    }
}

/// Whatever the engine sends must pass the bridge.
fn assert_bridge_takes(call: &OutgoingCall) {
    let (replies, length) = (call.replies, call.body.len());
    let head = format!(
        "POST / HTTP/1.1\r\nhost: v\r\n{REPLIES_HEADER}: {replies}\r\ncontent-length: {length}\r\n\r\n"
    );
    let taken = Session::default().on_downstream(&[head.as_bytes(), &call.body].concat());
    assert!(matches!(taken, Downstream::Forward(_)), "{taken:?}");
}

/// The reply to a single command, as bytes.
pub(super) fn reply(numbers: &[i64]) -> Vec<u8> {
    let items: String = numbers.iter().map(|n| format!(":{n}\r\n")).collect();
    format!("*{}\r\n{items}", numbers.len()).into_bytes()
}

/// RESP that is no answer of the script.
pub(super) fn command(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode::command(
        &mut bytes,
        &parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>(),
    );
    bytes
}
