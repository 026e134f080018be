//! What the root and the requests of one worker share: the engine, and the host's numbers for
//! things the engine knows by other names.

use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;
use proxy_wasm::hostcalls;
use proxy_wasm::types::LogLevel;

use super::clock::{self, Clock};
use super::host::{self, SharedData};
use super::metrics;
use crate::breaker::{self, Breaker, State};
use crate::census::{self, Census};
use crate::config::Config;
use crate::engine::{Action, CallEnd, CallId, Effect, Engine, OutgoingCall, StreamId, Verdict};
use crate::metrics::Metric;
use crate::units::{Instant, Micros};

/// Header of a call: how many RESP replies its body asks for.
pub(super) use crate::bridge::REPLIES_HEADER;

pub(super) type SharedLimiter = Rc<RefCell<Limiter>>;

/// Fields to add to a response.
pub(super) type Fields = Vec<(&'static str, String)>;

pub(super) struct Limiter {
    pub(super) config: Rc<Config>,
    pub(super) engine: Engine<SharedData>,
    clock: Clock,
    root_context: u32,
    queue: u32,
    metrics: HashMap<Metric, u32>,
    calls: HashMap<u32, CallId>,
    /// Fields for the responses of requests that passed.
    passed: HashMap<StreamId, Fields>,
    tick_period: Option<Micros>,
    /// The host waits for leave to delete the root.
    retiring: bool,
}

impl Limiter {
    /// Sets up everything that costs a lookup by name in the host, once. `None` when the host has
    /// no queue for it, without which no batch would ever be sent.
    pub(super) fn new(config: Config, root_context: u32) -> Option<Self> {
        let config = Rc::new(config);
        // A name of its own: the host wakes whoever registered a queue's name last.
        let name = format!("velocitygate.turn.{:016x}", host::random());
        let queue = hostcalls::register_shared_queue(&name).ok()?;
        Some(Self {
            engine: Engine::new(Rc::clone(&config), breaker(&config), census()),
            metrics: metrics::define_all(&config),
            config,
            clock: Clock::start(),
            root_context,
            queue,
            calls: HashMap::new(),
            passed: HashMap::new(),
            tick_period: None,
            retiring: false,
        })
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The engine's name for a call that the host reports; once.
    pub(super) fn take_call(&mut self, token: u32) -> Option<CallId> {
        self.calls.remove(&token)
    }

    /// The fields that the response to a request gets; once.
    pub(super) fn take_fields(&mut self, stream: StreamId) -> Option<Fields> {
        self.passed.remove(&stream)
    }

    /// Ticks at the pace that the engine asks for. A faster pace is taken up at once, a slower one
    /// only at a tick (`may_slow_down`): setting it costs the host a new timer, and a busy worker
    /// would do so twice a request. VMs that serve no traffic (Envoy configures some) never come
    /// here: they never tick, never probe, and publish nothing.
    fn keep_pace(&mut self, may_slow_down: bool) {
        let wanted = self.engine.tick_period();
        let change = match self.tick_period {
            None => true,
            Some(current) => wanted < current || (may_slow_down && wanted > current),
        };
        if change {
            self.tick_period = Some(wanted);
            let _ = hostcalls::set_tick_period(Duration::from_micros(wanted.0));
        }
    }

    /// Time passed.
    pub(super) fn tick(&mut self) {
        let now = self.now();
        self.engine.tick(now, clock::wall());
        carry_out(self);
        self.keep_pace(true);
    }

    /// The configuration was replaced, and the last stream is gone. Tells whether the root may be
    /// deleted at once; if not, [`Limiter::let_go`] tells the host when.
    pub(super) fn retire(&mut self) -> bool {
        // One that never ticked never served anybody, and publishes nothing.
        if self.tick_period.is_some() {
            let now = self.now();
            self.engine.retire(now);
            carry_out(self);
            self.retiring = !self.engine.is_settled();
            if !self.retiring {
                stop_ticking();
            }
        }
        !self.retiring
    }

    /// Lets the host delete a root that retires. Once: the SDK makes a trap of a second time.
    pub(super) fn let_go(&mut self) {
        if self.retiring && self.engine.is_settled() {
            self.retiring = false;
            let _ = hostcalls::set_effective_context(self.root_context);
            stop_ticking();
            let _ = hostcalls::done();
        }
    }

    fn metric(&self, metric: Metric) -> Option<u32> {
        self.metrics.get(&metric).copied()
    }

    fn dispatch(&mut self, call: &OutgoingCall) -> bool {
        let _ = hostcalls::set_effective_context(self.root_context);
        let replies = call.replies.to_string();
        let headers = vec![
            (":method", "POST"),
            (":path", "/"),
            (":authority", "velocitygate"),
            (REPLIES_HEADER, replies.as_str()),
        ];
        let timeout = Duration::from_micros(call.timeout.0);
        let cluster = &self.config.redis.cluster;
        match hostcalls::dispatch_http_call(cluster, headers, Some(&call.body), vec![], timeout) {
            Ok(token) => {
                self.calls.insert(token, call.id);
                true
            }
            Err(_) => false,
        }
    }

    /// Carries out one effect. A call that could not be sent ends at once.
    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Wake => {
                let _ = hostcalls::enqueue_shared_queue(self.queue, Some(b"."));
            }
            Effect::Call(call) => {
                if !self.dispatch(&call) {
                    let now = self.now();
                    self.engine.call_ended(call.id, CallEnd::Unreachable, now);
                }
            }
            Effect::Finish(stream, verdict) => {
                if hostcalls::set_effective_context(stream).is_ok()
                    && self.conclude(stream, verdict) == Fate::Passes
                {
                    let _ = hostcalls::resume_http_request();
                }
            }
            Effect::Add(metric, n) => {
                if let Some(id) = self.metric(metric) {
                    let _ = hostcalls::increment_metric(id, n);
                }
            }
            Effect::Record(metric, value) => {
                if let Some(id) = self.metric(metric) {
                    let _ = hostcalls::record_metric(id, value);
                }
            }
            Effect::Moved(transition) => {
                let level = if transition.to == State::Open {
                    LogLevel::Warn
                } else {
                    LogLevel::Info
                };
                let _ = hostcalls::log(level, &transition.to_string());
            }
            Effect::Warn(line) => {
                let _ = hostcalls::log(LogLevel::Warn, &line);
            }
        }
    }

    /// Notes a verdict on the current stream, and answers it here when it is refused.
    pub(super) fn conclude(&mut self, stream: StreamId, verdict: Verdict) -> Fate {
        let rule = self.config.rules.get(usize::from(verdict.rule));
        let rule = rule.map_or("", |rule| rule.name.as_str());
        let wait = verdict.waited.0.to_string();
        for (name, value) in [
            ("velocitygate_decision", verdict.decision.as_str()),
            ("velocitygate_rule", rule),
            ("velocitygate_wait_us", wait.as_str()),
        ] {
            let _ = hostcalls::set_property(vec![name], Some(value.as_bytes()));
        }
        match verdict.action {
            Action::Pass(fields) => {
                if !fields.is_empty() {
                    self.passed.insert(stream, fields);
                }
                Fate::Passes
            }
            Action::Refuse(answer) => {
                super::http::send(&answer);
                Fate::Answered
            }
        }
    }
}

