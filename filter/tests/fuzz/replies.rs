//! What a store says: RESP, and lies.

use proptest::prelude::*;
use proptest::sample::select;
use velocitygate::config::Config;
use velocitygate::limit::{Charge, Limit};
use velocitygate::resp::{self, ErrorClass, Reply, Scanner};

use crate::bytes::{edited, edits};
use crate::harness::{fuzz, within};
use crate::pieces::{cuts, pieces};

const WORDS: &[&str] = &[
    "\r\n",
    "*",
    "$",
    ":",
    "+",
    "-",
    "*0\r\n",
    "*-1\r\n",
    "$-1\r\n",
    "*1000000000\r\n",
    "$1000000000\r\n",
    ":9223372036854775807\r\n",
    ":-9223372036854775808\r\n",
    ":1\r\n",
    "$0\r\n\r\n",
    "*1\r\n",
    "*5\r\n:1\r\n:7\r\n:9\r\n:0\r\n:6000000\r\n",
    "-OOM no\r\n",
    "*3\r\n",
    "-NOSCRIPT x\r\n",
    "-MOVED 1 127.0.0.1:1\r\n",
    "-CROSSSLOT x\r\n",
    "-\r\n",
    "*1025\r\n",
];

const ALGORITHMS: &str = r#"{ "rules": [
    { "name": "a", "limit": { "requests": 9, "per": "1s", "algorithm": "token_bucket" } },
    { "name": "b", "limit": { "requests": 9, "per": "1s", "algorithm": "sliding_window" } },
    { "name": "c", "limit": { "requests": 9, "per": "1s", "algorithm": "sliding_log" } },
    { "name": "d", "limit": { "requests": 9, "per": "1s", "algorithm": "fixed_window" } } ] }"#;

/// Memory of a reply: a value for each byte, with room to grow, and the lists that are open.
const TIMES: usize = 200;
const OPEN_BYTES: usize = 64 << 10;

/// Bytes that a store may send for a few replies.
pub(crate) fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::collection::vec(select(WORDS), 0..12);
    let words = words.prop_map(|words| words.concat().into_bytes());
    let base = prop_oneof![3 => words, 1 => prop::collection::vec(any::<u8>(), 0..200)];
    (base, edits(WORDS)).prop_map(|(base, edits)| edited(base, &edits))
}

fn print(reply: &Reply<'_>, out: &mut Vec<u8>) {
    let line = |kind: &str, text: &[u8]| [kind.as_bytes(), text, b"\r\n"].concat();
    match reply {
        Reply::Simple(text) => out.extend(line("+", text)),
        Reply::Error(text) => out.extend(line("-", text)),
        Reply::Integer(number) => out.extend(line(":", number.to_string().as_bytes())),
        Reply::Bulk(None) => out.extend(line("$-1", b"")),
        Reply::Array(None) => out.extend(line("*-1", b"")),
        Reply::Bulk(Some(bytes)) => {
            out.extend(line("$", bytes.len().to_string().as_bytes()));
            out.extend(line("", bytes));
        }
        Reply::Array(Some(items)) => {
            out.extend(line("*", items.len().to_string().as_bytes()));
            items.iter().for_each(|item| print(item, out));
        }
    }
}

fn judge(reply: &Reply<'_>, limits: &[Limit]) {
    if let Reply::Error(text) = reply {
        let _ = ErrorClass::of(text);
    }
    for count in [1, 3, u64::MAX] {
        for rules in [&limits[..1], limits] {
            let Ok(charge) = Charge::from_reply(reply, count, rules) else {
                continue;
            };
            assert!(charge.admitted <= count);
            assert_eq!(charge.rules.len(), rules.len());
            for (standing, limit) in charge.rules.iter().zip(rules) {
                assert!(standing.remaining <= limit.capacity());
                assert!(standing.retry <= standing.reset);
            }
        }
    }
}

#[test]
fn fuzz_replies() {
    let config = Config::parse(ALGORITHMS.as_bytes()).unwrap();
    let limits: Vec<Limit> = config.rules.iter().map(|rule| rule.limit).collect();
    let input = (bytes(), 0usize..6, cuts());
    fuzz("replies", 400, &input, |(bytes, expected, cuts)| {
        let bound = TIMES * bytes.len() + OPEN_BYTES;
        let whole = within(bound, || resp::decode_all(&bytes, expected));
        let in_pieces = within(OPEN_BYTES, || {
            let mut scanner = Scanner::new(expected);
            let mut fed = pieces(&bytes, &cuts).into_iter();
            let fault = fed.find_map(|piece| scanner.feed(piece).err());
            fault.map_or_else(|| Ok(scanner.missing()), Err)
        });
        match (&whole, in_pieces) {
            (Ok(_), missing) => assert_eq!(missing, Ok(0)),
            (Err(whole), Err(piece)) => assert_eq!(*whole, piece, "cut at {cuts:?}"),
            (Err(_), Ok(missing)) => assert!(missing > 0, "cut at {cuts:?}"),
        }
        for replies in [whole, resp::decode_commands(&bytes, expected)] {
            let Ok(replies) = replies else { continue };
            let mut printed = Vec::new();
            for reply in &replies {
                judge(reply, &limits);
                print(reply, &mut printed);
            }
            assert_eq!(resp::decode_commands(&printed, expected), Ok(replies));
        }
        let _ = resp::are_commands(&bytes, expected);
    });
}
