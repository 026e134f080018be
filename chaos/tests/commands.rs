//! The `chaos` command as people meet it: what it prints, how it ends, what it leaves behind.

mod binary;
mod story;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use binary::{Ended, chaos, command, ended};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use story::Story;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};
use velocitygate_chaos::tools::repository;

/// Longest a demo may take to start, to answer one line, or to stop.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn list_names_the_five_scenarios_of_the_default_set() {
    let ended = chaos(&["list"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let default: Vec<_> = ended
        .stdout
        .lines()
        .filter(|line| !line.contains("only when named"))
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    let names = [
        "redis-unavailable",
        "redis-latency",
        "redis-flapping",
        "thundering-herd",
        "bandwidth",
    ];
    assert_eq!(default, names);
}

#[tokio::test]
async fn a_mistake_on_the_command_line_exits_2_and_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().display().to_string();
    let mistakes: [(&[&str], &str); 14] = [
        (&[], "Usage: chaos"),
        (&["rum"], "'rum'"),
        (&["run", "--sceanrio", "C-01"], "'--sceanrio'"),
        (&["run", "--scenario", "C-99"], "find scenario C-99"),
        (&["run", "--stack", "cloud"], "'cloud'"),
        (&["run", "--stack", "compose"], "compose is not supported"),
        (&["run", "--scenarios", &empty], "no scenario (*.toml) in"),
        (&["judge", &empty], "cannot read"),
        (&["bench", "--peer", "nobody"], "'nobody'"),
        (&["bench", "--rounds", "0"], "1..=100"),
        (&["bench", "--seconds", "0"], "from 0.1 to 60"),
        (&["check"], "<FILE>..."),
        (&["explain", &empty, "/"], "cannot be read"),
        (&["explain", &empty, "/", "--client-ip", "a"], "--client-ip"),
    ];
    for (arguments, named) in mistakes {
        let ended = chaos(arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(named), "{arguments:?}: {ended:?}");
    }
}

#[tokio::test]
async fn check_ends_with_0_for_a_good_file_and_2_for_a_bad_one() {
    let file = |name: &str| repository().join(name).display().to_string();
    let good = file("envoy/envoy.yaml");
    let bad = file("filter/tests/data/config/invalid/many_at_once.json");
    let ended = chaos(&["check", &good]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout, format!("{good}: ok, 1 configuration\n"));
    let ended = chaos(&["check", &good, &bad]).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stdout.contains(&format!("{bad}: error: ")),
        "{ended:?}"
    );
}

#[tokio::test]
async fn every_shipped_configuration_is_good_where_envoy_starts() {
    let mut files: Vec<String> = Vec::new();
    let mut folders = vec![PathBuf::from("envoy")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(repository().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if repository().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "yaml") {
                files.push(path.display().to_string());
            }
        }
    }
    let mut arguments = vec!["check"];
    arguments.extend(files.iter().map(String::as_str));
    let ended = in_repository(&arguments).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for file in &files {
        let ok = format!("{file}: ok, ");
        assert!(ended.stdout.contains(&ok), "{file}: {ended:?}");
    }
    let lines = ended.stdout.lines();
    let warnings: Vec<_> = lines.filter(|it| it.contains("warning: ")).collect();
    // The smallest that works leaves the labels out, on purpose.
    let [labels] = warnings[..] else {
        panic!("{ended:?}");
    };
    assert!(
        labels.starts_with("envoy/minimal.yaml: warning: stats_config.stats_tags: "),
        "{labels}"
    );
    let reload = "envoy/reload.yaml: ok, 2 configurations\n";
    assert!(ended.stdout.contains(reload), "{ended:?}");
    let explained = in_repository(&["explain", "envoy/reload.yaml", "/"]).await;
    assert_eq!(explained.code, Some(0), "{explained:?}");
    let from = ".config_discovery(envoy/reload/velocitygate.yaml).";
    assert!(explained.stdout.contains(from), "{explained:?}");
}

