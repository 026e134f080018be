//! Sends a plan's requests when they are due.
//!
//! The pacer is a thread of its own that sleeps until the next request is due and never waits
//! for an answer, so neither a slow system nor a busy runtime can slow the arrivals. What it is
//! late itself is recorded with each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;

use super::{Arrival, Key};
use crate::record::{Event, Outcome, Request};
use crate::scenario::Load;

/// Most requests in flight: a safety bound for the machine. A request that meets it is not sent
/// but recorded as such, and the run is inconclusive: the load was no longer open.
pub const IN_FLIGHT_MAX: u32 = 4096;

/// Longest nap of the pacer, so that stopping it takes no longer.
const NAP_MAX: Duration = Duration::from_millis(50);

/// A running load.
#[derive(Debug)]
pub struct Pacer {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    room: Arc<Semaphore>,
}

impl Pacer {
    /// Begins to send the load's requests until `end_s` after `start`, each by `send` with its
    /// key, and reports every one to `sink`. Must be called within a tokio runtime.
    pub fn start<S, F>(
        load: Load,
        end_s: f64,
        start: Instant,
        sink: UnboundedSender<Event>,
        send: S,
    ) -> Self
    where
        S: Fn(Key) -> F + Send + 'static,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let room = Arc::new(Semaphore::new(IN_FLIGHT_MAX as usize));
        let gate = Gate {
            start,
            room: Arc::clone(&room),
            sink,
            runtime: Handle::current(),
        };
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for arrival in load.plan(end_s) {
                if !sleep_until(start + Duration::from_secs_f64(arrival.due_s), &stopped) {
                    return;
                }
                gate.pass(arrival, send(arrival.key));
            }
        });
        Self { thread, stop, room }
    }

    /// Has the whole plan been sent?
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Sends what is overdue and nothing more, and waits until no request is in flight. The
    /// client's patience bounds the wait.
    pub async fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        // The thread naps for NAP_MAX at most; a panic in it shows as missing requests.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
        let _ = self.room.acquire_many(IN_FLIGHT_MAX).await;
    }
}

/// Sends one request, or says that there is no room for it.
struct Gate {
    start: Instant,
    room: Arc<Semaphore>,
    sink: UnboundedSender<Event>,
    runtime: Handle,
}

impl Gate {
    fn pass(&self, arrival: Arrival, answer: impl Future<Output = Outcome> + Send + 'static) {
        let due = self.start + Duration::from_secs_f64(arrival.due_s);
        let sink = self.sink.clone();
        let request = move |late_us, outcome| Request {
            due_s: arrival.due_s,
            late_us,
            took_us: micros(due.elapsed()),
            hot: arrival.key == Key::Hot,
            outcome,
        };
        // A closed sink means that the run is being torn down: nobody wants to know.
        match Arc::clone(&self.room).try_acquire_owned() {
            Err(_) => drop(sink.send(Event::Request(request(
                micros(due.elapsed()),
                Outcome::NotSent,
            )))),
            Ok(permit) => drop(self.runtime.spawn(async move {
                // Here, at the task's first poll: a busy runtime makes requests late, too.
                let late_us = micros(due.elapsed());
                let outcome = answer.await;
                let _ = sink.send(Event::Request(request(late_us, outcome)));
                drop(permit);
            })),
        }
    }
}

/// Sleeps until `due`; false when stopped before it. What is due is sent also by a pacer that was
/// late until the end, and its lateness told.
fn sleep_until(due: Instant, stop: &AtomicBool) -> bool {
    loop {
        let wait = due.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return true;
        }
        if stop.load(Ordering::Relaxed) {
            return false;
        }
        thread::sleep(wait.min(NAP_MAX));
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Scenario;

    #[test]
    fn a_stopped_pacer_sends_what_is_overdue_and_nothing_else() {
        let (stopped, now) = (AtomicBool::new(true), Instant::now());
        assert!(sleep_until(now, &stopped));
        assert!(!sleep_until(now + Duration::from_secs(3600), &stopped));
    }

    #[tokio::test]
    async fn a_runtime_that_is_busy_when_a_request_is_due_makes_it_late() {
        const BUSY: Duration = Duration::from_millis(100);
        let text = include_str!("../../scenarios/c-01-redis-unavailable.toml");
        let load = Scenario::parse(text).unwrap().load;
        let (sink, mut events) = tokio::sync::mpsc::unbounded_channel();
        let start = Instant::now();
        let answer = |_| async { Outcome::Counted };
        let pacer = Pacer::start(load, 0.001, start, sink, answer);
        // This runtime has one thread: while it is held up, no task of it runs.
        thread::sleep(BUSY);
        pacer.finish().await;
        let Some(Event::Request(request)) = events.recv().await else {
            panic!("expected a request");
        };
        assert!(
            u128::from(request.late_us) >= BUSY.as_micros() / 2,
            "{request:?}"
        );
    }
}
