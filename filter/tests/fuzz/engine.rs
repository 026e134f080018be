//! The engine whole: events in any order, a store that lies, shared data that others spoil.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use proptest::prelude::*;
use proptest::sample::select;
use velocitygate::breaker::{self, Breaker, SharedCell};
use velocitygate::bridge::{MAX_BODY_BYTES, MAX_REPLIES};
use velocitygate::census::Census;
use velocitygate::config::Config;
use velocitygate::engine::{
    Action, CallEnd, Effect, Engine, OutgoingCall, Step, StreamId, Verdict,
};
use velocitygate::matching::{Host, Request};
use velocitygate::resp::{self, Reply};
use velocitygate::units::{Instant, Micros};

use crate::harness::{fuzz, within};
use crate::replies;

const RULES: [&str; 3] = [
    r#"{ "redis": { "max_waiting": 8 }, "rules": [
        { "name": "key", "key": [{ "header": "x" }], "limit": { "requests": 5, "per": "1s" }, "on_failure": "local" },
        { "name": "log", "key": [{ "header": "x" }], "limit": { "requests": 9, "per": "1s", "algorithm": "sliding_log" } },
        { "name": "trial", "shadow": true, "limit": { "requests": 20, "per": "1s", "algorithm": "fixed_window" } } ] }"#,
    r#"{ "breaker": "off", "rules": [
        { "name": "demanded", "key": [{ "header": "x" }], "missing_key": "deny", "on_failure": "deny",
          "limit": { "requests": 5, "per": "1m", "algorithm": "sliding_window" } },
        { "name": "peek", "cost": 0, "limit": { "requests": 5, "per": "1m" } } ] }"#,
    r#"{ "breaker": { "minimum_calls": 1, "window": 2 }, "rules": [
        { "name": "leased", "key": [{ "header": "x" }], "limit": { "requests": 100, "per": "1s" },
          "lease": { "max": 10, "ttl": "100ms" } } ] }"#,
];

/// Memory of some dozens of requests with keys of at most some hundred bytes, and of their calls.
const HELD_BYTES: usize = 16 << 20;