/// The host's timer of a root outlives the root: left alone, it fires for the life of the VM.
fn stop_ticking() {
    let _ = hostcalls::set_tick_period(Duration::ZERO);
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    Answered,
}

/// The limiter, for one event. The host defers whatever could call back into the VM meanwhile, so
/// it is never taken already; if it ever is, the log tells that an event was lost.
pub(super) fn borrow(limiter: &SharedLimiter) -> Option<RefMut<'_, Limiter>> {
    let borrowed = limiter.try_borrow_mut();
    borrowed
        .inspect_err(|_| log::error!("event lost: the limiter is at work"))
        .ok()
}

/// Carries out what the engine asks for, until it asks for nothing more, and keeps its pace.
pub(super) fn carry_out(limiter: &mut Limiter) {
    loop {
        let effects = limiter.engine.take_effects();
        if effects.is_empty() {
            break;
        }
        for effect in effects {
            limiter.perform(effect);
        }
    }
    limiter.keep_pace(false);
}

fn breaker(config: &Config) -> Breaker<SharedData> {
    let Some(settings) = config.breaker else {
        return Breaker::Off;
    };
    // Time for a probe that meets NOSCRIPT, so becomes two calls, and for a tick to notice.
    let probe_timeout = config.redis.timeout.saturating_mul(2) + Micros::from_millis(10);
    let settings = breaker::Settings {
        breaker: settings,
        probe_timeout,
    };
    let cell = SharedData {
        key: breaker::shared_key(&config.redis.cluster),
    };
    Breaker::on(settings, cell, host::random())
}

fn census() -> Census<SharedData> {
    let key = census::SHARED_KEY.into();
    Census::new(SharedData { key }, host::random())
}
