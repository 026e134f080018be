//! The catalogue of lies. The question is always one bucket with a burst of 3, asked by single
//! requests or a few at once, so that an honest answer has the shape of [`PROPER`].

use std::time::Duration;

use super::bed::TIMEOUT;

/// What the liar does for each command.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// Writes these bytes.
    Say(&'static [u8]),
    /// Writes these bytes and closes the connection.
    Hang(&'static [u8]),
    /// Writes these bytes so many times.
    Repeat(&'static [u8], usize),
    /// Writes these bytes, but only after this time.
    Late(Duration, &'static [u8]),
    /// Writes these bytes over and over.
    Endless(&'static [u8]),
    /// Writes the first bytes, and the second ones when it closes.
    Part(&'static [u8], &'static [u8]),
}

/// One lie, and what shows that it was seen through.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lie {
    /// What is wrong with it.
    pub(super) name: &'static str,
    pub(super) act: Act,
    /// Whether it condemns the whole store. An error that concerns one key does not.
    pub(super) opens: bool,
    /// Whether the answer begins with a proper one. `redis_proxy` hands that on and keeps the
    /// surplus, so that behind it nobody can see the lie.
    pub(super) begins_properly: bool,
}

/// An honest answer to one request: admitted, at some time, 2 left, no wait, full again in 20 s.
pub(super) const PROPER: &[u8] = b"*5\r\n:1\r\n:1700000000000000\r\n:2\r\n:0\r\n:20000000\r\n";

const PROPER_AND_MORE: &[u8] =
    b"*5\r\n:1\r\n:7\r\n:2\r\n:0\r\n:20000000\r\n*5\r\n:1\r\n:7\r\n:2\r\n:0\r\n:20000000\r\n+OK\r\n";

const fn lie(name: &'static str, act: Act) -> Lie {
    Lie {
        name,
        act,
        opens: true,
        begins_properly: false,
    }
}

const fn say(name: &'static str, bytes: &'static [u8]) -> Lie {
    lie(name, Act::Say(bytes))
}

/// Every lie.
pub(super) const LIES: &[Lie] = &[
    say(
        "bytes that are no RESP",
        b"\x00\xff\xfe\x80 garbage\r\n\r\n",
    ),
    say(
        "an HTTP answer",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ),
    say("a reply cut short, then silence", b"*5\r\n:1\r\n:7\r\n:2"),
    lie(
        "a reply cut short, then a close",
        Act::Hang(b"*5\r\n:1\r\n:7\r\n:2"),
    ),
    lie("a close without a word", Act::Hang(b"")),
    say("silence", b""),
    Lie {
        begins_properly: true,
        ..say("more replies than commands", PROPER_AND_MORE)
    },
    lie("a proper reply after the timeout", Act::Late(LATE, PROPER)),
    say("an array of 1000000000", b"*1000000000\r\n"),
    say("an array of 2^63", b"*9223372036854775808\r\n"),
    say("a bulk string of 64 MB", b"$67108864\r\nxxxx"),
    say("a bulk string of 2^64", b"$18446744073709551616\r\nx"),
    lie("nesting 10000 deep", Act::Repeat(b"*1\r\n", 10_000)),
    lie(
        "a million replies at once",
        Act::Repeat(b":1\r\n", 1_000_000),
    ),
    say("an array of negative length", b"*-5\r\n"),
    say("a bulk string of negative length", b"$-2\r\nxx\r\n"),
    say("a null array", b"*-1\r\n"),
    say("a null", b"$-1\r\n"),
    say("an empty array", b"*0\r\n"),
    say("a status", b"+OK\r\n"),
    say("a number alone", b":1\r\n"),
    say(
        "texts instead of numbers",
        b"*5\r\n$1\r\n1\r\n$1\r\n7\r\n$1\r\n2\r\n$1\r\n0\r\n$1\r\n9\r\n",
    ),
    say(
        "arrays instead of numbers",
        b"*5\r\n*0\r\n*0\r\n*0\r\n*0\r\n*0\r\n",
    ),
    say("a RESP3 map", b"%1\r\n+a\r\n:1\r\n"),
    say("too few numbers", b"*4\r\n:1\r\n:7\r\n:2\r\n:0\r\n"),
    say(
        "too many numbers",
        b"*6\r\n:1\r\n:7\r\n:2\r\n:0\r\n:0\r\n:0\r\n",
    ),
    say(
        "more admitted than asked",
        b"*5\r\n:1000000\r\n:7\r\n:2\r\n:0\r\n:0\r\n",
    ),
    say(
        "negative admitted",
        b"*5\r\n:-1\r\n:7\r\n:2\r\n:0\r\n:0\r\n",
    ),
    say(
        "negative remaining",
        b"*5\r\n:1\r\n:7\r\n:-2\r\n:0\r\n:0\r\n",
    ),
    say(
        "a number beyond 64 bits",
        b"*5\r\n:1\r\n:7\r\n:99999999999999999999\r\n:0\r\n:0\r\n",
    ),
    say("an error without text", b"-\r\n"),
    say("an error that is not UTF-8", b"-\xff\xfe \x00\r\n"),
    say("an error that nobody knows", b"-ERR something new\r\n"),
    lie(
        "a refusal to serve strangers",
        Act::Hang(b"-DENIED Redis is running in protected mode\r\n"),
    ),
    Lie {
        opens: false,
        ..say(
            "a script that fails",
            b"-ERR user_script:1: attempt to index a nil value script: on @user_script:1.\r\n",
        )
    },
    lie(
        "a line that never ends",
        Act::Endless(b"+xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ),
    lie("lines that never end", Act::Endless(b"+x\r\n")),
];

/// When a late reply comes: nobody waits for it any more.
const LATE: Duration = Duration::from_millis(TIMEOUT.as_millis() as u64 * 3 / 2);
