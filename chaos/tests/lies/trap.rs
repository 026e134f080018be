//! A VM that traps while others wait in it. Nothing known traps the shipped module, and it must
//! hold no hook for it; so the test takes the shipped module and puts a trap in front of its
//! entry point for requests: one with very many headers is never let in. All behind that door,
//! and so what becomes of the requests that wait there, is the real thing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinSet;
use velocitygate_chaos::stack::{EnvoyVersion, MODULE, Spec, Wiring};
use velocitygate_chaos::tools::repository;

use super::bed::{Answer, Bed};
use super::eventually;

/// Requests with at least so many headers trap; Envoy's own bound is 100.
const FATAL_HEADERS: usize = 64;

/// Requests that wait when the VM traps.
const WAITING: usize = 5;

const ENTRY: &str = "(export \"proxy_on_request_headers\" (func ";

/// Writes the shipped module with the trap into `dir`.
fn trapping_module(dir: &Path) -> PathBuf {
    let shipped = repository().join(MODULE);
    let bytes = std::fs::read(&shipped)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make wasm`", shipped.display()));
    let text = wasmprinter::print_bytes(bytes).unwrap();
    let (before, rest) = text.split_once(ENTRY).expect("the module handles requests");
    let (real, after) = rest.split_once("))").unwrap();
    let body = after.trim_end().strip_suffix(')').unwrap();
    // At the very end, so that it takes no number from the functions that are called by number.
    let trapping = format!(
        "{before}{body}
         (func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)
           (if (i32.ge_u (local.get 1) (i32.const {FATAL_HEADERS})) (then unreachable))
           (call {real} (local.get 0) (local.get 1) (local.get 2))))"
    );
    let path = dir.join("trapping.wasm");
    std::fs::write(&path, wat::parse_str(trapping).unwrap()).unwrap();
    path
}

/// Requests under way.
type Waiting = JoinSet<reqwest::Result<Answer>>;

/// A stack whose VM trapped while [`WAITING`] requests waited in it, and those requests.
async fn trapped(envoy: EnvoyVersion) -> (Bed, Waiting) {
    let dir = tempfile::tempdir().unwrap();
    let change = |spec: &mut Spec| {
        spec.envoy = envoy;
        spec.module = Some(trapping_module(dir.path()));
        spec.wiring = Wiring::TcpProxy;
    };
    // They wait for longer than Envoy lets a stream be idle: only that can end them.
    let bed = Bed::start(Duration::from_secs(10), change).await;
    bed.assert_counts_exactly("before").await;
    bed.stack.redis().freeze().await.unwrap();
    let mut waiting = JoinSet::new();
    for _ in 0..WAITING {
        waiting.spawn(bed.request("waiting"));
    }
    eventually("the requests wait", async || {
        bed.sample().await.waiting == WAITING as u64
    })
    .await;
    let mut fatal = reqwest::Client::new().get(bed.envoy().front_url());
    for index in 0..FATAL_HEADERS {
        fatal = fatal.header(format!("x-{index}"), "y");
    }
    assert_eq!(fatal.send().await.unwrap().status(), 503);
    let log = bed.log();
    assert!(log.contains("RuntimeError"), "a trap is told in the log");
    bed.stack.redis().thaw().await.unwrap();
    (bed, waiting)
}

/// `FAIL_RELOAD` serves new requests; `stream_idle_timeout` ends those that waited in the dead VM,
/// of which nobody else knows any more. Both as `envoy.yaml` has them.
async fn the_others_end_and_new_ones_are_served(envoy: EnvoyVersion) {
    let (bed, waiting) = trapped(envoy).await;
    // Envoy reloads a VM at most once a second; until then it answers 503.
    let mut tries = 0;
    eventually("a new VM counts", async || {
        tries += 1;
        bed.get(&format!("again {tries}")).await.remaining.is_some()
    })
    .await;
    bed.assert_counts_exactly("after").await;
    let reloads = "wasm.velocitygate.vm_reload_success";
    assert_eq!(bed.vitals().await.get(reloads), Some(&1));

    for answer in waiting.join_all().await {
        let answer = answer.unwrap();
        assert!(answer.status >= 500, "{answer:?}");
        assert_eq!(answer.limit_headers, Vec::<String>::new());
    }
    assert_eq!(bed.stack.upstream().hits_of("/", "waiting"), 0);
}

#[tokio::test]
async fn i8_requests_that_wait_in_a_vm_that_traps_end_and_new_ones_are_served() {
    the_others_end_and_new_ones_are_served(EnvoyVersion::Newest).await;
}

#[tokio::test]
async fn i8_requests_that_wait_in_a_vm_that_traps_end_on_the_oldest_envoy_too() {
    the_others_end_and_new_ones_are_served(EnvoyVersion::Oldest).await;
}

#[tokio::test]
async fn nobody_is_counted_as_waiting_for_ever_after_a_trap() {
    let (bed, waiting) = trapped(EnvoyVersion::Newest).await;
    waiting.join_all().await;
    eventually("nobody waits any more", async || {
        bed.get("later").await;
        bed.sample().await.waiting == 0
    })
    .await;
}