#[derive(Clone, Debug)]
enum Event {
    Request(Option<u8>),
    Turn,
    /// The oldest or the newest call is answered, in the right form, with these numbers.
    Numbers(bool, Vec<i64>),
    /// With anything.
    Bytes(bool, Vec<u8>),
    /// With one error for each command.
    Error(bool, &'static str),
    TimedOut,
    Unreachable,
    Malformed,
    Late,
    Forgotten,
    Gone(u8),
    Tick(u32),
    /// Somebody writes this over the shared data.
    Spoilt(Option<Vec<u8>>),
    /// So many writes to it are lost.
    Contended(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let number = prop_oneof![
        6 => 0i64..12,
        2 => 0i64..100_000_000,
        1 => select(&[-1, i64::MAX, i64::MIN, 1 << 53][..]),
    ];
    let numbers = prop::collection::vec(number, 1..12);
    let error = select(
        &[
            "OOM x",
            "NOSCRIPT x",
            "CROSSSLOT x",
            "WRONGTYPE x",
            "READONLY",
            "",
            "MOVED 1 a:1",
        ][..],
    );
    prop_oneof![
        8 => prop::option::weighted(0.9, 0u8..6).prop_map(Event::Request),
        6 => Just(Event::Turn),
        8 => (any::<bool>(), numbers).prop_map(|(oldest, numbers)| Event::Numbers(oldest, numbers)),
        2 => (any::<bool>(), replies::bytes()).prop_map(|(oldest, bytes)| Event::Bytes(oldest, bytes)),
        2 => (any::<bool>(), error).prop_map(|(oldest, error)| Event::Error(oldest, error)),
        1 => select(&[Event::TimedOut, Event::Unreachable, Event::Malformed, Event::Late, Event::Forgotten][..]),
        1 => any::<u8>().prop_map(Event::Gone),
        4 => prop_oneof![4 => 0u32..30, 1 => any::<u32>()].prop_map(Event::Tick),
        1 => prop::option::of(prop::collection::vec(any::<u8>(), 0..300)).prop_map(Event::Spoilt),
        1 => (0u32..20).prop_map(Event::Contended),
    ]
}

/// Shared data whose writes get lost.
#[derive(Clone, Debug, Default)]
struct Cell(Rc<RefCell<(Versioned, u32)>>);

type Versioned = Option<(Vec<u8>, u32)>;

impl SharedCell for Cell {
    fn load(&mut self) -> Option<(Vec<u8>, u32)> {
        self.0.borrow().0.clone()
    }

    fn store(&mut self, bytes: &[u8], cas: u32) -> bool {
        let (held, contended) = &mut *self.0.borrow_mut();
        let version = held.as_ref().map_or(0, |(_, version)| *version);
        if *contended > 0 || (version != 0 && cas != 0 && cas != version) {
            *contended = contended.saturating_sub(1);
            return false;
        }
        *held = Some((bytes.to_vec(), version + 1));
        true
    }
}

struct Keyed(Option<u8>);

impl Host for Keyed {
    fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let value = |key: u8| vec![key; usize::from(key) * 40 + 1];
        self.0
            .map(|key| ("x".to_owned(), value(key)))
            .into_iter()
            .collect()
    }

    fn property(&self, _: &[String]) -> Option<Vec<u8>> {
        None
    }
}

struct World {
    engine: Engine<Cell>,
    cells: [Cell; 2],
    now: Instant,
    next: StreamId,
    max_waiting: usize,
    waiting: BTreeSet<StreamId>,
    calls: Vec<OutgoingCall>,
    ended: Vec<OutgoingCall>,
}

impl World {
    fn new(config: &Rc<Config>) -> Self {
        let cells = [Cell::default(), Cell::default()];
        let breaker = config.breaker.map_or(Breaker::Off, |breaker| {
            let probe_timeout = config.redis.timeout.saturating_mul(2);
            let settings = breaker::Settings {
                breaker,
                probe_timeout,
            };
            Breaker::on(settings, cells[0].clone(), 7)
        });
        let census = Census::new(cells[1].clone(), 7);
        Self {
            engine: Engine::new(Rc::clone(config), breaker, census),
            cells,
            now: Instant(1_800_000_000_000_000),
            next: 1,
            max_waiting: config.redis.max_waiting,
            waiting: BTreeSet::new(),
            calls: Vec::new(),
            ended: Vec::new(),
        }
    }

    fn play(&mut self, event: &Event) {
        match event {
            Event::Request(key) => self.request(*key),
            Event::Turn => self.engine.turn(self.now),
            Event::Tick(ms) => {
                self.now = self.now + Micros::from_millis((*ms).into());
                self.engine.tick(self.now, self.now);
            }
            Event::Gone(stream) => {
                let stream = StreamId::from(*stream) % self.next;
                self.waiting.remove(&stream);
                self.engine.stream_ended(stream);
            }
            Event::Spoilt(bytes) => {
                let spoilt = bytes.clone().map(|bytes| (bytes, 77));
                self.cells
                    .iter()
                    .for_each(|cell| cell.0.borrow_mut().0 = spoilt.clone());
            }
            Event::Contended(times) => {
                self.cells
                    .iter()
                    .for_each(|cell| cell.0.borrow_mut().1 = *times);
            }
            Event::Late => {
                for call in &self.ended {
                    self.engine
                        .call_ended(call.id, CallEnd::Replied(b"*5\r\n"), self.now);
                }
            }
            Event::Forgotten => drop(self.calls.pop()),
            Event::TimedOut => self.end(true, |_| Err(CallEnd::TimedOut)),
            Event::Unreachable => self.end(true, |_| Err(CallEnd::Unreachable)),
            Event::Malformed => self.end(true, |_| Err(CallEnd::Malformed)),
            Event::Bytes(oldest, bytes) => self.end(*oldest, |_| Ok(bytes.clone())),
            Event::Error(oldest, error) => self.end(*oldest, |call| {
                Ok(format!("-{error}\r\n").repeat(call.replies).into_bytes())
            }),
            Event::Numbers(oldest, numbers) => self.end(*oldest, |call| Ok(answer(call, numbers))),
        }
        self.settle();
    }

