//! Clients that attack with what they send (I9): whatever HTTP lets through becomes a key of its
//! own, and never a command.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::bed::{BURST, Bed, PATIENT};
use super::{DEADLINE, eventually};

/// Commands that the filter's script runs, and the two that run the script.
const OURS: [&str; 5] = ["evalsha", "eval", "get", "set", "time"];

/// Commands with which the tests and the stack look at Redis.
const OBSERVERS: [&str; 5] = ["info", "keys", "client|setinfo", "hello", "dbsize"];

/// Header values that HTTP allows. Trimmed of outer blanks they are all different.
const KEYS: &[&[u8]] = &[
    b"",
    b"plain",
    b"*3",
    b"$-1",
    b"*3\\r\\n$8\\r\\nFLUSHALL",
    b"%0d%0aFLUSHALL%0d%0a",
    b"FLUSHALL",
    b"a\tb",
    b"a b",
    b"c\rd",
    b"a:b",
    b"a,b",
    b"{a}",
    b"}:{",
    b"' return redis.call('FLUSHALL') --",
    b"\xff\xfe\x80",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    "ключ".as_bytes(),
    "é".as_bytes(),
    "e\u{301}".as_bytes(),
];

/// The bytes of a GET with these header lines.
fn get(lines: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n".to_vec();
    for line in lines {
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

fn key_line(value: &[u8]) -> Vec<u8> {
    [b"x-api-key: ", value].concat()
}

/// What a raw request got: its status, and `r` of its `RateLimit` header.
async fn raw(front: SocketAddr, request: &[u8]) -> (u16, Option<u64>) {
    let conversation = async {
        let mut stream = TcpStream::connect(front).await.unwrap();
        // Envoy may refuse and close before it has read all of a request.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = timeout(DEADLINE, conversation).await.expect("an answer");
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let remaining = answer.lines().find_map(|line| {
        let field = line.strip_prefix("ratelimit: ")?;
        field
            .split(';')
            .find_map(|part| part.strip_prefix("r=")?.parse().ok())
    });
    (
        status.unwrap_or_else(|| panic!("no status in {answer:?}")),
        remaining,
    )
}

/// Commands that Redis ever ran, by its own account.
async fn commands(bed: &Bed) -> BTreeSet<String> {
    let info = bed.stack.redis().info().await.unwrap();
    let lines = info
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_"));
    lines
        .filter_map(|line| Some(line.split_once(':')?.0.to_owned()))
        .collect()
}

async fn assert_only_ours(bed: &Bed, counters: usize) {
    let known: BTreeSet<String> = OURS
        .iter()
        .chain(&OBSERVERS)
        .map(|&name| name.to_owned())
        .collect();
    let foreign: Vec<String> = commands(bed).await.difference(&known).cloned().collect();
    assert_eq!(foreign, Vec::<String>::new());
    let mut all = redis::cmd("KEYS");
    all.arg("*");
    let keys: Vec<Vec<u8>> = bed.stack.redis().ask(all).await.unwrap();
    assert_eq!(keys.len(), counters, "{keys:?}");
    assert!(
        keys.iter().all(|key| key.starts_with(b"vg:{per-key:")),
        "{keys:?}"
    );
    bed.assert_no_trap("what clients sent");
}

async fn warm(bed: &Bed) {
    eventually("the limiter counts", async || {
        bed.get("warm").await.remaining.is_some()
    })
    .await;
}

#[tokio::test]
async fn i9_every_value_that_http_allows_is_a_key_of_its_own_and_never_a_command() {
    let bed = Bed::start(PATIENT, |_| {}).await;
    warm(&bed).await;
    let (front, vitals) = (bed.envoy().ports().front, bed.vitals().await);
    for left in (0..BURST).rev() {
        for key in KEYS {
            let answer = raw(front, &get(&[key_line(key)])).await;
            assert_eq!(answer, (200, Some(left)), "{}", key.escape_ascii());
        }
    }
    for key in KEYS {
        let answer = raw(front, &get(&[key_line(key)])).await;
        assert_eq!(answer.0, 429, "{}", key.escape_ascii());
    }
    assert_only_ours(&bed, KEYS.len() + 1).await;
    bed.assert_unharmed(&vitals, "what clients sent").await;
}

#[tokio::test]
async fn i9_a_value_that_http_forbids_never_reaches_the_filter() {
    let bed = Bed::start(PATIENT, |_| {}).await;
    warm(&bed).await;
    let front = bed.envoy().ports().front;
    for value in [&b"a\0b"[..], b"a\nb", b"a\r\nFLUSHALL\r\n", b"\x01"] {
        let (status, _) = raw(front, &get(&[key_line(value)])).await;
        assert_eq!(status, 400, "{}", value.escape_ascii());
    }
    assert_only_ours(&bed, 1).await;
}

#[tokio::test]
async fn i9_large_many_and_repeated_headers_are_counted_or_refused_by_envoy() {
    let bed = Bed::start(PATIENT, |_| {}).await;
    warm(&bed).await;
    let (front, vitals) = (bed.envoy().ports().front, bed.vitals().await);
    let long = |bytes: usize| key_line(&vec![b'k'; bytes]);
    let filler = |headers: usize| (0..headers).map(|index| format!("x-{index}: y").into_bytes());
    let many = |headers: usize| {
        filler(headers)
            .chain([key_line(b"many")])
            .collect::<Vec<_>>()
    };
    let repeated = vec![key_line(b"one"), key_line(b"two")];
    let others = vec![key_line(b"one"), key_line(b"three")];
    let rows = [
        ("a value of 57 KB", vec![long(57 << 10)], 200),
        (
            "one byte longer, so another key",
            vec![long((57 << 10) + 1)],
            200,
        ),
        ("a value of 64 KB", vec![long(64 << 10)], 431),
        ("90 headers", many(88), 200),
        ("120 headers", many(118), 431),
        ("a key sent twice", repeated, 200),
        ("its first half", vec![key_line(b"one")], 200),
        ("its second half", vec![key_line(b"two")], 200),
        ("two others, in the same counter", others, 200),
    ];
    for (what, lines, status) in &rows {
        let (found, remaining) = raw(front, &get(lines)).await;
        assert_eq!(found, *status, "{what}");
        // All requests that repeat the header with other values share a counter: no second one is gained.
        let left = if *what == "two others, in the same counter" {
            BURST - 2
        } else {
            BURST - 1
        };
        assert_eq!(remaining, (*status == 200).then_some(left), "{what}");
    }
    assert_only_ours(&bed, 1 + 6).await;
    bed.assert_unharmed(&vitals, "what clients sent").await;
}
