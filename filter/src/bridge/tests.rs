//! Whole calls, calls in pieces, and both sides lying.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::resp::{MAX_LINE_BYTES, encode};

fn commands(count: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..count {
        encode::command(&mut body, &[b"EVALSHA", b"\r\n*1\r\n"]);
    }
    body
}

/// A call as Envoy 1.40 writes it for `dispatch_http_call`, header for header.
fn call(replies: usize, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST / HTTP/1.1\r\nhost: velocitygate_redis\r\n{REPLIES_HEADER}: {replies}\r\n\
         content-length: {}\r\nx-envoy-internal: true\r\nx-envoy-expected-rq-timeout-ms: 50\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn answer(replies: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n",
        replies.len()
    );
    [head.as_bytes(), replies].concat()
}

/// A session in which a call with `replies` commands is with the store.
fn waiting(replies: usize) -> Session {
    let mut session = Session::default();
    let forward = session.on_downstream(&call(replies, &commands(replies)));
    assert_eq!(forward, Downstream::Forward(commands(replies)));
    session
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

fn assert_over(session: &mut Session) {
    assert_eq!(
        session.on_downstream(&call(1, &commands(1))),
        Downstream::Close
    );
    assert_eq!(session.on_upstream(b":1\r\n"), Upstream::Close);
    assert_eq!(session.held_bytes(), 0);
}

fn refused(bytes: &[u8]) -> Option<Refusal> {
    let mut session = Session::default();
    match session.on_downstream(bytes) {
        Downstream::Refuse(refusal) => {
            assert_over(&mut session);
            Some(refusal)
        }
        _ => None,
    }
}

proptest! {
    #[test]
    fn calls_and_replies_cut_anywhere_give_what_one_piece_gives(
        calls in vec((1_usize..5, vec(any::<usize>(), 0..6), vec(any::<usize>(), 0..6)), 1..5),
    ) {
        let mut session = Session::default();
        for (count, call_cuts, reply_cuts) in calls {
            let mut forwarded = Vec::new();
            for piece in pieces(&call(count, &commands(count)), &call_cuts) {
                match session.on_downstream(piece) {
                    Downstream::Wait => {}
                    Downstream::Forward(body) => forwarded.push(body),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert_eq!(forwarded, vec![commands(count)]);
            let replies = b"*2\r\n:1\r\n$3\r\n\r\n:\r\n".repeat(count);
            let mut answers = Vec::new();
            for piece in pieces(&replies, &reply_cuts) {
                match session.on_upstream(piece) {
                    Upstream::Wait => {}
                    Upstream::Answer(bytes) => answers.push(bytes),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert_eq!(answers, vec![answer(&replies)]);
            prop_assert_eq!(session.held_bytes(), 0);
        }
    }

    #[test]
    fn a_refusal_does_not_depend_on_the_pieces(
        at in any::<usize>(), byte in any::<u8>(), cuts in vec(any::<usize>(), 0..6),
    ) {
        let mut bytes = call(2, &commands(2));
        let at = at % bytes.len();
        bytes[at] = byte;
        let whole = Session::default().on_downstream(&bytes);
        let mut session = Session::default();
        let last = pieces(&bytes, &cuts)
            .into_iter()
            .map(|piece| session.on_downstream(piece))
            .find(|outcome| *outcome != Downstream::Wait);
        // A shorter length makes the rest of the body a second call, which in pieces may come
        // after the first has gone.
        if whole != Downstream::Refuse(Refusal::Pipelined) {
            prop_assert_eq!(last.unwrap_or(Downstream::Wait), whole);
        }
    }

    #[test]
    fn noise_from_either_side_never_panics_and_is_never_hoarded(
        noise in vec((any::<bool>(), noise()), 0..30), call_first in any::<bool>(),
    ) {
        let mut session = if call_first { waiting(3) } else { Session::default() };
        for (from_caller, bytes) in noise {
            if from_caller {
                session.on_downstream(&bytes);
            } else {
                session.on_upstream(&bytes);
            }
            prop_assert!(session.held_bytes() <= MAX_HEAD_BYTES.max(3 * (MAX_LINE_BYTES + 3)));
        }
    }
}

/// Bytes of any kind, and among them the openings of things that might never end.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..300),
        Just(b"POST / HTTP/1.1\r\nx: ".to_vec()),
        Just(b"-".to_vec()),
        (0_usize..6000).prop_map(|length| vec![b'x'; length]),
    ]
}

#[test]
fn what_is_not_a_call_is_refused_by_name() {
    let good = String::from_utf8(call(1, &commands(1))).unwrap();
    let length = format!("content-length: {}", commands(1).len());
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        refused(good.replacen(from, to, 1).as_bytes())
    };
    assert_eq!(with("POST", "GET"), Some(Refusal::RequestLine));
    assert_eq!(with("POST /", "POST /x"), Some(Refusal::RequestLine));
    assert_eq!(with("HTTP/1.1", "HTTP/1.0"), Some(Refusal::RequestLine));
    assert_eq!(with("HTTP/1.1", "HTTP/2.0"), Some(Refusal::Head));
    assert_eq!(with("host:", "ho st:"), Some(Refusal::Head));
    let chunked = format!("transfer-encoding: chunked\r\n{length}");
    assert_eq!(with(&length, &chunked), Some(Refusal::TransferEncoding));
    for wrong in [
        "x: y",
        "content-length: 0",
        "content-length: -1",
        "content-length: +9",
    ] {
        assert_eq!(
            with(&length, wrong),
            Some(Refusal::ContentLength),
            "{wrong}"
        );
    }
    let twice = format!("{length}\r\n{length}");
    assert_eq!(with(&length, &twice), Some(Refusal::ContentLength));
    for wrong in [
        "",
        "0",
        "1, 1",
        "-1",
        "one",
        "1\r\nx-velocitygate-replies: 1",
    ] {
        let replies = format!("{REPLIES_HEADER}: {wrong}");
        assert_eq!(
            with(&format!("{REPLIES_HEADER}: 1"), &replies),
            Some(Refusal::Replies),
            "{wrong}"
        );
    }
    assert_eq!(refused(b"*1\r\n$4\r\nPING\r\n"), Some(Refusal::Head));
    assert_eq!(refused(&call(2, &commands(1))), Some(Refusal::Commands));
    assert_eq!(refused(&call(1, &commands(2))), Some(Refusal::Commands));
    assert_eq!(refused(&call(1, b"FLUSHALL\r\n")), Some(Refusal::Commands));
    assert_eq!(
        refused(&call(1, &commands(1)).repeat(2)),
        Some(Refusal::Pipelined)
    );
}

#[test]
fn header_names_are_taken_in_any_case() {
    let good = String::from_utf8(call(1, &commands(1))).unwrap();
    let shouted = good.replace("content-length", "Content-Length");
    let outcome = Session::default().on_downstream(shouted.as_bytes());
    assert_eq!(outcome, Downstream::Forward(commands(1)));
}

#[test]
fn a_second_call_before_the_answer_is_refused() {
    let mut session = waiting(1);
    assert_eq!(
        session.on_downstream(b"P"),
        Downstream::Refuse(Refusal::Pipelined)
    );
    assert_over(&mut session);
}

#[test]
fn replies_that_lie_fail_the_call_and_end_the_session() {
    let rows: &[(&[u8], Fault)] = &[
        (b"*1000000000\r\n", Fault::TooLarge),
        (b"$67108864\r\n", Fault::TooLarge),
        (b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", Fault::TooLarge),
        (b"$-2\r\n", Fault::Malformed),
        (b"+OK\n", Fault::Malformed),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Fault::Malformed),
        (b":1\r\n:2\r\n:3\r\n", Fault::Surplus),
        (b":1\r\n:2\r\n:", Fault::Surplus),
    ];
    for &(bytes, fault) in rows {
        let mut session = waiting(2);
        assert_eq!(
            session.on_upstream(bytes),
            Upstream::Fail(fault),
            "{fault:?}"
        );
        assert_over(&mut session);
    }
}

#[test]
fn error_replies_are_replies() {
    let mut session = waiting(2);
    let replies = b"-\r\n-upstream failure\r\n";
    assert_eq!(
        session.on_upstream(replies),
        Upstream::Answer(answer(replies))
    );
}

#[test]
fn replies_that_nobody_asked_for_end_the_session() {
    let mut fresh = Session::default();
    assert_eq!(fresh.on_upstream(b":1\r\n"), Upstream::Close);
    assert_over(&mut fresh);

    let mut answered = waiting(1);
    assert_eq!(
        answered.on_upstream(b":1\r\n"),
        Upstream::Answer(answer(b":1\r\n"))
    );
    assert_eq!(answered.on_upstream(b":2\r\n"), Upstream::Close);
    assert_over(&mut answered);

    // Half a call has come, so the next reply could be taken for its own.
    let mut receiving = Session::default();
    assert_eq!(receiving.on_downstream(b"POST /"), Downstream::Wait);
    assert_eq!(receiving.on_upstream(b":1\r\n"), Upstream::Close);
    assert_over(&mut receiving);
}

#[test]
fn empty_pieces_change_nothing() {
    let mut session = Session::default();
    assert_eq!(session.on_downstream(b""), Downstream::Wait);
    assert_eq!(session.on_upstream(b""), Upstream::Wait);
    let mut session = waiting(1);
    assert_eq!(session.on_downstream(b""), Downstream::Wait);
    assert_eq!(session.on_upstream(b""), Upstream::Wait);
    assert_eq!(
        session.on_upstream(b":1\r\n"),
        Upstream::Answer(answer(b":1\r\n"))
    );
}

#[test]
fn a_head_may_be_as_long_as_its_bound_and_no_longer() {
    let padded = |head_bytes: usize| {
        let plain = String::from_utf8(call(1, &commands(1))).unwrap();
        let head = plain.find("\r\n\r\n").unwrap() + 4;
        let padding = "p".repeat(head_bytes - head - "x-pad: \r\n".len());
        plain
            .replacen("host:", &format!("x-pad: {padding}\r\nhost:"), 1)
            .into_bytes()
    };
    assert_eq!(refused(&padded(MAX_HEAD_BYTES)), None);
    assert_eq!(refused(&padded(MAX_HEAD_BYTES + 1)), Some(Refusal::Head));
    let endless = [b"POST / HTTP/1.1\r\nx: ", &vec![b'x'; MAX_HEAD_BYTES][..]].concat();
    assert_eq!(refused(&endless), Some(Refusal::Head));
}

#[test]
fn a_call_may_have_as_many_commands_as_their_bound_and_no_more() {
    assert_eq!(refused(&call(MAX_REPLIES, &commands(MAX_REPLIES))), None);
    let more = MAX_REPLIES + 1;
    assert_eq!(
        refused(&call(more, &commands(more))),
        Some(Refusal::Replies)
    );
}

#[test]
fn a_body_may_be_as_long_as_its_bound_and_no_longer() {
    let stated = |length| {
        format!("POST / HTTP/1.1\r\n{REPLIES_HEADER}: 1\r\ncontent-length: {length}\r\n\r\n")
    };
    let mut session = Session::default();
    assert_eq!(
        session.on_downstream(stated(MAX_BODY_BYTES).as_bytes()),
        Downstream::Wait
    );
    assert_eq!(
        session.on_downstream(&vec![b'x'; MAX_BODY_BYTES - 1]),
        Downstream::Wait
    );
    assert_eq!(
        session.on_downstream(b"x"),
        Downstream::Refuse(Refusal::Commands)
    );
    assert_eq!(
        refused(stated(MAX_BODY_BYTES + 1).as_bytes()),
        Some(Refusal::ContentLength)
    );
}

#[test]
fn an_answer_may_be_as_long_as_its_bound_and_no_longer() {
    // 31 replies of 32 KiB, and a last one that fills the bound to the byte, or one byte more.
    let bulk = |bytes: usize| {
        let content = bytes - "$32768\r\n\r\n".len();
        [
            format!("${content}\r\n").as_bytes(),
            &vec![b'x'; content],
            b"\r\n",
        ]
        .concat()
    };
    let share = MAX_ANSWER_BYTES / 32;
    let fitting = bulk(share).repeat(32);
    assert_eq!(fitting.len(), MAX_ANSWER_BYTES);
    assert_eq!(
        waiting(32).on_upstream(&fitting),
        Upstream::Answer(answer(&fitting))
    );

    let over = [bulk(share).repeat(31), bulk(share + 1)].concat();
    assert_eq!(
        waiting(32).on_upstream(&over),
        Upstream::Fail(Fault::TooLarge)
    );
    let mut bytewise = waiting(32);
    assert_eq!(
        bytewise.on_upstream(&over[..MAX_ANSWER_BYTES]),
        Upstream::Wait
    );
    assert_eq!(bytewise.held_bytes(), MAX_ANSWER_BYTES);
    assert_eq!(
        bytewise.on_upstream(&over[MAX_ANSWER_BYTES..]),
        Upstream::Fail(Fault::TooLarge)
    );

    let surplus = [&fitting[..], b":1\r\n"].concat();
    assert_eq!(
        waiting(32).on_upstream(&surplus),
        Upstream::Fail(Fault::Surplus)
    );
}

#[test]
fn refusals_and_faults_are_whole_http_responses_that_close() {
    assert_eq!(
        Refusal::Pipelined.response(),
        b"HTTP/1.1 400 Bad Request\r\nx-velocitygate-bridge: pipelined\r\n\
          connection: close\r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(
        Fault::TooLarge.response(),
        b"HTTP/1.1 502 Bad Gateway\r\nx-velocitygate-bridge: too-large\r\n\
          connection: close\r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(Fault::Surplus.to_string(), "replies refused: surplus");
    assert_eq!(Refusal::Head.to_string(), "call refused: head");
}
