//! The bridge: bytes from both sides, in any pieces and any order.

use proptest::prelude::*;
use velocitygate::bridge::{
    Downstream, MAX_ANSWER_BYTES, MAX_BODY_BYTES, MAX_HEAD_BYTES, REPLIES_HEADER, Session, Upstream,
};
use velocitygate::resp::encode;

use crate::bytes::{edited, edits};
use crate::harness::{fuzz, within};
use crate::pieces::{cuts, pieces};
use crate::replies;

const WORDS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    ": ",
    "POST / HTTP/1.1\r\n",
    "GET / HTTP/1.1\r\n",
    "content-length: 1\r\n",
    "content-length: 99999999999999999999\r\n",
    "transfer-encoding: chunked\r\n",
    "x-velocitygate-replies: 0\r\n",
    "x-velocitygate-replies: 1024\r\n",
    "*1\r\n$4\r\nPING\r\n",
    "*1000000000\r\n",
    "$1000000000\r\n",
    "a: b\r\n",
];

/// What a session may hold at once: a call and the copy that it hands on, or an answer and its
/// copy, each with room to grow.
const HELD_BYTES: usize = 3 * (MAX_HEAD_BYTES + MAX_BODY_BYTES) + 3 * MAX_ANSWER_BYTES + (64 << 10);
/// The largest piece that comes at once.
const PIECE_BYTES: usize = 256 << 10;

/// Bytes from one side or the other.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    Caller(Vec<u8>, Vec<usize>),
    Store(Vec<u8>, Vec<usize>),
    /// A call of so many commands, and as many replies of so many bytes.
    Exchange(usize, usize),
}

/// A call of equal commands.
pub(crate) fn call(arguments: &[Vec<u8>], replies: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for _ in 0..replies {
        let words: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        encode::command(&mut body, &words);
    }
    let length = body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: v\r\n{REPLIES_HEADER}: {replies}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.into_bytes(), body].concat()
}

pub(crate) fn said() -> impl Strategy<Value = Said> {
    let argument = prop::collection::vec(any::<u8>(), 0..20);
    let call = (prop::collection::vec(argument, 1..4), 1usize..4)
        .prop_map(|(arguments, replies)| call(&arguments, replies));
    let edited_call = (call.clone(), edits(WORDS)).prop_map(|(call, edits)| edited(call, &edits));
    let reply = prop_oneof![
        Just(b"+OK\r\n".to_vec()),
        Just(b"$2\r\nab\r\n".to_vec()),
        replies::bytes()
    ];
    prop_oneof![
        4 => (call, cuts()).prop_map(|(bytes, cuts)| Said::Caller(bytes, cuts)),
        2 => (edited_call, cuts()).prop_map(|(bytes, cuts)| Said::Caller(bytes, cuts)),
        5 => (reply, cuts()).prop_map(|(bytes, cuts)| Said::Store(bytes, cuts)),
        1 => (1usize..40, 0usize..70_000).prop_map(|(replies, length)| Said::Exchange(replies, length)),
    ]
}

/// Replies of so many bytes each.
pub(crate) fn bulks(replies: usize, length: usize) -> Vec<u8> {
    let bulk = [
        format!("${length}\r\n").as_bytes(),
        &vec![7; length],
        b"\r\n",
    ]
    .concat();
    bulk.repeat(replies)
}

fn on_caller(session: &mut Session, piece: &[u8]) -> bool {
    match session.on_downstream(piece) {
        Downstream::Wait => false,
        Downstream::Forward(body) => {
            assert!(body.len() <= MAX_BODY_BYTES && body.starts_with(b"*"));
            false
        }
        Downstream::Refuse(refusal) => {
            assert!(refusal.response().starts_with(b"HTTP/1.1 400 "));
            true
        }
        Downstream::Close => true,
    }
}

fn on_store(session: &mut Session, piece: &[u8]) -> bool {
    match session.on_upstream(piece) {
        Upstream::Wait => false,
        Upstream::Answer(answer) => {
            assert!(answer.len() <= MAX_ANSWER_BYTES + MAX_HEAD_BYTES);
            assert!(answer.starts_with(b"HTTP/1.1 200 "));
            false
        }
        Upstream::Fail(fault) => {
            assert!(fault.response().starts_with(b"HTTP/1.1 502 "));
            true
        }
        Upstream::Close => true,
    }
}

/// The pieces in their order; whether each comes from the caller.
fn in_pieces(said: &[Said]) -> Vec<(bool, Vec<u8>)> {
    let cut = |caller: bool, bytes: &[u8], cuts: &[usize]| {
        let pieces = pieces(bytes, cuts).into_iter();
        let pieces = pieces.map(|piece| (caller, piece.to_vec()));
        pieces.collect::<Vec<_>>()
    };
    let pieces = said.iter().flat_map(|said| match said {
        Said::Caller(bytes, cuts) => cut(true, bytes, cuts),
        Said::Store(bytes, cuts) => cut(false, bytes, cuts),
        Said::Exchange(replies, length) => {
            let replies_bytes = bulks(*replies, *length);
            let pieces = replies_bytes.chunks(PIECE_BYTES);
            let call = (true, call(&[b"PING".to_vec()], *replies));
            let pieces = pieces.map(|piece| (false, piece.to_vec()));
            std::iter::once(call).chain(pieces).collect()
        }
    });
    pieces.collect()
}

#[test]
fn fuzz_bridge() {
    let input = prop::collection::vec(said(), 1..12);
    fuzz("bridge", 150, &input, |said| {
        let pieces = in_pieces(&said);
        within(HELD_BYTES, || {
            let mut session = Session::default();
            let mut over = false;
            for (from_caller, piece) in &pieces {
                let closed = if *from_caller {
                    on_caller(&mut session, piece)
                } else {
                    on_store(&mut session, piece)
                };
                assert!(closed || !over, "a session that is over goes on");
                over = closed;
            }
        });
    });
}
