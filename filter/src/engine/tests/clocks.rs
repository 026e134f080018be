//! Workers of one process whose own clocks are apart.

use super::world::World;
use crate::testing::Cell;
use crate::units::Micros;

const CONFIG: &str =
    r#"{ "rules": [ { "name": "all", "limit": { "requests": 9, "per": "1m" } } ] }"#;
const TICK: Micros = Micros::from_millis(5);
const BACK: Micros = Micros::from_secs(2);

/// Ticks both workers in turn. Redis answers a call after the next tick of each.
fn run(workers: &mut [World; 2], ticks: u32) {
    for _ in 0..ticks {
        let sent = [workers[0].calls.len(), workers[1].calls.len()];
        for world in &mut *workers {
            world.tick(TICK);
        }
        for (world, sent) in workers.iter_mut().zip(sent) {
            (0..sent).for_each(|_| world.deliver());
        }
    }
}

#[test]
fn i7_the_breaker_closes_though_a_step_of_the_clock_came_between_two_configurations() {
    let cell = Cell::default();
    let mut old = World::worker_of(CONFIG, cell.clone());
    let mut new = World::worker_of(CONFIG, cell);
    // The wall clock was set back before the second one started.
    new.now.0 -= BACK.0;
    old.shared_behind = BACK;
    let mut workers = [old, new];
    run(&mut workers, 1);
    workers[0].open_the_breaker();
    run(&mut workers, 400);
    let moves = workers.iter().flat_map(|world| &world.moves);
    let moves: Vec<&String> = moves.collect();
    assert!(moves.iter().all(|line| !line.contains("lost")), "{moves:?}");
    let closed = moves.iter().filter(|line| line.contains("-> closed"));
    assert_eq!(closed.count(), 1, "{moves:?}");
}
