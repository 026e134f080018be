//! Calls to Redis: sending them, and settling them when they end.

use super::batch::{Batch, TEXTS_GROWTH, TEXTS_MAX};
use super::effect::{CallEnd, CallId, Effect, OutgoingCall, StreamId};
use super::group::{Ask, Done, Group};
use super::reading::{self, GroupAnswer, Reading};
use super::waiter::{PartRef, PartResult, Waiter};
use super::{Engine, Script, ahead};
use crate::breaker::{
    self, Cause, Contended, Outcome, Permit, ProbePermit, SharedCell, State, Transition,
};
use crate::metrics::Metric;
use crate::units::{Instant, Micros};

/// A call under way.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) purpose: Purpose,
    /// So many commands, the first ones, carry the script's text.
    pub(super) texts: usize,
    pub(super) sent: Instant,
    pub(super) deadline: Instant,
    pub(super) groups: Vec<Group>,
    /// Requests held back until this call tells of a key that was refused.
    pub(super) held: Vec<StreamId>,
}

/// Why a call was made, and by whose leave.
#[derive(Debug)]
pub(super) enum Purpose {
    Requests(Permit),
    Probe(ProbePermit),
}

impl Call {
    /// What the next call has to load: one text is enough for a single Redis; where those of this
    /// call were not, there are shards that they did not reach.
    fn missing(&self, reading: &Reading<'_>) -> Script {
        let texts = self.texts.saturating_mul(TEXTS_GROWTH);
        let texts = texts.clamp(1, TEXTS_MAX);
        let mut keys = Vec::new();
        for (group, answer) in self.groups.iter().zip(&reading.answers) {
            let lacks_script = *answer == GroupAnswer::Unscripted;
            if lacks_script && keys.len() < texts {
                keys.extend(group.lead());
            }
        }
        Script::Missing(keys)
    }
}

impl<C: SharedCell> Engine<C> {
    /// Sends what is pending, in as few calls as it fits into. While a call that loads the script
    /// is under way nothing else is sent: it would only be answered with NOSCRIPT.
    pub(super) fn dispatch(&mut self, now: Instant) {
        while self.has_work() && !matches!(self.script, Script::Loading(_)) {
            self.breaker.refresh();
            let Some(permit) = self.breaker.permit() else {
                break;
            };
            let batch = self.gather(now);
            if batch.groups.is_empty() {
                break;
            }
            self.send_batch(batch, permit, now);
        }
        if self.breaker.state() != State::Closed {
            self.give_up_unsent(now);
        }
    }

    /// Nothing is sent until the breaker is closed, and nobody waits for that.
    fn give_up_unsent(&mut self, now: Instant) {
        for call in self.calls.values_mut() {
            self.pending.append(&mut call.held);
        }
        // In the order of their arrival.
        self.pending.sort_unstable();
        for stream in std::mem::take(&mut self.pending) {
            self.give_up(stream, now);
        }
        self.refunds.drop_all();
        self.note_dropped_refunds();
        self.leases.forget_low();
    }

    fn has_work(&self) -> bool {
        !self.pending.is_empty() || !self.refunds.is_empty() || self.leases.runs_low()
    }

    /// Takes from `pending` what one call can carry, and leaves the rest to the next. What has to wait
    /// for an answer to a call under way goes there, so that no turn looks at it again before.
    fn gather(&mut self, now: Instant) -> Batch {
        let mut batch = Batch::new();
        let timeout = self.config.redis.timeout;
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.iter();
        while !batch.is_full()
            && let Some(&stream) = rest.next()
        {
            let Some(waiter) = self.waiters.get_mut(&stream) else {
                continue;
            };
            let known = (&mut self.leases, &self.denials);
            ahead::answer_known(known, &mut self.effects, waiter, now);
            let asking = self
                .denials
                .asked_by(waiter, |call| self.calls.contains_key(call));
            let left = waiter.deadline(timeout).since(now);
            if waiter.is_answered() {
                self.finish(stream, now);
            } else if let Some(call) = asking.and_then(|call| self.calls.get_mut(&call)) {
                call.held.push(stream);
            } else if left == Micros::ZERO || waiter.asked >= Waiter::ASKED_MAX {
                self.give_up(stream, now);
            } else {
                waiter.asked = waiter.asked.saturating_add(1);
                batch.add(stream, waiter, left);
            }
        }
        self.pending.extend(rest);
        // Behind the requests, which are more urgent.
        while !batch.is_full() {
            let Some(refund) = self.refunds.next() else {
                break;
            };
            batch.add_errand(refund, timeout);
        }
        self.take_ahead(&mut batch, now);
        batch
    }

