//! The `chaos` command on a live stack: what a run concludes follows from what the filter does.
//! The scenarios are the shipped ones, made short.

mod binary;

use std::fs;
use std::path::{Path, PathBuf};

use binary::{Ended, chaos};
use tokio::sync::{Mutex, MutexGuard};
use toml::{Table, Value};
use velocitygate_chaos::judge::Cause;
use velocitygate_chaos::report::{Report, ScenarioReport};

/// Requests per second: few, so that an unoptimised load generator keeps its times.
const RPS: i64 = 200;

/// Measures that tell how quick the machine is, as scenario files name them: of latency, and of
/// counts, which a stall of `redis.timeout` costs.
const QUICKNESS: [&str; 6] = [
    "p50",
    "p95",
    "p99",
    "longest",
    "p99_over_baseline",
    "counted_share",
];

/// Two stacks at once would make each other slow, and slowness is what a run measures.
async fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::const_new(());
    ONE.lock().await
}

/// A shipped scenario with phases of 1, 2, 3 and 3 seconds.
fn short(file: &str) -> Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scenarios")
        .join(file);
    let mut scenario: Table = fs::read_to_string(path).unwrap().parse().unwrap();
    scenario["load"]["rps"] = Value::Integer(RPS);
    for (phase, seconds) in [
        ("warmup_s", 1),
        ("baseline_s", 2),
        ("fault_s", 3),
        ("recovery_s", 3),
    ] {
        scenario["phases"][phase] = Value::Integer(seconds);
    }
    scenario["timeline"][0]["at_s"] = Value::Integer(3);
    scenario["timeline"][0]["heal_at_s"] = Value::Integer(6);
    // How quick an unoptimised build is on a busy machine says nothing about the filter.
    for bounds in ["steady", "checks"] {
        let bounds = scenario[bounds].as_array_mut().unwrap();
        bounds.retain(|it| !QUICKNESS.contains(&it["measure"].as_str().unwrap()));
    }
    scenario
}

/// How often a run is tried while only the machine spoils it.
const RUNS: u32 = 5;

/// What a run says of itself when the machine had no time for the suite.
const STALLS: [&str; 2] = ["was not injected and healed within", "gave no readings for"];

/// Runs a scenario from a folder of its own, with the run's folder in `dir/reports`. A machine that
/// was late with the load spoils a run, though the filter was asked all the same: then the record
/// is judged without the lateness. One that stalled longer spoils it for good, and it is tried again,
/// a few times.
async fn run(scenario: &Table, dir: &Path) -> Ended {
    for attempt in 1..=RUNS {
        let dir = dir.join(attempt.to_string());
        fs::create_dir(&dir).unwrap();
        let mut ended = run_once(scenario, &dir).await;
        let folder = run_folder(&dir);
        if ended.code == Some(3) {
            excuse_lateness(&folder.join("record.jsonl"));
            ended = chaos(&["judge", &folder.display().to_string()]).await;
        }
        if ended.code != Some(3) || !is_spoiled(&folder) {
            fs::rename(dir.join("reports"), dir.with_file_name("reports")).unwrap();
            return ended;
        }
        assert!(
            attempt < RUNS,
            "this machine spoiled {RUNS} runs: {ended:?}"
        );
    }
    unreachable!("the last attempt returns or fails");
}

/// Takes out of a record how late the generator was with each request.
fn excuse_lateness(record: &Path) {
    let mut excused = String::new();
    for line in fs::read_to_string(record).unwrap().lines() {
        let mut event: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(late_us) = event.get_mut("late_us") {
            *late_us = 0.into();
        }
        excused += &format!("{event}\n");
    }
    fs::write(record, excused).unwrap();
}

/// Whether all that a run failed of is the machine's fault.
fn is_spoiled(folder: &Path) -> bool {
    let report = Report::load(folder).unwrap();
    let last = report.scenarios.last();
    let stalled = |reason: &String| STALLS.iter().any(|it| reason.contains(it));
    let is_spoiled = |it: &ScenarioReport| {
        it.cause.is_some_and(Cause::is_machine) || it.reasons.iter().all(stalled)
    };
    report.not_run.is_empty() && last.is_some_and(is_spoiled)
}

/// The folder of the only run in `dir/reports`.
fn run_folder(dir: &Path) -> PathBuf {
    let mut runs = fs::read_dir(dir.join("reports")).unwrap();
    runs.next().unwrap().unwrap().path()
}

async fn run_once(scenario: &Table, dir: &Path) -> Ended {
    let scenarios = dir.join("scenarios");
    fs::create_dir(&scenarios).unwrap();
    fs::write(scenarios.join("one.toml"), scenario.to_string()).unwrap();
    let [scenarios, reports] = [scenarios, dir.join("reports")].map(|it| it.display().to_string());
    chaos(&["run", "--scenarios", &scenarios, "--out", &reports]).await
}

#[tokio::test]
async fn a_run_without_a_breaker_is_refuted() {
    let _alone = alone().await;
    let dir = tempfile::tempdir().unwrap();
    let mut scenario = short("c-02-redis-latency.toml");
    scenario["filter"]
        .as_table_mut()
        .unwrap()
        .insert("breaker".to_owned(), Value::String("off".to_owned()));
    let ended = run(&scenario, dir.path()).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stdout.contains("the breaker opens: measured 0"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_run_that_fails_closed_is_refuted() {
    let _alone = alone().await;
    let dir = tempfile::tempdir().unwrap();
    let mut scenario = short("c-01-redis-unavailable.toml");
    scenario["filter"]["rules"][0]["on_failure"] = Value::String("deny".to_owned());
    // A stall of `redis.timeout` costs successes, too, now.
    let steady = &mut scenario["steady"][0];
    assert_eq!(steady["measure"].as_str(), Some("success_share"));
    steady["bound"] = Value::Float(0.5);
    let ended = run(&scenario, dir.path()).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let refuted = "requests succeed while Redis is gone: measured";
    assert!(ended.stdout.contains(refuted), "{ended:?}");
}

#[tokio::test]
async fn an_upheld_run_exits_0_and_is_judged_the_same_again() {
    let _alone = alone().await;
    let dir = tempfile::tempdir().unwrap();
    let mut scenario = short("c-01-redis-unavailable.toml");
    // The targets are about a machine that does nothing else.
    scenario["checks"]
        .as_array_mut()
        .unwrap()
        .retain(|check| check["source"].as_str() == Some("plan"));
    let ended = run(&scenario, dir.path()).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");

    let folder = run_folder(dir.path());
    let report = folder.join("report.json");
    let first = fs::read_to_string(&report).unwrap();
    fs::remove_file(&report).unwrap();
    let again = chaos(&["judge", &folder.display().to_string()]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(fs::read_to_string(&report).unwrap(), first);
}
