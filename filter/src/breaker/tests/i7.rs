//! Invariant I7 over random schedules: only closed -> open -> half-open -> (closed | open); no
//! permit and at most one probe while not closed; nothing leaks, so a healed Redis is always noticed.
//!
//! Workers share one cell. Between a worker's load and its store, another worker may get in with a
//! change of its own (a real conflict). Ends of calls and probes come late, twice, or never; workers
//! die and are replaced; the clock steps. The cell itself checks every record written to it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::{Breaker, Permit, ProbePermit, Record, SharedCell, State, Transition, Turn};
use super::*;

const WORKERS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Call {
        worker: Index,
    },
    Settle {
        worker: Index,
        call: Index,
        end: Call,
        twice: bool,
    },
    LoseCall {
        call: Index,
    },
    Tick {
        worker: Index,
    },
    SettleProbe {
        worker: Index,
        probe: Index,
        end: Call,
        twice: bool,
    },
    LoseProbe {
        probe: Index,
    },
    Restart {
        worker: Index,
    },
    Advance {
        millis: u64,
    },
    JumpClock {
        forward: bool,
        secs: u64,
    },
    Intrude {
        stores: usize,
    },
}

fn end() -> impl Strategy<Value = Call> {
    let outcome = prop_oneof![
        3 => Just(GOOD),
        3 => prop::sample::select(Cause::ALL.to_vec()).prop_map(Outcome::Failure),
        1 => Just(Outcome::Excluded),
    ];
    (outcome, 0u64..60).prop_map(|(outcome, millis)| Call {
        outcome,
        elapsed: Micros::from_millis(millis),
    })
}

/// Mostly good, so that schedules often come to a breaker that closed again.
fn probe_end() -> impl Strategy<Value = Call> {
    prop_oneof![4 => Just(call(GOOD)), 1 => end()]
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        8 => index().prop_map(|worker| Step::Call { worker }),
        8 => (index(), index(), end(), prop::bool::weighted(0.2))
            .prop_map(|(worker, call, end, twice)| Step::Settle { worker, call, end, twice }),
        1 => index().prop_map(|call| Step::LoseCall { call }),
        6 => index().prop_map(|worker| Step::Tick { worker }),
        6 => (index(), index(), probe_end(), prop::bool::weighted(0.2))
            .prop_map(|(worker, probe, end, twice)| Step::SettleProbe { worker, probe, end, twice }),
        1 => index().prop_map(|probe| Step::LoseProbe { probe }),
        1 => index().prop_map(|worker| Step::Restart { worker }),
        5 => (0u64..400).prop_map(|millis| Step::Advance { millis }),
        1 => (any::<bool>(), 1u64..7_200).prop_map(|(forward, secs)| Step::JumpClock { forward, secs }),
        2 => (1usize..12).prop_map(|stores| Step::Intrude { stores }),
    ]
}

/// What the host holds, and a witness of every write.
struct Memory {
    bytes: Option<Vec<u8>>,
    version: u32,
    now: Instant,
    intrusions: usize,
    changes: Vec<(State, State)>,
    intruder_transitions: Vec<Transition>,
    intruder_probes: Vec<ProbePermit>,
}

#[derive(Clone)]
struct Cell(Rc<RefCell<Memory>>);

impl Memory {
    fn record(&self) -> Option<Record> {
        let bytes = self.bytes.as_ref()?;
        Some(Record::decode(bytes, &settings()).expect("only records are written"))
    }

    /// Writes a record, and checks that it may follow the one before.
    fn write(&mut self, bytes: &[u8]) {
        let before = self.record();
        self.bytes = Some(bytes.to_vec());
        self.version += 1;
        let (Some(before), Some(after)) = (before, self.record()) else {
            return;
        };
        let edge = (before.state(), after.state());
        let legal = match edge {
            (State::Closed, State::Open)
            | (State::Open, State::HalfOpen)
            | (State::HalfOpen, State::Closed | State::Open) => {
                self.changes.push(edge);
                after.generation == before.generation + 1
            }
            (from, to) => from == to && after.generation == before.generation,
        };
        assert!(legal, "{before:?} must not be followed by {after:?}");
    }