    fn send_batch(&mut self, mut batch: Batch, permit: Permit, now: Instant) {
        let texts = match &self.script {
            Script::Missing(keys) => batch.lead_with(keys),
            Script::Assumed { .. } | Script::Loading(_) => 0,
        };
        let body = batch.encode(texts);
        let timeout = Micros::from_millis(batch.timeout.millis_rounded_up());
        if batch.requests > 0 {
            self.effects.record(Metric::BatchSize, batch.requests);
        }
        let (purpose, deadline) = (Purpose::Requests(permit), now + timeout);
        let id = self.send(
            body,
            Call {
                purpose,
                texts,
                sent: now,
                deadline,
                groups: batch.groups,
                held: Vec::new(),
            },
        );
        if texts > 0 {
            self.script = Script::Loading(id);
        }
        let groups = self.calls.get(&id).map(|call| call.groups.as_slice());
        let charges = groups.unwrap_or_default().iter();
        let charges = charges.filter(|group| matches!(group.ask, Ask::Charge { .. }));
        for bucket in charges.flat_map(|group| &group.buckets) {
            self.denials.ask(bucket, id);
        }
    }

    pub(super) fn send(&mut self, body: Vec<u8>, call: Call) -> CallId {
        let id = CallId(self.next_call);
        self.next_call = self.next_call.wrapping_add(1);
        let replies = call.groups.len();
        let timeout = call.deadline.since(call.sent);
        self.calls.insert(id, call);
        self.effects.push(Effect::Call(OutgoingCall {
            id,
            body,
            replies,
            timeout,
        }));
        id
    }

    /// A call ended. One that is not known any more is ignored: its deadline ended it before.
    pub fn call_ended(&mut self, id: CallId, end: CallEnd<'_>, now: Instant) {
        let Some(call) = self.calls.remove(&id) else {
            return;
        };
        let reading = reading::read(&call.groups, call.texts, end);
        for class in &reading.errors {
            self.effects.add(Metric::RedisErrors(*class), 1);
        }
        let lesson = self.lesson(&call, reading.outcome, now);
        self.script_after(id, &call, &reading, now);
        match call.purpose {
            Purpose::Probe(permit) if reading.lacks_script() && call.texts == 0 => {
                self.send_probe(permit, true, now);
            }
            Purpose::Probe(permit) => {
                self.probe_ended(permit, lesson, now);
                self.dispatch(now);
            }
            Purpose::Requests(permit) => {
                self.effects.add(Metric::RedisCalls(reading.result), 1);
                if let Some(line) = self.complaints.about(&reading, now) {
                    self.effects.push(Effect::Warn(line));
                }
                self.effects.record(Metric::RedisCallUs, lesson.elapsed.0);
                let shared = self.shared_time.at(now);
                let settled = self.breaker.settle(permit, lesson, shared);
                self.note_settled(settled);
                self.note_charges(&call.groups, &reading.answers, (call.sent, now));
                let held = call.held.into_iter();
                self.pending.splice(..0, held);
                self.answer_groups(&call.groups, &reading.answers, now);
                self.dispatch(now);
            }
        }
    }

    /// Ends calls whose own timeout the host did not report.
    pub(super) fn end_overdue_calls(&mut self, now: Instant) {
        let overdue = self.calls.iter().filter(|(_, call)| call.deadline <= now);
        let mut overdue: Vec<CallId> = overdue.map(|(id, _)| *id).collect();
        overdue.sort_unstable();
        for id in overdue {
            self.call_ended(id, CallEnd::TimedOut, now);
        }
    }

    /// What the breaker may learn from a call. One that was given neither `slow_call` nor most of
    /// `redis.timeout`, because its requests had been held back, proves nothing by running out of time.
    fn lesson(&self, call: &Call, outcome: Outcome, now: Instant) -> breaker::Call {
        let slow = self.config.breaker.map_or(Micros::ZERO, |it| it.slow_call);
        let most = Micros(self.config.redis.timeout.0.saturating_mul(4) / 5);
        let cut_short = call.deadline.since(call.sent) < slow.min(most);
        let timed_out = outcome == Outcome::Failure(Cause::Timeout);
        breaker::Call {
            outcome: if cut_short && timed_out {
                Outcome::Excluded
            } else {
                outcome
            },
            elapsed: now.since(call.sent),
        }
    }