    fn request(&mut self, key: Option<u8>) {
        let stream = self.next;
        self.next += 1;
        match self
            .engine
            .request(stream, &Request::new(&Keyed(key)), self.now)
        {
            Step::Pass => {}
            Step::Wait => drop(self.waiting.insert(stream)),
            Step::Done(verdict) => check(&verdict),
        }
    }

    fn end(
        &mut self,
        oldest: bool,
        reply: impl FnOnce(&OutgoingCall) -> Result<Vec<u8>, CallEnd<'static>>,
    ) {
        if self.calls.is_empty() {
            return;
        }
        let last = self.calls.len() - 1;
        let call = self.calls.remove(if oldest { 0 } else { last });
        match reply(&call) {
            Ok(bytes) => self
                .engine
                .call_ended(call.id, CallEnd::Replied(&bytes), self.now),
            Err(end) => self.engine.call_ended(call.id, end, self.now),
        }
        self.ended.push(call);
    }

    /// Carries the effects out, and holds what must be true of them.
    fn settle(&mut self) {
        for effect in self.engine.take_effects() {
            match effect {
                Effect::Finish(stream, verdict) => {
                    assert!(self.waiting.remove(&stream), "{stream} does not wait");
                    check(&verdict);
                }
                Effect::Call(call) => {
                    assert!(call.body.len() <= MAX_BODY_BYTES && call.replies <= MAX_REPLIES);
                    assert!(resp::are_commands(&call.body, call.replies));
                    assert!(call.timeout >= Micros::from_millis(1));
                    self.calls.push(call);
                }
                Effect::Moved(moved) => assert_ne!(moved.from, moved.to),
                Effect::Warn(line) => assert!(line.len() <= 400 && !line.contains('\n')),
                Effect::Add(metric, n) => assert!(n >= 0, "{metric:?} falls by {n}"),
                Effect::Wake | Effect::Record(..) => {}
            }
        }
        assert_eq!(self.engine.waiting(), self.waiting.len());
        assert!(self.waiting.len() <= self.max_waiting);
    }
}

fn check(verdict: &Verdict) {
    if let Action::Refuse(answer) = &verdict.action {
        assert!([429, 503].contains(&answer.status), "{}", answer.status);
        assert!(answer.body.len() <= 4_096);
    }
}

/// An array of the right length for each command, of these numbers in turn.
fn answer(call: &OutgoingCall, numbers: &[i64]) -> Vec<u8> {
    let mut numbers = numbers.iter().cycle();
    let commands = resp::decode_commands(&call.body, call.replies).unwrap();
    let mut bytes = Vec::new();
    for command in commands {
        let Reply::Array(Some(words)) = command else {
            panic!("{command:?}");
        };
        let word = |place: usize| match words[place] {
            Reply::Bulk(Some(word)) => str::from_utf8(word).unwrap(),
            _ => panic!("{words:?}"),
        };
        let keys: usize = word(2).parse().unwrap();
        let fields = match word(3 + keys) {
            "charge" => 2 + 3 * keys,
            _ => keys,
        };
        bytes.extend(format!("*{fields}\r\n").into_bytes());
        for number in numbers.by_ref().take(fields) {
            bytes.extend(format!(":{number}\r\n").into_bytes());
        }
    }
    bytes
}

#[test]
fn fuzz_engine() {
    let configs = RULES.map(|rules| Rc::new(Config::parse(rules.as_bytes()).unwrap()));
    let events = prop::collection::vec(event(), 1..150);
    fuzz(
        "engine",
        150,
        &(0..configs.len(), events),
        |(config, events)| {
            let config = &configs[config];
            within(HELD_BYTES, || {
                let mut world = World::new(config);
                events.iter().for_each(|event| world.play(event));
                // Time ends every wait, whatever became of the calls.
                world.now = world.now + Micros::from_secs(2);
                world.play(&Event::Tick(0));
                world.play(&Event::Tick(config.redis.timeout.whole_millis() as u32));
                assert!(
                    world.waiting.is_empty(),
                    "{:?} wait for ever",
                    world.waiting
                );
            });
        },
    );
}
