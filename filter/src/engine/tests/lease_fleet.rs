//! I1 with leases: workers that share one Redis, through loss and delay.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::leases::HITS;
use super::world::World;
use crate::decision::Decision::Allowed;
use crate::engine::{CallEnd, OutgoingCall};
use crate::units::{Instant, Micros};

#[derive(Clone, Copy, Debug)]
enum Event {
    /// So many requests at once.
    Requests(u8, u8),
    Deliver(u8),
    Lose(u8),
    LoseReply(u8),
    Wait(u16),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        8 => (0_u8..3, 1_u8..20).prop_map(|(worker, n)| Event::Requests(worker, n)),
        9 => (0_u8..3).prop_map(Event::Deliver),
        1 => (0_u8..3).prop_map(Event::Lose),
        1 => (0_u8..3).prop_map(Event::LoseReply),
        4 => (0_u16..8_000).prop_map(Event::Wait),
    ];
    prop::collection::vec(event, 1..250)
}

/// Three workers on one Redis, at one time.
struct Fleet {
    workers: Vec<World>,
    now: Instant,
    admitted: BTreeMap<Instant, u64>,
    seen: Vec<usize>,
}

impl Fleet {
    fn new(config: &str) -> Self {
        Self {
            workers: (0..3).map(|_| World::new(config)).collect(),
            now: World::new(config).now,
            admitted: BTreeMap::new(),
            seen: vec![0; 3],
        }
    }

    fn play(&mut self, event: Event, stream: u32) {
        match event {
            Event::Requests(worker, n) => {
                let world = &mut self.workers[usize::from(worker)];
                for one in 0..u32::from(n) {
                    if let Some(verdict) = world.request(100 * stream + one, "a") {
                        let passed = u64::from(verdict.decision == Allowed);
                        *self.admitted.entry(self.now).or_default() += passed;
                    }
                }
                world.turn();
            }
            Event::Deliver(worker) => self.at_redis(worker, |world, call, reply| {
                world.end(call, CallEnd::Replied(reply));
            }),
            Event::LoseReply(worker) => self.at_redis(worker, |world, call, _| {
                world.end(call, CallEnd::TimedOut);
            }),
            Event::Lose(worker) => {
                let world = &mut self.workers[usize::from(worker)];
                if !world.calls.is_empty() {
                    world.fail(CallEnd::Unreachable);
                }
            }
            Event::Wait(us) => {
                self.now = self.now + Micros(us.into());
                for world in &mut self.workers {
                    world.tick(Micros(us.into()));
                }
            }
        }
        self.note_finished();
    }

    /// The oldest call of a worker reaches Redis, which lives with the first worker.
    fn at_redis(&mut self, worker: u8, then: impl FnOnce(&mut World, &OutgoingCall, &[u8])) {
        let worker = usize::from(worker);
        if self.workers[worker].calls.is_empty() {
            return;
        }
        let call = self.workers[worker].calls.remove(0);
        let reply = self.workers[0].redis.run(&call, self.now);
        then(&mut self.workers[worker], &call, &reply);
    }

    fn note_finished(&mut self) {
        for (world, seen) in self.workers.iter().zip(&mut self.seen) {
            let new = world.finished.iter().skip(*seen);
            let passed = new.filter(|(_, verdict)| verdict.decision == Allowed);
            *self.admitted.entry(self.now).or_default() += passed.count() as u64;
            *seen = world.finished.len();
        }
    }
}

/// A rule of an algorithm with leases, all times in milliseconds; a bucket's burst is its requests.
#[derive(Clone, Copy, Debug)]
struct Leased {
    algorithm: &'static str,
    requests: u64,
    per: u64,
    max: u64,
    ttl: u64,
}

impl Leased {
    fn fleet(&self) -> Fleet {
        let Self {
            algorithm,
            requests,
            per,
            max,
            ttl,
        } = self;
        Fleet::new(&format!(
            r#"{{ "breaker": "off", "redis": {{ "timeout": "20ms" }}, "rules": [ {{ "name": "r",
                "key": [{{ "header": "x-api-key" }}], "on_failure": "deny",
                "lease": {{ "max": {max}, "ttl": "{ttl}ms" }},
                "limit": {{ "algorithm": "{algorithm}", "requests": {requests}, "per": "{per}ms" }}
            }} ] }}"#
        ))
    }

    /// Whether the algorithm lets so many pass from the first time to the second, both included.
    fn admits(&self, admitted: u64, from: Instant, to: Instant) -> bool {
        let [per, ttl] = [self.per, self.ttl].map(|millis| millis * 1_000);
        let length = to.since(from).0;
        match self.algorithm {
            "token_bucket" => admitted * per <= self.requests * (per + length),
            "sliding_window" => {
                admitted * (per + ttl) <= self.requests * (per + ttl + length + ttl)
            }
            "sliding_log" => length >= per || admitted <= self.requests,
            "fixed_window" => from.0 / per != to.0 / per || admitted <= self.requests,
            other => panic!("no promise for {other}"),
        }
    }
}