    /// Another worker gets in with a change of its own: whatever the record lets it do.
    fn intrude(&mut self) {
        let Some(mut record) = self.record() else {
            return;
        };
        let moment = Moment {
            now: self.now,
            random: u64::from(self.version) << 50,
        };
        if let Some(permit) = record.permit() {
            let outcome = if self.version.is_multiple_of(3) {
                GOOD
            } else {
                BAD
            };
            let opened = record.settle(&settings(), &permit, call(outcome), moment);
            self.intruder_transitions.extend(opened);
        } else {
            let turn = record.tick(&settings(), moment);
            self.intruder_transitions.extend(turn.transition);
            self.intruder_probes.extend(turn.probe);
        }
        self.write(&record.encode());
    }
}

impl SharedCell for Cell {
    fn load(&mut self) -> Option<(Vec<u8>, u32)> {
        let memory = self.0.borrow();
        memory.bytes.clone().map(|bytes| (bytes, memory.version))
    }

    fn store(&mut self, bytes: &[u8], cas: u32) -> bool {
        let mut memory = self.0.borrow_mut();
        if memory.intrusions > 0 {
            memory.intrusions -= 1;
            memory.intrude();
        }
        if memory.bytes.is_some() && cas != memory.version {
            return false;
        }
        memory.write(bytes);
        true
    }
}

/// The process: its workers, and what is on its way to Redis and back.
struct Process {
    cell: Cell,
    workers: Vec<Breaker<Cell>>,
    calls: Vec<Permit>,
    probes: Vec<ProbePermit>,
    probes_issued: HashSet<(u64, u64)>,
    transitions: Vec<Transition>,
}

impl Process {
    fn start() -> Self {
        let cell = Cell(Rc::new(RefCell::new(Memory {
            bytes: None,
            version: 1,
            now: START,
            intrusions: 0,
            changes: Vec::new(),
            intruder_transitions: Vec::new(),
            intruder_probes: Vec::new(),
        })));
        let worker = |seed| Breaker::on(settings(), cell.clone(), seed);
        Self {
            workers: (0..WORKERS as u64).map(worker).collect(),
            cell,
            calls: Vec::new(),
            probes: Vec::new(),
            probes_issued: HashSet::new(),
            transitions: Vec::new(),
        }
    }

    fn now(&self) -> Instant {
        self.cell.0.borrow().now
    }

    fn record(&self) -> Record {
        self.cell.0.borrow().record().expect("created at start")
    }

    fn took(&mut self, turn: Turn) {
        self.transitions.extend(turn.transition);
        let mut probes = std::mem::take(&mut self.cell.0.borrow_mut().intruder_probes);
        probes.extend(turn.probe);
        for probe in probes {
            let new = self.probes_issued.insert((probe.generation, probe.number));
            assert!(new, "{probe:?} was given to two workers");
            self.probes.push(probe);
        }
    }

    fn call(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        worker.refresh();
        let permit = worker.permit();
        let closed = self.record().state() == State::Closed;
        assert_eq!(
            permit.is_some(),
            closed,
            "a permit is given when closed, and only then"
        );
        self.calls.extend(permit);
    }

    fn settle(&mut self, worker: usize, permit: Permit, end: Call) {
        let before = self.record();
        let quiet = self.cell.0.borrow().intrusions == 0;
        let late = permit.generation != before.generation;
        let now = self.now();
        let settled = self.workers[worker].settle(permit, end, now);
        self.transitions.extend(settled.ok().flatten());
        assert!(
            !(late && quiet) || self.record() == before,
            "a late end changes nothing"
        );
    }

    fn settle_probe(&mut self, worker: usize, permit: ProbePermit, end: Call) {
        let now = self.now();
        let settled = self.workers[worker].settle_probe(permit, end, now);
        self.took(settled.unwrap_or_default());
    }