    /// What a call teaches about the script. A call that was sent before the last load ended says
    /// nothing new: it may have met Redis before the script did.
    fn script_after(&mut self, id: CallId, call: &Call, reading: &Reading<'_>, now: Instant) {
        let unscripted = reading.lacks_script();
        let probed =
            matches!(call.purpose, Purpose::Probe(_)) && reading.outcome == Outcome::Success;
        self.script = match self.script {
            // Other shards of a Redis Cluster do not know it yet.
            Script::Loading(loading) if loading == id && unscripted => call.missing(reading),
            Script::Loading(loading) if loading == id => Script::Assumed { loaded: now },
            // Another worker loaded it while the breaker let no request of this one pass.
            Script::Missing(_) if probed => Script::Assumed { loaded: now },
            Script::Assumed { loaded } if unscripted && call.sent >= loaded => {
                call.missing(reading)
            }
            Script::Loading(_) | Script::Missing(_) | Script::Assumed { .. } => return,
        };
    }

    fn answer_groups(&mut self, groups: &[Group], answers: &[GroupAnswer], now: Instant) {
        let mut again = Vec::new();
        for (group, answer) in groups.iter().zip(answers) {
            let results = match answer {
                GroupAnswer::Done(Done::Charged(charge)) => group.share(charge),
                GroupAnswer::Done(Done::Refunded) => continue,
                GroupAnswer::Unknown => {
                    self.refunds.failed(group, false);
                    vec![PartResult::Unknown; group.members().len()]
                }
                GroupAnswer::Unscripted => {
                    self.refunds.failed(group, true);
                    again.extend(group.members().iter().map(|member| member.stream));
                    continue;
                }
                GroupAnswer::Scattered => {
                    again.extend(group.members().iter().map(|member| member.stream));
                    self.scatter(group.members());
                    continue;
                }
            };
            for (member, result) in group.members().iter().zip(results) {
                self.answer(*member, result, now);
            }
        }
        self.note_dropped_refunds();
        // They came before all that is pending now.
        again.sort_unstable();
        again.dedup();
        again.append(&mut self.pending);
        self.pending = again;
    }

    pub(super) fn note_dropped_refunds(&mut self) {
        self.effects
            .count(Metric::RefundsDropped, self.refunds.take_dropped());
    }

    /// The store is a Redis Cluster: from now on each rule is charged in a command of its own.
    fn scatter(&mut self, members: &[PartRef]) {
        self.scattered = true;
        for member in members {
            if let Some(waiter) = self.waiters.get_mut(&member.stream) {
                waiter.scatter(member.part);
            }
        }
    }

    fn answer(&mut self, member: PartRef, result: PartResult, now: Instant) {
        let Some(waiter) = self.waiters.get_mut(&member.stream) else {
            return;
        };
        if let Some(part) = waiter.parts.get_mut(member.part) {
            part.result.get_or_insert(result);
        }
        if waiter.is_answered() {
            self.finish(member.stream, now);
        }
    }

    pub(super) fn note_settled(&mut self, settled: Result<Option<Transition>, Contended>) {
        match settled {
            Ok(transition) => self.note_transition(transition),
            Err(Contended) => self.effects.add(Metric::BreakerConflicts, 1),
        }
    }

    pub(super) fn note_transition(&mut self, transition: Option<Transition>) {
        if let Some(transition) = transition {
            self.effects
                .add(Metric::BreakerTransitions(transition.to), 1);
            self.effects.push(Effect::Moved(transition));
        }
        self.publish_state();
    }

    /// Keeps the gauge true. Every worker that sees a change writes the same values.
    pub(super) fn publish_state(&mut self) {
        let now = self.breaker.state();
        if self.breaker_seen != Some(now) {
            self.breaker_seen = Some(now);
            for state in [State::Closed, State::Open, State::HalfOpen] {
                self.effects
                    .record(Metric::BreakerState(state), u64::from(state == now));
            }
        }
    }
}