#[tokio::test]
async fn warnings_count_under_strict_also_by_way_of_make() {
    for (file, code) in [("envoy/minimal.yaml", 2), ("envoy/envoy.yaml", 0)] {
        let ended = in_repository(&["check", "--strict", file]).await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let chaos = format!("CHAOS={}", env!("CARGO_BIN_EXE_chaos"));
        let config = format!("CONFIG={file}");
        let mut make = Command::new("make");
        make.current_dir(repository())
            .args(["-s", &chaos, "check", "STRICT=1", &config]);
        let output = timeout(DEADLINE, make.output()).await.unwrap().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), ended.stdout);
    }
}

#[tokio::test]
async fn a_file_that_is_no_configuration_is_named_with_its_place_by_both_commands() {
    let two_of_which_one_is_bad = fs::read_to_string(repository().join("envoy/per-route.yaml"))
        .unwrap()
        .replacen("\"per\": \"1m\"", "\"per\": \"1x\"", 1);
    let files: [(&str, &[u8], &str); 6] = [
        (
            "two.yaml",
            two_of_which_one_is_bad.as_bytes(),
            "http_filters[0].typed_config.config.configuration: rules[0].limit.per: expected a duration",
        ),
        (
            "comma.json",
            b"{ \"rules\": [],\n}",
            "trailing comma at line 2 column 1",
        ),
        (
            "service.yaml",
            b"kind: Service",
            "expected an Envoy configuration, or the filter's own as JSON, found YAML with \"kind\"",
        ),
        ("empty.yaml", b"", "found nothing"),
        ("empty.json", b"", "found nothing"),
        ("latin.json", b"\xe9", "expected text in UTF-8"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut cases = vec![
        (
            folder.path().join("missing"),
            "cannot be read: No such file",
        ),
        (folder.path().to_owned(), "cannot be read: Is a directory"),
        (
            folder.path().join("long.json"),
            "expected at most 8388608 bytes",
        ),
    ];
    let long = fs::File::create(folder.path().join("long.json")).unwrap();
    long.set_len(50_000_000).unwrap();
    for (name, content, expected) in files {
        fs::write(folder.path().join(name), content).unwrap();
        cases.push((folder.path().join(name), expected));
    }
    for (path, expected) in cases {
        let path = path.display().to_string();
        for arguments in [&["check", &path][..], &["explain", &path, "/"]] {
            let ended = chaos(arguments).await;
            assert_eq!(ended.code, Some(2), "{ended:?}");
            let said = ended.stdout + &ended.stderr;
            let mut lines = said.lines().map(|it| it.trim_start_matches("chaos: "));
            let named = |line: &str| line.starts_with(&path) && line.contains(expected);
            assert!(lines.any(named), "{arguments:?}: {said}");
        }
    }
}

/// Runs it where paths in the shipped configurations begin.
async fn in_repository(arguments: &[&str]) -> Ended {
    ended(command(arguments).current_dir(repository())).await
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_changes_nothing() {
    let good = repository().join("envoy/envoy.yaml").display().to_string();
    let bad = repository().join("Makefile").display().to_string();
    let commands: [(&[&str], i32); 4] = [
        (&["list"], 0),
        (&["check", &good], 0),
        (&["check", &bad], 2),
        (&["explain", &good, "/"], 0),
    ];
    for (arguments, code) in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = command(arguments);
        command.stdout(writer).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let output = timeout(DEADLINE, child.wait_with_output()).await.unwrap();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

#[tokio::test]
async fn the_lines_of_the_readme_that_check_and_explain_work() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let (_, section) = readme.split_once("\n## Check and explain\n").unwrap();
    let (lines, _) = section
        .split_once("```sh\n")
        .unwrap()
        .1
        .split_once("```")
        .unwrap();
    let make = format!("make -s CHAOS={} ", env!("CARGO_BIN_EXE_chaos"));
    let mut printed = Vec::new();
    for line in lines.lines() {
        let line = line.strip_prefix("make ").unwrap();
        let folder = repository();
        printed.push(shell(&format!("cd '{}' && {make}{line}", folder.display())).await);
    }
    let [checked, explained] = &printed[..] else {
        panic!("{printed:?}");
    };
    assert_eq!(checked, "envoy/envoy.yaml: ok, 1 configuration\n");
    assert!(
        explained.starts_with("GET api.example.com/orders\n"),
        "{explained}"
    );
    assert!(
        explained.contains("  counter   vg:{per-key:alice}:tb\n"),
        "{explained}"
    );
}

#[tokio::test]
async fn judge_makes_the_same_report_from_the_record_again() {
    let folder = tempfile::tempdir().unwrap();
    let story = Story::healthy("c-01-redis-unavailable.toml");
    fs::write(folder.path().join("record.jsonl"), story.text()).unwrap();
    let path = folder.path().display().to_string();
    let report = folder.path().join("report.json");
    let mut reports = Vec::new();
    for _ in 0..2 {
        let ended = chaos(&["judge", &path]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        reports.push(fs::read_to_string(&report).unwrap());
        fs::remove_file(&report).unwrap();
    }
    assert_eq!(reports[0], reports[1]);
    let expected = serde_json::to_string_pretty(&story.report()).unwrap();
    assert_eq!(reports[0].trim_end(), expected);
}

#[tokio::test]
async fn the_lines_that_demo_prints_work_and_a_signal_stops_all_of_it() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut demo = command(&["demo"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = lines_to_try(&mut demo).await;
        assert_eq!(lines.len(), 3, "{lines:?}");

        let one = curl(&lines[0]).await;
        assert!(one.starts_with("HTTP/1.1 200"), "{one}");
        // Whom Redis keeps waiting passes: a busy machine may take more than one try.
        let end = Instant::now() + DEADLINE;
        loop {
            let many = curl(&lines[1]).await;
            if many.split_whitespace().any(|code| code == "429") {
                break;
            }
            assert!(Instant::now() < end, "no 429 in {many}");
        }
        let counts = curl(&lines[2]).await;
        assert!(counts.contains("velocitygate_requests_total{"), "{counts}");

        let id = demo.id().unwrap();
        let children = children_of(id);
        assert!(children.len() >= 3, "Envoy, Toxiproxy, Redis: {children:?}");
        kill(Pid::from_raw(id.cast_signed()), signal).unwrap();
        let status = timeout(DEADLINE, demo.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0), "{signal}");
        // The demo waited for each of them, so none is left, not even as a zombie.
        let left: Vec<_> = children
            .iter()
            .filter(|it| parent_of(**it).is_some())
            .collect();
        assert!(left.is_empty(), "{signal} left {left:?}");
    }
}

/// Reads what a demo prints until it is up; gives the lines with curl.
async fn lines_to_try(demo: &mut Child) -> Vec<String> {
    let mut printed = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut lines = Vec::new();
    loop {
        let line = timeout(DEADLINE, printed.next_line()).await.unwrap();
        let line = line.unwrap().expect("the demo ended before it was up");
        if line.starts_with("Ctrl-C") {
            return lines;
        }
        if line.contains("curl ") {
            lines.push(line);
        }
    }
}

/// What a line with curl prints when it is pasted into a shell.
async fn curl(line: &str) -> String {
    let found = Command::new("curl").arg("--version").output().await;
    assert!(
        found.is_ok(),
        "the demo's lines need curl: run `apt-get install curl`"
    );
    shell(line).await
}

async fn shell(line: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", line]).kill_on_drop(true);
    let output = timeout(DEADLINE, command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn children_of(parent: u32) -> Vec<u32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter(|pid| parent_of(*pid) == Some(parent))
        .collect()
}

/// The parent of a process; `None` when there is no such process.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may hold anything: state, parent.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(1)?.parse().ok()
}
