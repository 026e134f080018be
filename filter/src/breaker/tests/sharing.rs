//! Several workers, one cell: contention, reloads, damage, and the breaker that is turned off.

use std::cell::RefCell;
use std::rc::Rc;

use super::super::{
    Breaker, Contended, MAX_CAS_ATTEMPTS, Record, SharedCell, State, Turn, shared_key,
};
use super::*;

#[derive(Debug, Default)]
struct Memory {
    bytes: Option<Vec<u8>>,
    version: u32,
    stores: usize,
    /// How many of the next stores find that another worker came first.
    conflicts: usize,
}

#[derive(Clone, Debug, Default)]
struct Cell(Rc<RefCell<Memory>>);

impl SharedCell for Cell {
    fn load(&mut self) -> Option<(Vec<u8>, u32)> {
        let memory = self.0.borrow();
        memory.bytes.clone().map(|bytes| (bytes, memory.version))
    }

    fn store(&mut self, bytes: &[u8], cas: u32) -> bool {
        let mut memory = self.0.borrow_mut();
        if memory.conflicts > 0 {
            memory.conflicts -= 1;
            memory.version += 1;
        }
        if memory.bytes.is_some() && cas != 0 && cas != memory.version {
            return false;
        }
        memory.bytes = Some(bytes.to_vec());
        memory.version += 1;
        memory.stores += 1;
        true
    }
}

impl Cell {
    fn worker(&self) -> Breaker<Self> {
        Breaker::on(settings(), self.clone(), 7)
    }

    fn holds(&self, bytes: &[u8]) {
        let mut memory = self.0.borrow_mut();
        memory.bytes = Some(bytes.to_vec());
        memory.version += 1;
    }

    fn record(&self) -> Record {
        let memory = self.0.borrow();
        Record::decode(memory.bytes.as_deref().expect("stored"), &settings()).expect("decodes")
    }
}

fn fail(worker: &mut Breaker<Cell>, times: usize) {
    for _ in 0..times {
        let permit = worker.permit().expect("closed");
        worker.settle(permit, call(BAD), START).expect("settles");
    }
}

#[test]
fn one_workers_discovery_spares_the_others() {
    let cell = Cell::default();
    let (mut first, mut second) = (cell.worker(), cell.worker());
    fail(&mut first, 3);
    fail(&mut second, 1);
    first.refresh();
    assert_eq!((first.state(), second.state()), (State::Open, State::Open));
    assert_eq!((first.permit(), second.permit()), (None, None));
}

#[test]
fn one_of_many_workers_claims_the_probe() {
    let cell = Cell::default();
    let mut workers = [cell.worker(), cell.worker(), cell.worker()];
    fail(&mut workers[0], 4);
    let turns = workers
        .each_mut()
        .map(|worker| worker.tick(at(250).now).expect("ticks"));
    assert_eq!(turns.iter().filter(|turn| turn.probe.is_some()).count(), 1);
    assert_eq!(
        turns
            .iter()
            .filter(|turn| turn.transition.is_some())
            .count(),
        1
    );
}

#[test]
fn a_change_survives_one_conflict_less_than_there_are_tries() {
    let cell = Cell::default();
    let mut worker = cell.worker();
    cell.0.borrow_mut().conflicts = MAX_CAS_ATTEMPTS - 1;
    fail(&mut worker, 4);
    assert_eq!(cell.record().state(), State::Open);
}

#[test]
fn a_change_that_loses_every_try_is_dropped_and_reported() {
    let cell = Cell::default();
    let mut worker = cell.worker();
    let before = cell.record();
    cell.0.borrow_mut().conflicts = MAX_CAS_ATTEMPTS;
    let permit = worker.permit().expect("closed");
    assert_eq!(worker.settle(permit, call(BAD), START), Err(Contended));
    assert_eq!(cell.record(), before);
    fail(&mut worker, 4);
    assert_eq!(worker.state(), State::Open);
}

#[test]
fn calls_to_a_healthy_redis_write_nothing_once_the_window_is_full() {
    let cell = Cell::default();
    let mut worker = cell.worker();
    let mut settle = |times| {
        for _ in 0..times {
            let permit = worker.permit().expect("closed");
            worker.settle(permit, call(GOOD), START).expect("settles");
        }
        cell.0.borrow().stores
    };
    let full = settle(10);
    assert_eq!(settle(50), full);
}

#[test]
fn a_reloaded_vm_keeps_the_record_it_finds() {
    let cell = Cell::default();
    fail(&mut cell.worker(), 4);
    let reloaded = cell.worker();
    assert_eq!(reloaded.state(), State::Open);
}

#[test]
fn a_reload_with_a_smaller_window_keeps_the_newest_calls() {
    let cell = Cell::default();
    let mut worker = cell.worker();
    fail(&mut worker, 3);
    let mut smaller = settings();
    smaller.breaker.window = 2;
    smaller.breaker.minimum_calls = 2;
    let mut reloaded = Breaker::on(smaller, cell.clone(), 7);
    assert_eq!(reloaded.state(), State::Closed);
    let permit = reloaded.permit().expect("closed");
    let opened = reloaded
        .settle(permit, call(GOOD), START)
        .expect("settles")
        .expect("opens");
    assert_eq!(
        opened.to_string(),
        "breaker closed -> open: 1 of 2 calls failed (last: timeout)"
    );
}

#[test]
fn a_lost_or_unreadable_record_is_restored_from_the_workers_own_copy() {
    for damage in [None, Some(vec![]), Some(vec![99; 40])] {
        let cell = Cell::default();
        let mut worker = cell.worker();
        fail(&mut worker, 4);
        let open = cell.record();
        cell.0.borrow_mut().bytes = damage;
        worker.refresh();
        assert_eq!(worker.state(), State::Open);
        assert_eq!(worker.tick(at(1).now), Ok(Turn::default()));
        assert_eq!(cell.record(), open);
    }
}

#[test]
fn a_new_worker_replaces_an_unreadable_record() {
    let cell = Cell::default();
    cell.holds(b"not a record");
    let worker = cell.worker();
    assert_eq!(worker.state(), State::Closed);
    assert_eq!(cell.record(), Record::new(&settings()));
}

#[test]
fn a_breaker_that_is_off_permits_every_call_and_never_probes() {
    let mut off: Breaker<Cell> = Breaker::Off;
    for _ in 0..100 {
        let permit = off.permit().expect("off");
        assert_eq!(off.settle(permit, call(BAD), START), Ok(None));
        off.refresh();
    }
    assert_eq!(off.state(), State::Closed);
    assert_eq!(off.tick(at(9_999).now), Ok(Turn::default()));
}

#[test]
fn each_cluster_and_layout_has_a_cell_of_its_own() {
    assert_eq!(shared_key("redis-a"), "velocitygate.breaker.v1.redis-a");
}
