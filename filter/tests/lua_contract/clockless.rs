//! The script under a controlled clock: it is told the time in two more arguments instead of asking
//! Redis for it, and no key expires behind the test's back.

use sha1::{Digest, Sha1};
use velocitygate::limit::{Charge, Demand, Limit, Refund, SCRIPT, Script, ShapeError, refunded};
use velocitygate::resp::{Reply, decode_all, encode};

use crate::redis_server::{Connection, RedisServer};
use crate::{bulk, integer, time};

/// The script, told the time in the last two arguments.
fn clockless_script() -> Script {
    let asks = "redis.call('TIME')";
    assert_eq!(
        SCRIPT.body.matches(asks).count(),
        1,
        "the script asks for the time once"
    );
    let body = SCRIPT
        .body
        .replace(asks, "{ ARGV[#ARGV - 1], ARGV[#ARGV] }");
    let sha1: String = Sha1::digest(&body)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Script {
        body: body.leak(),
        sha1: sha1.leak(),
    }
}

/// The filter's own command for `demand`, with the time appended.
pub(crate) fn command_at(script: &Script, demand: &Demand<'_>, now: u64, out: &mut Vec<u8>) {
    let mut command = Vec::new();
    script.command(&mut command, demand, false);
    at(&command, now, out);
}

/// A command with the time appended.
fn at(command: &[u8], now: u64, out: &mut Vec<u8>) {
    let Reply::Array(Some(words)) = decode_all(command, 1).unwrap().remove(0) else {
        panic!("a command is an array");
    };
    let (seconds, micros) = ((now / 1_000_000).to_string(), (now % 1_000_000).to_string());
    let mut args: Vec<&[u8]> = words.iter().map(bulk).collect();
    args.extend([seconds.as_bytes(), micros.as_bytes()]);
    encode::command(out, &args);
}

/// What Redis holds under a key after a call: the value (of a list, with spaces between), and the milliseconds the key had to live
/// if this call gave it an expiry.
#[derive(Debug, PartialEq)]
pub(crate) struct Held {
    pub(crate) value: Option<String>,
    pub(crate) ttl: i64,
}

/// What one call did: its reply, each key after it, and how long Redis took, in milliseconds.
pub(crate) struct Outcome<T = Charge> {
    pub(crate) answer: T,
    pub(crate) held: Vec<Held>,
    pub(crate) took_ms: i64,
}

/// A connection and the script that is told the time.
pub(crate) struct Clockless {
    pub(crate) redis: Connection,
    pub(crate) script: Script,
}

impl Clockless {
    pub(crate) fn new(server: &RedisServer) -> Self {
        let (mut redis, script) = (server.connect(), clockless_script());
        redis.ask(&[b"SCRIPT", b"LOAD", script.body.as_bytes()], |sha1| {
            assert_eq!(bulk(&sha1), script.sha1.as_bytes());
        });
        Self { redis, script }
    }

    /// Asks `demand` at `now`.
    pub(crate) fn charge(&mut self, demand: &Demand<'_>, now: u64) -> Outcome {
        let mut command = Vec::new();
        command_at(&self.script, demand, now, &mut command);
        self.run(demand, &command, |answer| {
            Charge::from_reply(answer, demand.count, &limits(demand))
        })
    }

    /// Asks for `refund` at `now`.
    pub(crate) fn refund(&mut self, refund: &Refund<'_>, now: u64) -> Outcome<Vec<u64>> {
        let (mut command, mut timed) = (Vec::new(), Vec::new());
        self.script.refund(&mut command, refund, false);
        at(&command, now, &mut timed);
        self.run(&refund.demand, &timed, |answer| refunded(answer, refund))
    }

    /// Runs a command and reads the keys before any real time can expire them: time stands still
    /// inside a transaction.
    fn run<T>(
        &mut self,
        demand: &Demand<'_>,
        command: &[u8],
        read: impl FnOnce(&Reply<'_>) -> Result<T, ShapeError>,
    ) -> Outcome<T> {
        let mut out = Vec::new();
        encode::command(&mut out, &[b"MULTI"]);
        encode::command(&mut out, &[b"TIME"]);
        out.extend_from_slice(command);
        for (key, limit, _) in &demand.buckets {
            match limit {
                Limit::SlidingLog(_) => encode::command(&mut out, &[b"LRANGE", key, b"0", b"-1"]),
                _ => encode::command(&mut out, &[b"GET", key]),
            }
            for verb in ["PTTL", "PERSIST"] {
                encode::command(&mut out, &[verb.as_bytes(), key]);
            }
        }
        encode::command(&mut out, &[b"TIME"]);
        encode::command(&mut out, &[b"EXEC"]);
        let queued = 3 + 3 * demand.buckets.len();
        self.redis.exchange(&out, queued + 2, |mut replies| {
            let Some(Reply::Array(Some(done))) = replies.pop() else {
                panic!("{replies:?}")
            };
            let [begin, answer, keys @ .., end] = done.as_slice() else {
                panic!("{done:?}")
            };
            let answered = read(answer).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
            let (keys, _) = keys.as_chunks::<3>();
            Outcome {
                answer: answered,
                held: keys
                    .iter()
                    .map(|[value, ttl, _]| held(value, ttl))
                    .collect(),
                took_ms: i64::try_from((time(end) - time(begin)) / 1_000 + 1).unwrap(),
            }
        })
    }
}

fn held(value: &Reply<'_>, ttl: &Reply<'_>) -> Held {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let value = match value {
        Reply::Bulk(value) => value.map(text),
        Reply::Array(Some(items)) if items.is_empty() => None,
        Reply::Array(Some(items)) => {
            let items: Vec<String> = items.iter().map(|item| text(bulk(item))).collect();
            Some(items.join(" "))
        }
        other => panic!("{other:?}"),
    };
    Held {
        value,
        ttl: integer(ttl),
    }
}

fn limits(demand: &Demand<'_>) -> Vec<Limit> {
    demand.buckets.iter().map(|(_, limit, _)| *limit).collect()
}
