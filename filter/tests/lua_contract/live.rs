//! The script as it ships, on Redis's own clock, asked by many at once.

use std::thread;

use velocitygate::limit::{Charge, Demand, Limit, SCRIPT, TokenBucket};
use velocitygate::resp::{ErrorClass, Reply, encode};
use velocitygate::units::Micros;

use crate::redis_server::{Connection, RedisServer};
use crate::time;

/// Deep enough that it does not fill while the machine has no time for the test: that takes it
/// two minutes.
const LIMIT: TokenBucket = TokenBucket {
    requests: 7_919,
    per: Micros::from_secs(1),
    burst: 1_000_000,
};
const KEY: &[u8] = b"vg:{live:one}:tb";
const CLIENTS: usize = 4;
/// How long the clients go on, on the clock of Redis.
const SPAN: Micros = Micros::from_millis(1_500);
/// How often a client that got nothing asks after that: for far longer than a token takes to come.
const LATE_MAX: u32 = 100_000;

fn demand(count: u64) -> Demand<'static> {
    Demand {
        count,
        buckets: vec![(KEY, Limit::TokenBucket(LIMIT), 1)],
    }
}

/// Asks as the filter does, the digest first and the text when Redis does not know it. Returns
/// the answer and whether the text was needed.
fn ask(redis: &mut Connection, count: u64) -> (Charge, bool) {
    let mut load = false;
    loop {
        let mut out = Vec::new();
        SCRIPT.command(&mut out, &demand(count), load);
        let charge = redis.exchange(&out, 1, |replies| match &replies[0] {
            Reply::Error(text) if !load => {
                assert_eq!(ErrorClass::of(text), ErrorClass::Noscript);
                None
            }
            reply => Some(Charge::from_reply(reply, count, &[Limit::TokenBucket(LIMIT)]).unwrap()),
        });
        match charge {
            Some(charge) => return (charge, load),
            None => load = true,
        }
    }
}

/// Asks for a whole bucket and the time, nothing in between; TIME first or last.
fn ask_with_time(redis: &mut Connection, time_first: bool) -> (u64, u64) {
    let mut out = Vec::new();
    encode::command(&mut out, &[b"MULTI"]);
    if time_first {
        encode::command(&mut out, &[b"TIME"]);
    }
    SCRIPT.command(&mut out, &demand(LIMIT.burst), true);
    if !time_first {
        encode::command(&mut out, &[b"TIME"]);
    }
    encode::command(&mut out, &[b"EXEC"]);
    redis.exchange(&out, 4, |mut replies| {
        let Some(Reply::Array(Some(done))) = replies.pop() else {
            panic!("{replies:?}")
        };
        let (at, answer) = if time_first { (0, 1) } else { (1, 0) };
        let charge =
            Charge::from_reply(&done[answer], LIMIT.burst, &[Limit::TokenBucket(LIMIT)]).unwrap();
        (time(&done[at]), charge.admitted)
    })
}

/// Asks without a pause until Redis says that it is `end` and something was admitted; returns how
/// much.
fn hammer(redis: &mut Connection, end: u64) -> u64 {
    let (mut admitted, mut late) = (0, 0);
    for count in (1..=50).cycle() {
        if redis.ask(&[b"TIME"], |reply| time(&reply)) >= end {
            if admitted > 0 {
                break;
            }
            late += 1;
            assert!(late < LATE_MAX, "nothing is admitted");
        }
        admitted += ask(redis, count).0.admitted;
    }
    admitted
}

#[test]
fn i1_clients_that_hammer_one_bucket_get_its_burst_and_its_rate_and_no_token_more() {
    let server = RedisServer::start();
    let mut redis = server.connect();
    let (begin, first) = ask_with_time(&mut redis, true);
    let end = begin + SPAN.0;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut redis = server.connect();
            thread::spawn(move || hammer(&mut redis, end))
        })
        .collect();
    let middle: u64 = clients
        .into_iter()
        .map(|client| client.join().unwrap())
        .sum();
    let (end, last) = ask_with_time(&mut redis, false);

    assert_eq!(first, LIMIT.burst);
    let admitted = u128::from(middle + last) * u128::from(LIMIT.per.0);
    let allowed = u128::from(LIMIT.requests) * u128::from(end - begin);
    assert!(
        admitted <= allowed,
        "I1: {admitted} of {allowed} token-microseconds"
    );
    // All of it, but for less than a token, and for what came while Redis began and ended.
    assert!(
        admitted * 100 >= allowed * 95,
        "{admitted} of {allowed} token-microseconds"
    );
}

#[test]
fn a_redis_that_forgot_the_script_learns_it_again_and_the_count_goes_on() {
    let server = RedisServer::start();
    let mut redis = server.connect();
    let (first, loaded) = ask(&mut redis, LIMIT.burst);
    assert!(loaded, "a fresh Redis knows no script");
    assert_eq!(first.admitted, LIMIT.burst);
    assert!(!ask(&mut redis, 1).1, "the text has taught it the digest");
    redis.ask(&[b"SCRIPT", b"FLUSH"], |reply| {
        assert_eq!(reply, Reply::Simple(b"OK"))
    });
    let (again, loaded) = ask(&mut redis, LIMIT.burst);
    assert!(loaded, "the digest is forgotten");
    assert!(again.admitted < LIMIT.burst, "the bucket is not");
    assert!(!ask(&mut redis, 1).1);
}
