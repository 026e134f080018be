//! The benchmark on real processes, as short as it can be: what it leaves, not how fast anything is.

mod binary;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use binary::{chaos, command};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

/// Longest a start or an end may take.
const DEADLINE: Duration = Duration::from_secs(60);

fn report(out: &Path) -> (Value, String) {
    let mut runs = fs::read_dir(out).unwrap();
    let folder = runs.next().unwrap().unwrap();
    assert!(runs.next().is_none());
    let name = folder.file_name().into_string().unwrap();
    assert!(name.starts_with("BENCH-"), "{name}");
    let read = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap();
    let report: Value = serde_json::from_str(&read("bench.json")).unwrap();
    assert_eq!(report["run_id"], *name);
    (report, read("bench.md"))
}

fn names(list: &Value, field: &str) -> Vec<String> {
    let items = list.as_array().unwrap().iter();
    items
        .map(|it| it[field].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_short_run_measures_who_was_asked_for_and_says_what_it_did_not_measure() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().display().to_string();
    let arguments = ["--rounds", "1", "--seconds", "0.3", "--out", &folder];
    let peers = ["bench", "--peer", "none,empty,local", "--peer", "strict"];
    let ended = chaos(&[&peers[..], &arguments[..]].concat()).await;
    let (report, markdown) = report(out.path());
    let turns = report["turns"].as_array().unwrap();
    let void: Vec<_> = turns.iter().filter(|it| !it["void"].is_null()).collect();
    assert!(void.is_empty(), "{void:#?}");
    let rows = names(&report["peers"], "peer");
    assert_eq!(rows, ["none", "empty", "local", "strict"]);
    for row in report["peers"].as_array().unwrap() {
        let number = |field: &str| row["medians"][field].as_f64().unwrap();
        let peer = &row["peer"];
        assert!(number("rps") > 0.0 && number("envoy_us") > 0.0, "{row:#}");
        assert!(number("p99_ms") >= number("p50_ms"), "{row:#}");
        assert_eq!(number("calls") > 0.0, peer == "strict", "{row:#}");
    }
    let targets = report["targets"].as_array().unwrap();
    let of = |name: &str| targets.iter().find(|it| it["name"] == name).unwrap();
    let measured = of("strict: throughput against an empty wasm filter");
    assert!(measured["value"].as_f64().unwrap() > 0.0, "{measured:#}");
    let other = of("leased: Redis calls for a hot key");
    assert_eq!(other["verdict"], "not_measured");
    assert_eq!(other["reason"], "leased: not asked for");
    // Whether a target is held is the machine's affair; a missed one counts more.
    let missed = names(&report["targets"], "verdict").contains(&"missed".to_owned());
    assert_eq!(ended.code, Some(if missed { 1 } else { 3 }), "{ended:?}");
    let run_id = report["run_id"].as_str().unwrap();
    assert!(markdown.starts_with(&format!("# {run_id}: ")), "{markdown}");
    assert!(ended.stdout.contains("1/4 round 1: "), "{ended:?}");
    assert_eq!(ended.stderr, "");
}

#[tokio::test]
async fn a_signal_ends_it_in_order_with_a_report_and_no_process_left() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().display().to_string();
    let arguments = [
        "bench",
        "--peer",
        "none",
        "--seconds",
        "60",
        "--out",
        &folder,
    ];
    let mut bench = command(&arguments).stdout(Stdio::piped()).spawn().unwrap();
    let pid = bench.id().unwrap();
    let mut lines = BufReader::new(bench.stdout.take().unwrap()).lines();
    let first = timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap();
    assert!(first.unwrap().contains("5 rounds"));
    let is_up = async {
        while children(pid) < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, is_up).await.unwrap();
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGINT).unwrap();
    let status = timeout(DEADLINE, bench.wait()).await.unwrap().unwrap();
    // Of all targets only the module's size is judged by then.
    let (report, markdown) = report(out.path());
    assert_eq!(report["interrupted"], true);
    assert_eq!(report["turns"][0]["void"], "interrupted");
    assert!(markdown.contains("Somebody ended it early"), "{markdown}");
    assert_eq!(status.code(), Some(3), "{report:#}");
    let dir = out.path().display().to_string();
    let left = processes().filter(|(_, line)| line.contains(&dir));
    assert_eq!(left.collect::<Vec<_>>(), []);
}

/// How many children a process has.
fn children(parent: u32) -> usize {
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.to_owned());
        let parent_of = fields.and_then(|it| it.split(' ').nth(1)?.parse().ok());
        parent_of == Some(parent)
    };
    processes().filter(|(pid, _)| is_child(pid)).count()
}

/// All processes with their command lines.
fn processes() -> impl Iterator<Item = (u32, String)> {
    fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid = entry.unwrap().file_name().to_str()?.parse().ok()?;
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        Some((pid, line.replace('\0', " ")))
    })
}
