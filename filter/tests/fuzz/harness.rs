//! Runs targets: how many cases, how long, and how much memory each may take.

use std::cell::Cell;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestError, TestRunner};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Memory is counted for the whole process, so only one target runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Seconds for each target; a fixed number of cases unless it is set.
const SECONDS: &str = "FUZZ_SECONDS";
/// Cases between two looks at the clock.
const ROUND: u32 = 64;
const PROGRESS: Duration = Duration::from_secs(10);

/// Runs a target on `cases` inputs, or for the time that `FUZZ_SECONDS` gives it. An input that
/// fails is made as small as it can be, shown, and tried first in later runs
/// (`proptest-regressions`).
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "a budget of time needs a clock, and no core code is told of it"
)]
pub(crate) fn fuzz<S: Strategy>(name: &str, cases: u32, input: &S, target: impl Fn(S::Value)) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let budget = std::env::var(SECONDS).ok().map(|seconds| {
        let seconds = seconds.parse();
        Duration::from_secs(seconds.unwrap_or_else(|_| panic!("{SECONDS}: expected whole seconds")))
    });
    let config = Config {
        cases: budget.map_or(cases, |_| ROUND),
        source_file: Some(Location::caller().file()),
        ..Config::default()
    };
    // Counted where they run: a number that is printed must be one that was seen.
    let ran = Cell::new(0_u64);
    let counted = |input| {
        ran.set(ran.get() + 1);
        target(input);
        Ok(())
    };
    let (start, mut told) = (Instant::now(), Instant::now());
    loop {
        // A runner that has run its cases runs no more, so each round has its own.
        match TestRunner::new(config.clone()).run(input, counted) {
            Err(TestError::Fail(why, input)) => panic!("{name}: {why}\ninput: {input:#?}"),
            Err(TestError::Abort(why)) => panic!("{name}: {why}"),
            Ok(()) => {}
        }
        let (cases, seconds) = (ran.get(), start.elapsed().as_secs());
        if budget.is_none_or(|budget| start.elapsed() >= budget) {
            eprintln!("fuzz {name}: {cases} cases in {seconds} s, none failed");
            return;
        }
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            eprintln!("fuzz {name}: {cases} cases in {seconds} s ...");
        }
    }
}

/// Runs `act` and asserts that it never holds more than `bytes` of new memory.
pub(crate) fn within<T>(bytes: usize, act: impl FnOnce() -> T) -> T {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let result = act();
    let taken = HEAP.peak_usage().saturating_sub(before);
    assert!(
        taken <= bytes,
        "took {taken} bytes of memory, more than {bytes}"
    );
    result
}

#[test]
fn more_memory_than_allowed_is_noticed() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = std::panic::catch_unwind(|| within(1 << 20, || vec![1u8; 2 << 20].len()));
    let why = taken.unwrap_err();
    let why = why.downcast_ref::<String>().unwrap();
    assert!(why.ends_with("more than 1048576"), "{why}");
}
