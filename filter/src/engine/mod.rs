//! The life of a request, without a host.
//!
//! The shell tells the engine what happened: a request came ([`Engine::request`]), the event loop
//! turned ([`Engine::turn`]), a call ended ([`Engine::call_ended`]), time passed
//! ([`Engine::tick`]), a stream is gone ([`Engine::stream_ended`]). After each it takes the
//! [`Effect`]s and carries them out.
//!
//! A request that waits is in `waiters` until it is finished, and every way to finish it takes it
//! out: so it is answered exactly once. It waits either in `pending`, for the next call, or as a
//! member of a call's group, or held back until a call has ended. A call is in `calls` until it ends
//! or its deadline passes; what is reported of it later finds nothing.

mod ahead;
mod batch;
mod calls;
mod complaints;
mod denials;
mod effect;
mod effects;
mod group;
mod held;
mod leases;
mod probe;
mod reading;
mod refunds;
mod ruling;
mod shared_time;
#[cfg(test)]
mod tests;
mod waiter;

use std::rc::Rc;

use hashbrown::HashMap;

pub use effect::{Action, CallEnd, CallId, Effect, OutgoingCall, Step, StreamId, Verdict};

use crate::breaker::{Breaker, SharedCell, State};
use crate::census::Census;
use crate::config::{Config, Counted, Rule, Treatment};
use crate::fingerprint::{Fingerprint, Fingerprints};
use crate::limit::LocalBuckets;
use crate::matching::{Key, Request, redis_key};
use crate::metrics::Metric;
use crate::units::{Instant, Micros};
use calls::Call;
use complaints::Complaints;
use denials::Denials;
use effects::Effects;
use leases::Leases;
use refunds::Refunds;
use ruling::Ruling;
use shared_time::SharedTime;
use waiter::{Bucket, Part, PartResult, Waiter};

/// Ticks come this often while a request waits or the breaker is not closed. It bounds how far
/// behind its deadline a request is finished when the host forgets a call's own timeout.
const TICK_BUSY: Micros = Micros::from_millis(5);
/// And this often otherwise, at most: the next busy moment is noticed no later.
const TICK_IDLE: Micros = Micros::from_millis(50);

/// The rate limiter of one worker. `C` is a cell of the data that all workers share.
#[derive(Debug)]
pub struct Engine<C> {
    config: Rc<Config>,
    breaker: Breaker<C>,
    breaker_seen: Option<State>,
    census: Census<C>,
    shared_time: SharedTime,
    fingerprints: Fingerprints,
    denials: Denials,
    local: LocalBuckets,
    waiters: HashMap<StreamId, Waiter>,
    /// Requests with parts that no call carries, in the order of their arrival.
    pending: Vec<StreamId>,
    woken: bool,
    calls: HashMap<CallId, Call>,
    next_call: u64,
    leases: Leases,
    refunds: Refunds,
    script: Script,
    complaints: Complaints,
    /// Whether Redis was found to be a cluster, which cannot charge several keys in one command.
    scattered: bool,
    retired: bool,
    effects: Effects,
}

/// What the engine believes of the script in Redis.
#[derive(Debug)]
enum Script {
    /// Redis knows it, as far as anybody told. It was last loaded at this time.
    Assumed { loaded: Instant },
    /// Redis does not, or the shards of these keys; the next call carries its text for them.
    Missing(Vec<Fingerprint>),
    /// A call that carries the text is under way; all others wait for it.
    Loading(CallId),
}

impl<C: SharedCell> Engine<C> {
    /// An engine with nothing in it.
    pub fn new(config: Rc<Config>, breaker: Breaker<C>, census: Census<C>) -> Self {
        Self {
            config,
            breaker,
            breaker_seen: None,
            census,
            shared_time: SharedTime::AT_START,
            fingerprints: Fingerprints::default(),
            denials: Denials::new(denials::CAPACITY),
            local: LocalBuckets::new(LocalBuckets::CAPACITY),
            waiters: HashMap::new(),
            pending: Vec::new(),
            woken: false,
            calls: HashMap::new(),
            next_call: 0,
            leases: Leases::new(leases::CAPACITY),
            refunds: Refunds::default(),
            script: Script::Assumed { loaded: Instant(0) },
            complaints: Complaints::default(),
            scattered: false,
            retired: false,
            effects: Effects::default(),
        }
    }

