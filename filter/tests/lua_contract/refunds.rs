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
