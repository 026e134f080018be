//! Refunds on Redis; the random schedules have them among their charges, too.

use velocitygate::limit::{Demand, Limit, Refund, TokenBucket, Window};
use velocitygate::units::{Micros, RedisTime};

use crate::clockless::Clockless;
use crate::limits::START_US;
use crate::pair::Pair;
use crate::redis_server::RedisServer;

const WINDOW: Window = Window {
    requests: 10,
    per: Micros::from_secs(86_400),
};
const RULES: [(&[u8], Limit, u64); 4] = [
    (
        b"vg:{back:one}:tb",
        Limit::TokenBucket(TokenBucket {
            requests: 10,
            per: Micros::from_secs(86_400),
            burst: 10,
        }),
        1,
    ),
    (b"vg:{back:one}:fw", Limit::FixedWindow(WINDOW), 1),
    (b"vg:{back:one}:sw", Limit::SlidingWindow(WINDOW), 1),
    (b"vg:{back:one}:sl", Limit::SlidingLog(WINDOW), 1),
];

fn all(count: u64) -> Demand<'static> {
    Demand {
        count,
        buckets: RULES.to_vec(),
    }
}

fn refund(count: u64, taken_at: u64) -> Refund<'static> {
    Refund {
        demand: all(count),
        taken_at: RedisTime(taken_at),
    }
}

fn remaining(pair: &mut Pair<'_>) -> Vec<u64> {
    let look = Demand {
        count: 1,
        buckets: RULES.map(|(key, limit, _)| (key, limit, 0)).to_vec(),
    };
    let standings = pair.charge(&look).rules;
    standings
        .iter()
        .map(|standing| standing.remaining)
        .collect()
}

#[test]
fn a_refund_gives_every_rule_its_tokens_back_once() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    let mut pair = Pair::new(&mut redis);
    assert_eq!(
        pair.refund(&refund(3, START_US)),
        [0; 4],
        "nothing is there"
    );
    let mut taken = Vec::new();
    for count in [2, 3, 4] {
        taken.push(pair.charge(&all(count)).now.0);
        pair.now += 1_000;
    }
    assert_eq!(pair.refund(&refund(3, taken[1])), [3; 4]);
    assert_eq!(remaining(&mut pair), [4; 4]);
    assert_eq!(
        pair.refund(&refund(3, taken[1]))[3],
        0,
        "a log knows it was given back"
    );
    let given = pair.refund(&refund(4, taken[2]));
    assert_eq!(
        given,
        [4, 3, 3, 4],
        "what is taken; a part of a token counts as one"
    );
}

#[test]
fn a_bucket_keeps_what_it_gained_since_the_charge() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    let mut pair = Pair::new(&mut redis);
    let taken = pair.charge(&all(4)).now.0;
    pair.charge(&all(6));
    // A token of the bucket is worth 8,640 s: half of one.
    pair.now = taken + 4_320_000_000;
    let given = pair.refund(&refund(4, taken));
    assert_eq!(given, [4; 4], "a part of a token counts as one");
    assert_eq!(remaining(&mut pair), [4; 4], "and what it gained is there");
    pair.now = taken + 4 * 8_640_000_000;
    assert_eq!(pair.refund(&refund(4, taken))[0], 0);
}

#[test]
fn a_refund_of_all_that_there_is_leaves_nothing_behind() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    let mut pair = Pair::new(&mut redis);
    let taken = pair.charge(&all(5)).now.0;
    assert_eq!(pair.refund(&refund(5, taken)), [5; 4]);
    assert_eq!(remaining(&mut pair), [10; 4]);
}

/// One key of each algorithm, of which `requests` may pass in so many seconds.
fn limits(requests: u64, seconds: u64) -> [(&'static [u8], Limit, u64); 4] {
    let per = Micros::from_secs(seconds);
    RULES.map(|(key, limit, cost)| {
        let limit = match limit {
            Limit::TokenBucket(bucket) => Limit::TokenBucket(TokenBucket {
                requests,
                per,
                ..bucket
            }),
            Limit::FixedWindow(_) => Limit::FixedWindow(Window { requests, per }),
            Limit::SlidingWindow(_) => Limit::SlidingWindow(Window { requests, per }),
            Limit::SlidingLog(_) => Limit::SlidingLog(Window { requests, per }),
        };
        (key, limit, cost)
    })
}

/// A lease that was taken at a fast rate and regained once came back at what it is worth at a slow
/// one: of what others had used.
#[test]
fn i4_a_refund_after_the_rate_was_cut_gives_back_nothing_that_others_used() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    let mut pair = Pair::new(&mut redis);
    let [old, new] = [100, 1].map(|requests| limits(requests, 1)[0]);
    let ask = |bucket, count| Demand {
        count,
        buckets: vec![bucket],
    };
    let taken_at = RedisTime(pair.charge(&ask(old, 5)).now.0);
    pair.now += 100_000;
    assert_eq!(pair.charge(&ask(new, 8)).admitted, 8);
    pair.now += 1;
    let demand = ask(old, 5);
    assert_eq!(pair.refund(&Refund { demand, taken_at }), [0]);
    assert_eq!(pair.charge(&ask(new, 9)).admitted, 2);
}

/// It once wrote the key all the same, as its own limit reads it.
#[test]
fn a_refund_that_gives_nothing_back_leaves_the_key_as_it_was() {
    let server = RedisServer::start();
    for seconds in [[60, 1], [1, 60]] {
        let mut redis = Clockless::new(&server);
        redis.redis.ask(&[b"FLUSHDB"], |_| ());
        let mut pair = Pair::new(&mut redis);
        let [old, new] = seconds.map(|seconds| limits(10, seconds).to_vec());
        let ask = |buckets, count| Demand { count, buckets };
        let taken_at = RedisTime(pair.charge(&ask(old.clone(), 5)).now.0);
        pair.now += 180_000_000;
        assert_eq!(pair.charge(&ask(new.clone(), 10)).admitted, 10);
        pair.now += 1;
        let refused = pair.charge(&ask(new.clone(), 1));
        let demand = ask(old, 5);
        assert_eq!(pair.refund(&Refund { demand, taken_at }), [0; 4]);
        assert_eq!(pair.charge(&ask(new, 1)), refused);
    }
}
