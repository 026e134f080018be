//! Holds the script and its Rust twin together on a real Redis.

mod clockless;
mod extremes;
mod healing;
mod limits;
mod live;
mod pair;
#[path = "../redis_server/mod.rs"]
mod redis_server;
mod refunds;
mod schedule;

use velocitygate::resp::Reply;

fn bulk<'a>(reply: &Reply<'a>) -> &'a [u8] {
    let Reply::Bulk(Some(bytes)) = reply else {
        panic!("a bulk string, not {reply:?}")
    };
    bytes
}

fn integer(reply: &Reply<'_>) -> i64 {
    let Reply::Integer(n) = reply else {
        panic!("an integer, not {reply:?}")
    };
    *n
}

fn time(reply: &Reply<'_>) -> u64 {
    let Reply::Array(Some(parts)) = reply else {
        panic!("TIME, not {reply:?}")
    };
    let [seconds, micros] = [0, 1].map(|i| str::from_utf8(bulk(&parts[i])).unwrap().parse());
    let (seconds, micros): (u64, u64) = (seconds.unwrap(), micros.unwrap());
    seconds * 1_000_000 + micros
}
