//! One breaker for all workers of a process.

use crate::wasm_host::{Action, Reply, Worker};
use crate::{CHARGED, CLOSED, Fixture, headers, replied};

/// Fails as many calls as open the breaker.
fn open(fixture: &mut Fixture) {
    for _ in 0..10 {
        fixture.ask("a");
        fixture.worker.reply(Reply::Reset);
    }
    assert_eq!(fixture.metric("breaker_state.state.open"), 1);
}

fn second_worker(fixture: &Fixture) -> (Worker, u32) {
    let mut worker = Worker::start(&fixture.process);
    let root = worker.root("velocitygate", CLOSED).unwrap();
    (worker, root)
}

#[test]
fn failures_in_one_worker_make_the_other_refuse_without_a_call() {
    let mut fixture = Fixture::new(CLOSED);
    let (mut other, root) = second_worker(&fixture);
    open(&mut fixture);
    let (stream, _) = other.request(root, headers("b"));
    other.turn();
    assert!(other.calls().is_empty());
    assert_eq!(other.local_response(stream).unwrap().status, 503);
    // From now on it knows, and a request need not even wait.
    other.tick(root);
    let (stream, action) = other.request(root, headers("b"));
    assert_eq!(action, Action::Pause);
    assert_eq!(other.local_response(stream).unwrap().status, 503);
    let log = fixture.worker.log();
    assert!(
        log.contains("3: breaker closed -> open: 10 of 10 calls failed"),
        "{log}"
    );
    assert_eq!(
        log.matches("3: redis call failed: unreachable").count(),
        1,
        "{log}"
    );
}

#[test]
fn only_one_worker_probes_at_a_time_and_successful_probes_close_the_breaker_for_all() {
    let mut fixture = Fixture::new(CLOSED);
    let (mut other, other_root) = second_worker(&fixture);
    open(&mut fixture);
    let mut probes = 0;
    for _ in 0..200 {
        fixture.process.borrow_mut().advance(5);
        fixture.worker.tick(fixture.root);
        other.tick(other_root);
        let under_way = (fixture.worker.calls().len(), other.calls().len());
        assert!(under_way.0 + under_way.1 <= 1, "{under_way:?}");
        for (worker, calls) in [
            (&mut fixture.worker, under_way.0),
            (&mut other, under_way.1),
        ] {
            if calls == 1 {
                probes += 1;
                worker.reply(replied(CHARGED));
            }
        }
        if fixture.metric("breaker_state.state.closed") == 1 {
            break;
        }
    }
    assert_eq!(fixture.metric("breaker_state.state.closed"), 1);
    assert_eq!(probes, 3);
    other.tick(other_root);
    let (_, action) = other.request(other_root, headers("b"));
    other.turn();
    assert_eq!((action, other.calls().len()), (Action::Pause, 1));
}
