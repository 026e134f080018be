//! The bridge root: bytes through the stream callbacks.

use proptest::prelude::*;

use crate::pieces::{cuts, pieces};
use crate::wasm_host::{Process, Worker};

const COMMAND: &[u8] = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";

fn call() -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nhost: velocitygate\r\nx-velocitygate-replies: 1\r\n\
         content-length: {}\r\n\r\n",
        COMMAND.len()
    );
    [head.as_bytes(), COMMAND].concat()
}

fn bridge() -> (Worker, u32) {
    let mut worker = Worker::start(&Process::start());
    let root = worker.root("velocitygate_redis", "").unwrap();
    let connection = worker.connection(root);
    (worker, connection)
}

fn garbage() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..100),
        Just(call()),
        Just(b"+OK\r\n".to_vec()),
    ];
    proptest::collection::vec((any::<bool>(), bytes), 0..10)
}

#[test]
fn replies_that_are_not_resp_are_answered_with_502() {
    let (mut worker, connection) = bridge();
    worker.downstream(connection, &call());
    let (answer, _) = worker.upstream(connection, b"HTTP/1.1 200 OK\r\n\r\n");
    assert!(
        answer.starts_with(b"HTTP/1.1 502 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[test]
fn a_caller_that_is_no_http_client_is_cut_off_and_nothing_reaches_the_store() {
    let (mut worker, connection) = bridge();
    let (forwarded, _) = worker.downstream(connection, b"FLUSHALL\r\n");
    assert_eq!(forwarded, b"");
    assert!(worker.stream(connection).closed);
}

/// Envoy tells a connection of the store's end, also when the module has just had it closed and it is
/// gone.
#[test]
fn i9_a_store_that_ends_with_a_last_word_traps_nothing() {
    let call = call();
    let rows: [(&[u8], &[u8]); 5] = [
        (b"", b""),
        (b"POST /", b""),
        (&call, b""),
        (&call, b"+OK\r\n"),
        (&call, b"no RESP\r\n"),
    ];
    for (call, reply) in rows {
        for last in [&b""[..], b"+OK\r\n", b"no RESP\r\n"] {
            let (mut worker, connection) = bridge();
            worker.downstream(connection, call);
            worker.upstream(connection, reply);
            worker.upstream_end(connection, last);
            worker.delete(connection);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_call_cut_anywhere_reaches_the_store_whole_and_its_replies_the_caller(
        call_cuts in cuts(),
        reply_cuts in cuts(),
        rounds in 1usize..3,
    ) {
        let (mut worker, connection) = bridge();
        let (call, reply) = (call(), b"$5\r\nhello\r\n");
        for _ in 0..rounds {
            let mut forwarded = Vec::new();
            for piece in pieces(&call, &call_cuts) {
                forwarded.extend(worker.downstream(connection, piece).0);
            }
            prop_assert_eq!(&forwarded[..], COMMAND);
            let mut answer = Vec::new();
            for piece in pieces(reply, &reply_cuts) {
                answer.extend(worker.upstream(connection, piece).0);
            }
            let expected = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n$5\r\nhello\r\n";
            prop_assert_eq!(&answer[..], &expected[..]);
        }
        prop_assert!(!worker.stream(connection).closed);
        worker.delete(connection);
    }

    #[test]
    fn garbage_both_ways_never_traps_and_only_whole_calls_reach_the_store(pieces in garbage()) {
        let (mut worker, connection) = bridge();
        for (from_caller, bytes) in pieces {
            if from_caller {
                let forwarded = worker.downstream(connection, &bytes).0;
                prop_assert!(forwarded.is_empty() || forwarded == COMMAND);
            } else {
                worker.upstream(connection, &bytes);
            }
        }
        worker.delete(connection);
    }
}