    /// What the shell has to do after an event, in this order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        self.effects.take()
    }

    /// Requests of this worker that wait.
    pub fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// How long until the next [`Engine::tick`] is due.
    pub fn tick_period(&self) -> Micros {
        let idle = self.waiters.is_empty() && self.leases.is_empty();
        let period = if idle && self.breaker.state() == State::Closed {
            TICK_IDLE
        } else {
            TICK_BUSY
        };
        period.min(self.config.redis.timeout)
    }

    /// A request came. `stream` is its number while it lives.
    pub fn request(&mut self, stream: StreamId, request: &Request<'_>, now: Instant) -> Step {
        let parts = match self.parts(request) {
            Ok(parts) => parts,
            Err(ruling) => return Step::Done(self.verdict(ruling, Micros::ZERO)),
        };
        if parts.is_empty() {
            return Step::Pass;
        }
        let mut waiter = Waiter {
            parts,
            arrived: now,
            asked: 0,
        };
        let known = (&mut self.leases, &self.denials);
        ahead::answer_known(known, &mut self.effects, &mut waiter, now);
        if self.leases.runs_low() {
            self.wake();
        }
        if !waiter.is_answered() && !self.may_wait(now) {
            waiter.give_up();
        }
        if waiter.is_answered() {
            let ruling = self.rule_on(&waiter, now);
            return Step::Done(self.verdict(ruling, Micros::ZERO));
        }
        self.waiters.insert(stream, waiter);
        self.pending.push(stream);
        self.wake();
        Step::Wait
    }

    fn wake(&mut self) {
        if !self.woken {
            self.woken = true;
            self.effects.push(Effect::Wake);
        }
    }

    /// Whether one request more may wait for Redis.
    fn may_wait(&mut self, now: Instant) -> bool {
        let full = self.waiters.len() >= self.config.redis.max_waiting;
        self.effects.count(Metric::WaitingFull, full.into());
        // A worker that has not ticked of late knows only how the breaker stood then.
        if self.breaker.state() != State::Closed && self.shared_time.age(now) > TICK_BUSY {
            self.breaker.refresh();
        }
        !full && self.breaker.state() == State::Closed
    }

    /// The turn of the event loop that [`Effect::Wake`] asked for: all that came meanwhile goes
    /// out in one call.
    pub fn turn(&mut self, now: Instant) {
        self.woken = false;
        self.dispatch(now);
    }

    /// A stream is gone, answered or not. Its tokens stay spent: whether Redis took them is not
    /// known, and a client that hangs up must not earn a refund.
    pub fn stream_ended(&mut self, stream: StreamId) {
        if self.waiters.remove(&stream).is_some() {
            self.pending.retain(|it| *it != stream);
            for call in self.calls.values_mut() {
                call.held.retain(|it| *it != stream);
            }
        }
    }

    /// Time passed: ends what is overdue, follows the breaker, sends its probe when one is due.
    /// `shared` is the time on the clock that all workers of the process read, which may step.
    pub fn tick(&mut self, now: Instant, shared: Instant) {
        self.shared_time = SharedTime::read(now, shared);
        self.end_overdue_calls(now);
        self.end_overdue_requests(now);
        self.end_leases(now);
        self.tick_breaker(now);
        // Should the host ever lose a wake, the requests after it must not be paced by the tick.
        self.woken = false;
        self.dispatch(now);
        self.report_waiting(self.waiters.len(), now);
    }

    /// The engine is about to go, as after a new configuration: nobody waits here any more, and what
    /// is held is given back. It ticks on until it [is settled](Engine::is_settled).
    pub fn retire(&mut self, now: Instant) {
        self.retired = true;
        self.end_leases(now);
        self.dispatch(now);
        self.report_waiting(0, now);
    }

    /// Nothing is held here, given back or under way any more.
    pub fn is_settled(&self) -> bool {
        self.leases.is_empty() && self.refunds.is_empty() && self.calls.is_empty()
    }

    fn report_waiting(&mut self, waiting: usize, now: Instant) {
        let now = self.shared_time.at(now);
        if let Some(total) = self.census.report(waiting, now) {
            self.effects.record(Metric::Waiting, total);
        }
    }

    /// What the request asks of Redis; or, when a rule refuses it without a count, its end.
    fn parts(&self, request: &Request<'_>) -> Result<Vec<Part>, Ruling> {
        let mut enforced = Vec::new();
        let mut parts = Vec::new();
        for (index, treatment) in self.config.applicable(request) {
            let (Ok(number), Some(rule)) = (u16::try_from(index), self.config.rules.get(index))
            else {
                continue;
            };
            let shadow = rule.shadow;
            match treatment {
                Treatment::Count(counted) if shadow => {
                    let bucket = self.bucket(number, rule, &counted);
                    parts.push(Part::asking(vec![bucket], true));
                }
                Treatment::Count(counted) => enforced.push(self.bucket(number, rule, &counted)),
                Treatment::Unlimited => {
                    let result = PartResult::Unlimited;
                    parts.push(Part::known(self.no_bucket(number, rule), shadow, result));
                }
                Treatment::Deny if shadow => {
                    let result = PartResult::Barred;
                    parts.push(Part::known(self.no_bucket(number, rule), true, result));
                }
                Treatment::Deny => return Err(ruling::bar(&self.config, number)),
                Treatment::Skip => {}
            }
        }
        // A request passes on leases only when all its rules have them.
        if enforced.iter().any(|bucket| bucket.lease.is_none()) {
            enforced.iter_mut().for_each(|bucket| bucket.lease = None);
        }
        if self.scattered {
            let apart = enforced.into_iter();
            parts.extend(apart.map(|bucket| Part::asking(vec![bucket], false)));
        } else if !enforced.is_empty() {
            parts.push(Part::asking(enforced, false));
        }
        Ok(parts)
    }

    fn bucket(&self, number: u16, rule: &Rule, counted: &Counted) -> Bucket {
        let prefix = &self.config.redis.key_prefix;
        let tag = counted.limit.tag();
        let key = redis_key(prefix, &rule.name, &counted.key, tag).into_bytes();
        // A shadow rule must see every request, so it takes nothing ahead.
        let lease = rule.lease.filter(|_| !rule.shadow);
        let leased = lease.and_then(|lease| counted.limit.leased(lease.ttl));
        Bucket {
            rule: number,
            fingerprint: self.fingerprints.of(&key),
            key,
            policy: counted.limit,
            limit: leased.unwrap_or(counted.limit),
            on_failure: counted.on_failure,
            cost: counted.cost,
            lease,
        }
    }

    /// Stands for a rule that counts nothing.
    fn no_bucket(&self, number: u16, rule: &Rule) -> Bucket {
        let counted = Counted {
            key: Key::default(),
            limit: rule.limit,
            on_failure: rule.on_failure,
            cost: 0,
        };
        self.bucket(number, rule, &counted)
    }

    /// Ends the wait of a request whose parts are all answered.
    fn finish(&mut self, stream: StreamId, now: Instant) {
        let Some(waiter) = self.waiters.remove(&stream) else {
            return;
        };
        let waited = now.since(waiter.arrived);
        let ruling = self.rule_on(&waiter, now);
        let verdict = self.verdict(ruling, waited);
        self.effects.record(Metric::WaitUs, waited.0);
        self.effects.push(Effect::Finish(stream, verdict));
    }

    /// Ends the wait of a request with what is known of it by now.
    fn give_up(&mut self, stream: StreamId, now: Instant) {
        if let Some(waiter) = self.waiters.get_mut(&stream) {
            waiter.give_up();
            self.finish(stream, now);
        }
    }

    fn end_overdue_requests(&mut self, now: Instant) {
        let timeout = self.config.redis.timeout;
        let overdue = self
            .waiters
            .iter()
            .filter(|(_, waiter)| waiter.deadline(timeout) <= now);
        let mut overdue: Vec<StreamId> = overdue.map(|(stream, _)| *stream).collect();
        // Local buckets admit the first that came, and streams are numbered as they come.
        overdue.sort_unstable();
        for stream in overdue {
            self.give_up(stream, now);
        }
    }

    fn rule_on(&mut self, waiter: &Waiter, now: Instant) -> Ruling {
        let ruling = ruling::rule_on(&self.config, &waiter.parts, &mut self.local, now);
        self.effects
            .count(Metric::Evictions, self.local.take_evictions());
        if matches!(ruling.action, Action::Refuse(_)) {
            self.refunds.note(&waiter.parts);
            self.note_dropped_refunds();
        }
        ruling
    }

    /// Counts the decisions of a ruling.
    fn verdict(&mut self, ruling: Ruling, waited: Micros) -> Verdict {
        for (rule, decision) in ruling.decisions {
            self.effects.add(Metric::Requests(rule, decision), 1);
        }
        let (rule, decision) = ruling.decided;
        Verdict {
            decision,
            rule,
            waited,
            action: ruling.action,
        }
    }
}