    fn tick(&mut self, worker: usize) {
        let now = self.now();
        let ticked = self.workers[worker].tick(now);
        self.took(ticked.unwrap_or_default());
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Call { worker } => self.call(worker.index(WORKERS)),
            Step::Settle {
                worker,
                call,
                end,
                twice,
            } => {
                let Some(permit) = pick(&mut self.calls, call) else {
                    return;
                };
                // Within its generation a permit counts once because it moves; a copy that comes
                // later meets another generation, or is one more call.
                let copy = Permit { ..permit };
                self.settle(worker.index(WORKERS), permit, end);
                if twice && copy.generation != self.record().generation {
                    self.settle(worker.index(WORKERS), copy, end);
                }
            }
            Step::LoseCall { call } => drop(pick(&mut self.calls, call)),
            Step::Tick { worker } => self.tick(worker.index(WORKERS)),
            Step::SettleProbe {
                worker,
                probe,
                end,
                twice,
            } => {
                let Some(permit) = pick(&mut self.probes, probe) else {
                    return;
                };
                let copy = ProbePermit { ..permit };
                let contended = self.cell.0.borrow().intrusions > 0;
                self.settle_probe(worker.index(WORKERS), permit, end);
                if twice && !contended {
                    let before = self.record();
                    self.settle_probe(worker.index(WORKERS), copy, end);
                    assert_eq!(self.record(), before, "a doubled end changes nothing");
                }
            }
            Step::LoseProbe { probe } => drop(pick(&mut self.probes, probe)),
            Step::Restart { worker } => {
                let index = worker.index(WORKERS);
                self.workers[index] = Breaker::on(settings(), self.cell.clone(), 99);
            }
            Step::Advance { millis } => self.advance(Micros::from_millis(millis)),
            Step::JumpClock {
                forward: true,
                secs,
            } => self.advance(Micros::from_secs(secs)),
            Step::JumpClock {
                forward: false,
                secs,
            } => {
                let mut memory = self.cell.0.borrow_mut();
                memory.now = Instant(memory.now.0.saturating_sub(Micros::from_secs(secs).0));
            }
            Step::Intrude { stores } => self.cell.0.borrow_mut().intrusions = stores,
        }
    }

    fn advance(&self, span: Micros) {
        let mut memory = self.cell.0.borrow_mut();
        memory.now = memory.now + span;
    }

    /// Every worker ticks every 10 ms and every probe succeeds from now on; the time until closed.
    fn heal(&mut self) -> Micros {
        self.cell.0.borrow_mut().intrusions = 0;
        self.probes.clear();
        let (start, tick) = (self.now(), Micros::from_millis(10));
        while self.record().state() != State::Closed && self.now().since(start) < HEALING_MAX {
            self.advance(tick);
            for worker in 0..WORKERS {
                self.tick(worker);
                while let Some(probe) = self.probes.pop() {
                    self.settle_probe(worker, probe, call(GOOD));
                }
            }
        }
        self.now().since(start)
    }
}

/// A lost probe's deadline, then the longest wait, then a tick for each rounding up.
const HEALING_MAX: Micros = Micros::from_millis(60 + 1_000 + 30);

fn pick<T>(pool: &mut Vec<T>, at: Index) -> Option<T> {
    (!pool.is_empty()).then(|| pool.swap_remove(at.index(pool.len())))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn i7_the_breaker_moves_legally_permits_only_when_closed_and_leaks_nothing(
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let mut process = Process::start();
        for step in steps {
            process.run(step);
        }
        let healing = process.heal();
        prop_assert_eq!(process.record().state(), State::Closed, "still open after {}", healing);

        // Each change of state was reported once, by the worker that made it.
        let memory = process.cell.0.borrow();
        let reported = process.transitions.len() + memory.intruder_transitions.len();
        prop_assert_eq!(reported, memory.changes.len());
        for change in process.transitions.iter().chain(&memory.intruder_transitions) {
            prop_assert!(memory.changes.contains(&(change.from, change.to)));
        }
    }
}
