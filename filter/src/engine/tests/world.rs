//! A worker, a network that loses what it is told to lose, and a Redis that is a map.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::breaker::{self, Breaker, State};
use crate::bridge::{Downstream, REPLIES_HEADER, Session};
use crate::census::Census;
use crate::config::Config;
use crate::decision::Decision;
use crate::engine::{Action, CallEnd, Effect, Engine, OutgoingCall, Step, StreamId, Verdict};
use crate::limit::{self, Limit, SCRIPT, TokenBucket, Window, charge_all};
use crate::matching::Request;
use crate::metrics::Metric;
use crate::resp::{self, Reply, encode};
use crate::testing::{Cell, FakeHost};
use crate::units::{Instant, Micros, RedisTime};

/// The script on a map. Counts the commands it is sent.
#[derive(Debug, Default)]
pub(super) struct ModelRedis {
    states: BTreeMap<Vec<u8>, limit::State>,
    pub(super) knows_script: bool,
    pub(super) evals: u32,
    pub(super) evalshas: u32,
    /// Requests it admitted.
    pub(super) admitted: u64,
    /// Answered to every command instead of a charge.
    pub(super) error: Option<&'static str>,
    /// Every key lives in a slot of its own.
    pub(super) cluster: bool,
    /// Keys that hold somebody else's value.
    pub(super) poisoned: Vec<Vec<u8>>,
}

impl ModelRedis {
    /// Somebody deletes all keys.
    pub(super) fn forget(&mut self) {
        self.states.clear();
    }

    /// Whether the bucket of `key` under the only rule, `r`, has a token.
    pub(super) fn has_room(&self, key: &str, requests: u32, burst: u32, now: Instant) -> bool {
        let limit = Limit::TokenBucket(TokenBucket {
            requests: requests.into(),
            per: Micros::from_secs(1),
            burst: burst.into(),
        });
        let key = format!("vg:{{r:{key}}}:tb").into_bytes();
        let mut state = self.states.get(&key).cloned().unwrap_or_default();
        charge_all(&mut [(limit, &mut state, 1)], 1, RedisTime(now.0)).admitted == 1
    }

    pub(super) fn run(&mut self, call: &OutgoingCall, now: Instant) -> Vec<u8> {
        let commands = resp::decode_commands(&call.body, call.replies).expect("whole commands");
        commands
            .iter()
            .flat_map(|command| self.command(&args(command), now))
            .collect()
    }

    fn command(&mut self, args: &[&[u8]], now: Instant) -> Vec<u8> {
        match args[0] {
            b"EVAL" => {
                assert_eq!(args[1], SCRIPT.body.as_bytes());
                self.evals += 1;
                self.knows_script = true;
            }
            b"EVALSHA" => {
                assert_eq!(args[1], SCRIPT.sha1.as_bytes());
                self.evalshas += 1;
                if !self.knows_script && self.error.is_none() {
                    return b"-NOSCRIPT No matching script.\r\n".to_vec();
                }
            }
            other => panic!("unexpected command {other:?}"),
        }
        if let Some(error) = self.error {
            return format!("-{error}\r\n").into_bytes();
        }
        let number = |bytes: &[u8]| -> u64 { str::from_utf8(bytes).unwrap().parse().unwrap() };
        let (keys, numbers) = args[3..].split_at(number(args[2]) as usize);
        if self.cluster && keys.len() > 1 {
            return b"-CROSSSLOT Keys in request don't hash to the same slot\r\n".to_vec();
        }
        if keys
            .iter()
            .any(|key| self.poisoned.iter().any(|poisoned| poisoned == key))
        {
            return b"-WRONGTYPE Operation against a key\r\n".to_vec();
        }
        let mut states: Vec<limit::State> = keys
            .iter()
            .map(|key| self.states.get(*key).cloned().unwrap_or_default())
            .collect();
        let [operation, count, rules @ ..] = numbers else {
            panic!("{numbers:?}")
        };
        assert_eq!(*operation, b"charge");
        let mut rules: Vec<(Limit, &mut limit::State, u64)> = rules
            .chunks(5)
            .zip(&mut states)
            .map(|(rule, state)| {
                let [requests, per, burst, cost] = [1, 2, 3, 4].map(|i| number(rule[i]));
                let per = Micros(per);
                let window = Window { requests, per };
                let limit = match rule[0] {
                    b"fw" => Limit::FixedWindow(window),
                    b"sw" => Limit::SlidingWindow(window),
                    b"sl" => Limit::SlidingLog(window),
                    b"tb" => Limit::TokenBucket(TokenBucket {
                        requests,
                        per,
                        burst,
                    }),
                    other => panic!("{other:?}"),
                };
                (limit, state, cost)
            })
            .collect();
        let charge = charge_all(&mut rules, number(count), RedisTime(now.0));
        self.states
            .extend(keys.iter().map(|key| key.to_vec()).zip(states));
        self.admitted += charge.admitted;
        let mut reply = vec![charge.admitted, charge.now.0];
        reply.extend(
            charge
                .rules
                .iter()
                .flat_map(|s| [s.remaining, s.retry.0, s.reset.0]),
        );
        let items: String = reply.iter().map(|n| format!(":{n}\r\n")).collect();
        format!("*{}\r\n{items}", reply.len()).into_bytes()
    }
}

fn args<'a>(command: &'a Reply<'a>) -> Vec<&'a [u8]> {
    let Reply::Array(Some(items)) = command else {
        panic!("a command is an array")
    };
    let bulk = |item: &Reply<'a>| match item {
        Reply::Bulk(Some(bytes)) => *bytes,
        other => panic!("a command holds bulk strings only, not {other:?}"),
    };
    items.iter().map(bulk).collect()
}

pub(super) struct World {
    pub(super) engine: Engine<Cell>,
    pub(super) redis: ModelRedis,
    pub(super) now: Instant,
    /// Calls under way.
    pub(super) calls: Vec<OutgoingCall>,
    pub(super) wakes: u32,
    /// Every end of a wait, in order.
    pub(super) finished: Vec<(StreamId, Verdict)>,
    /// What was decided without a wait.
    pub(super) at_once: Vec<(StreamId, Verdict)>,
    pub(super) counts: BTreeMap<String, i64>,
    pub(super) moves: Vec<String>,
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
            redis: ModelRedis {
                knows_script: true,
                ..ModelRedis::default()
            },
            now: Instant(1_800_000_000_000_000),
            calls: Vec::new(),
            wakes: 0,
            finished: Vec::new(),
            at_once: Vec::new(),
            counts: BTreeMap::new(),
            moves: Vec::new(),
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
        self.engine.tick(self.now);
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

    pub(super) fn field(&self, stream: StreamId, name: &str) -> Option<String> {
        let verdict = self.verdict(stream);
        let fields = match verdict.action {
            Action::Pass(fields) => fields,
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
                Effect::Finish(stream, verdict) => self.finished.push((stream, verdict)),
                Effect::Add(metric, n) => *self.counts.entry(self.name(metric)).or_default() += n,
                Effect::Record(..) => {}
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