const ALGORITHMS: [&str; 4] = [
    "token_bucket",
    "sliding_window",
    "sliding_log",
    "fixed_window",
];

fn leased() -> impl Strategy<Value = Leased> {
    let algorithm = prop::sample::select(ALGORITHMS.as_slice());
    // A bucket of five keeps a token when four fifths of it refill within the lease.
    let numbers = (algorithm, 5_u64..60, 25_u64..70, 1_u64..40, 10_u64..=20);
    numbers.prop_map(|(algorithm, requests, per, max, ttl)| Leased {
        algorithm,
        requests,
        per,
        max,
        ttl,
    })
}

/// The fleet below would prove nothing of a rule that never leases.
#[test]
fn a_rule_of_every_algorithm_lets_requests_pass_on_leases() {
    for algorithm in ALGORITHMS {
        let mut fleet = Leased {
            algorithm,
            requests: 40,
            per: 100,
            max: 10,
            ttl: 20,
        }
        .fleet();
        for (stream, event) in (1..).zip([
            Event::Requests(0, 5),
            Event::Deliver(0),
            Event::Requests(0, 3),
        ]) {
            fleet.play(event, stream);
        }
        assert_eq!(fleet.workers[0].count(HITS), 3, "{algorithm}");
        assert_eq!(fleet.admitted.values().sum::<u64>(), 8, "{algorithm}");
    }
}

proptest! {
    /// I1 with leases, through loss and delay: no interval sees more than `burst + rate x length`.
    #[test]
    fn i1_a_fleet_with_leases_admits_no_more_than_the_limit(
        events in events(), requests in 1_u64..1_000, burst in 1_u64..30, max in 1_u64..40,
    ) {
        // 30 ms of refill on top, so that the lease fits.
        let burst = burst + requests * 30 / 1_000 + 1;
        let mut fleet = Fleet::new(&format!(
            r#"{{ "breaker": "off", "redis": {{ "timeout": "20ms" }}, "rules": [ {{ "name": "r",
                "key": [{{ "header": "x-api-key" }}], "on_failure": "deny",
                "lease": {{ "max": {max}, "ttl": "30ms" }},
                "limit": {{ "requests": {requests}, "per": "1s", "burst": {burst} }} }} ] }}"#
        ));
        for (stream, event) in (1..).zip(events) {
            fleet.play(event, stream);
        }
        // An answer of Redis is one charge or more, made a call's length before it is seen here.
        let times: Vec<(u64, u64)> = fleet.admitted.iter().map(|(at, n)| (at.0, *n)).collect();
        for (first, (from, _)) in times.iter().enumerate() {
            let mut admitted = 0;
            for (at, n) in &times[first..] {
                admitted += n;
                let most = burst * 1_000_000 + requests * (at - from);
                prop_assert!(admitted * 1_000_000 <= most, "{admitted} in {} us", at - from);
            }
        }
    }
}

proptest! {
    // One in some 200 shows a sliding window whose limit was not tightened.
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// The same of every algorithm, each by what it promises.
    #[test]
    fn i1_a_fleet_with_leases_keeps_the_promise_of_every_algorithm(
        events in events(), leased in leased(),
    ) {
        let mut fleet = leased.fleet();
        for (stream, event) in (1..).zip(events) {
            fleet.play(event, stream);
        }
        let times: Vec<(&Instant, &u64)> = fleet.admitted.iter().collect();
        for (first, (from, _)) in times.iter().enumerate() {
            let mut admitted = 0;
            for (at, n) in &times[first..] {
                admitted += *n;
                let kept = leased.admits(admitted, **from, **at);
                prop_assert!(kept, "{admitted} from {from:?} to {at:?} by {leased:?}");
            }
        }
    }
}
