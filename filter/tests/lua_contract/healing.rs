//! What the script does with values that it did not write, and with keys that it has no cause to.

use velocitygate::limit::{Charge, Demand, Limit, TokenBucket, Window};
use velocitygate::resp::{ErrorClass, Reply, encode};
use velocitygate::units::Micros;

use crate::clockless::{Clockless, Outcome, command_at};
use crate::integer;
use crate::limits::START_US;
use crate::redis_server::RedisServer;

const BURST: u64 = 5;
const LIMIT: Limit = Limit::TokenBucket(TokenBucket {
    requests: 7,
    per: Micros::from_secs(60),
    burst: BURST,
});
const KEY: &[u8] = b"vg:{heal:one}:tb";
const OTHER: &[u8] = b"vg:{heal:two}:tb";
const WINDOW: Window = Window {
    requests: BURST,
    per: Micros::from_secs(60),
};
/// Every algorithm, with a key of its own.
const ALL: [(&[u8], Limit); 4] = [
    (KEY, LIMIT),
    (b"vg:{heal:one}:fw", Limit::FixedWindow(WINDOW)),
    (b"vg:{heal:one}:sw", Limit::SlidingWindow(WINDOW)),
    (b"vg:{heal:one}:sl", Limit::SlidingLog(WINDOW)),
];

fn one(count: u64, cost: u64) -> Demand<'static> {
    Demand {
        count,
        buckets: vec![(KEY, LIMIT, cost)],
    }
}

/// The reply of a call on a key that holds `value`, and the value and the expiry it leaves.
fn charge_over(redis: &mut Clockless, value: &[u8], count: u64) -> (Charge, String, i64) {
    redis.redis.ask(&[b"SET", KEY, value], |reply| {
        assert_eq!(reply, Reply::Simple(b"OK"))
    });
    let mut outcome = redis.charge(&one(count, 1), START_US);
    let held = outcome.held.remove(0);
    (outcome.answer, held.value.unwrap(), held.ttl)
}

#[test]
fn a_value_that_is_no_time_counts_as_a_full_bucket_and_is_replaced() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    let fresh = redis.charge(&one(3, 1), START_US);
    let long = "9".repeat(400);
    let beyond = format!("{long}:1:7:60000000:9");
    let garbage = [
        "",
        "full",
        "-1",
        "-9000000000000000",
        "nan",
        "NaN",
        "-nan",
        "inf",
        "1e308",
        "0x10",
        "1.5",
        " 1700000000123457",
        "1700000000123457\n",
        "1700000000123457:",
        "1700000000123457:1",
        "1700000000123457",
        "1700000000123457:1:7",
        "1700000000123457:1:7:7",
        "1700000000123457:1:7:7:7:7",
        "1700000000123457:-1:7:60000000:9",
        "1700000000123457:0:7:60000000:-9",
        "1700000000123457:7:7:60000000:9",
        "1700000000123457:0:0:60000000:9",
        "1700000000123457:0:1000000001:60000000:9",
        "1700000000123457:0:7:0:9",
        "1700000000123457:0:7:31622400000001:9",
        "5000000000000000",
        "9007199254740992:0:7:60000000:9",
        "1700000000123457:0:7:60000000:9007199254740991",
        // A bucket that takes a microsecond more than 100 years to fill.
        "4700000000123457:0:7:60000000:3155760000000001",
        &long,
        &beyond,
        "\0",
        "18446744073709551615",
        "0",
        "1",
    ];
    for value in garbage {
        let (charge, text, ttl) = charge_over(&mut redis, value.as_bytes(), 3);
        assert_eq!(charge, fresh.answer, "{value:?}");
        assert_eq!(Some(&text), fresh.held[0].value.as_ref(), "{value:?}");
        assert!(ttl > 0, "{value:?} is replaced by a key that expires");
    }
    let (charge, _, _) = charge_over(&mut redis, b"\xff\xfe\x80", 3);
    assert_eq!(charge, fresh.answer);
}

/// What a call on `key` answers and leaves when `write` has been done to it before.
fn charge_after(redis: &mut Clockless, write: &[&[u8]], key: &[u8], limit: Limit) -> Outcome {
    redis.redis.ask(&[b"DEL", key], |_| ());
    redis.redis.ask(write, |reply| {
        assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
    });
    let demand = Demand {
        count: 3,
        buckets: vec![(key, limit, 1)],
    };
    redis.charge(&demand, START_US)
}

fn assert_replaced(outcome: &Outcome, fresh: &Outcome, value: &str) {
    assert_eq!(outcome.answer, fresh.answer, "{value:?}");
    assert_eq!(outcome.held[0].value, fresh.held[0].value, "{value:?}");
    assert!(
        outcome.held[0].ttl > 0,
        "{value:?} is replaced by a key that expires"
    );
}

#[test]
fn a_value_that_is_no_count_counts_as_nothing_and_is_replaced() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    let index = START_US / WINDOW.per.0;
    let long = "9".repeat(400);
    // Behind the number of the window: the counters and the window, each beyond its bound.
    let counters = [
        (
            1,
            vec!["3", "3:60000000:1", "-3:60000000", "1000000001:60000000"],
        ),
        (1, vec!["3:0", "3:31622400000001", "1.5:60000000", &long]),
        (
            2,
            vec!["3:4", "3:4:0", "3:4:60000000:1", "2000000001:0:60000000"],
        ),
        (
            2,
            vec!["0:2000000001:60000000", "3:4:31622400000001", ":::"],
        ),
    ];
    for (algorithm, tails) in counters {
        let (key, limit) = ALL[algorithm];
        let fresh = charge_after(&mut redis, &[b"DEL", key], key, limit);
        for tail in tails {
            let value = format!("{index}:{tail}");
            let outcome = charge_after(&mut redis, &[b"SET", key, value.as_bytes()], key, limit);
            assert_replaced(&outcome, &fresh, &value);
        }
    }
}

#[test]
fn a_log_with_an_entry_that_is_none_counts_as_nothing_and_is_replaced() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    let (key, limit) = ALL[3];
    let fresh = charge_after(&mut redis, &[b"DEL", key], key, limit);
    let ends = START_US + 1_000_000;
    let good = format!("{ends}:2:2:1000000");
    let bad = [
        String::new(),
        "9".repeat(400),
        format!("{ends}:2:2"),
        format!("{ends}:2:2:1000000:1"),
        format!("{ends}:-2:2:1000000"),
        format!("{ends}:2:1099511627776:1000000"),
        format!("{ends}:1099511627777:2:1000000"),
        format!("{ends}:2:2:31622400000001"),
        "9007199254740992:2:2:1000000".to_owned(),
    ];
    for bad in &bad {
        for list in [vec![bad], vec![bad, &good], vec![&good, bad]] {
            let mut write: Vec<&[u8]> = vec![b"RPUSH", key];
            write.extend(list.iter().map(|entry| entry.as_bytes()));
            let outcome = charge_after(&mut redis, &write, key, limit);
            assert_replaced(&outcome, &fresh, bad);
        }
    }
}

/// What stands between good entries is found when they have ended; until then it only counts.
#[test]
fn a_stranger_among_the_entries_of_a_log_breaks_no_call() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    let (key, limit) = ALL[3];
    let entry = |ends: u64, sum: u64| format!("{}:1:{sum}:60000000", START_US + ends);
    let list = [
        &entry(1, 1),
        "x",
        &entry(2, 2),
        "y",
        "z",
        &entry(60_000_000, 6),
    ];
    let mut write: Vec<&[u8]> = vec![b"RPUSH", key];
    write.extend(list.iter().map(|entry| entry.as_bytes()));
    let refused = charge_after(&mut redis, &write, key, limit).answer;
    assert_eq!(refused.admitted, 0);
    let costly = |count| Demand {
        count,
        buckets: vec![(key, limit, BURST)],
    };
    assert_eq!(redis.charge(&costly(1), START_US).answer.admitted, 0);
    let later = START_US + 1_000;
    let one = Demand {
        count: 9,
        buckets: vec![(key, limit, 1)],
    };
    assert_eq!(redis.charge(&one, later).answer.admitted, BURST - 1);
}

/// A wait that is longer than all that is counted is no reply: its whole call failed.
#[test]
fn i5_a_stranger_among_the_entries_of_a_log_does_not_make_a_wait_out_of_range() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    let (key, limit) = ALL[3];
    let stranger = format!("9007199254740991:{BURST}:{BURST}:1");
    let last = format!("{}:1:{}:60000000", START_US + 5_000_000, BURST + 1);
    let write: [&[u8]; 4] = [b"RPUSH", key, stranger.as_bytes(), last.as_bytes()];
    let refused = charge_after(&mut redis, &write, key, limit).answer;
    assert_eq!(refused.admitted, 0);
}

#[test]
fn a_value_of_another_type_fails_the_calls_that_name_its_key_and_no_other() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    for (key, limit) in ALL {
        let stranger: &[&[u8]] = &[b"SADD", key, b"x"];
        redis
            .redis
            .ask(stranger, |reply| assert_eq!(integer(&reply), 1));
        let (bad, good) = ((key, limit, 1), (OTHER, LIMIT, 1));
        for buckets in [vec![bad], vec![good, bad], vec![bad, good]] {
            let mut out = Vec::new();
            let demand = Demand { count: 1, buckets };
            command_at(&redis.script, &demand, START_US, &mut out);
            redis.redis.exchange(&out, 1, |replies| {
                let [Reply::Error(text)] = replies.as_slice() else {
                    panic!("{replies:?}")
                };
                assert_eq!(ErrorClass::of(text), ErrorClass::Wrongtype);
            });
        }
        redis
            .redis
            .ask(&[b"SCARD", key], |reply| assert_eq!(integer(&reply), 1));
        redis.redis.ask(&[b"EXISTS", OTHER], |reply| {
            assert_eq!(integer(&reply), 0, "a call that fails charges nothing");
        });
    }
    let other = Demand {
        count: 1,
        buckets: vec![(OTHER, LIMIT, 1)],
    };
    assert_eq!(redis.charge(&other, START_US).answer.admitted, 1);
}

fn changes(redis: &mut Clockless) -> u64 {
    redis.redis.ask(&[b"INFO", b"persistence"], |reply| {
        let text = String::from_utf8(crate::bulk(&reply).to_vec()).unwrap();
        let changes = text
            .lines()
            .find_map(|l| l.strip_prefix("rdb_changes_since_last_save:"));
        changes.unwrap().parse().unwrap()
    })
}

#[test]
fn a_look_and_a_refusal_write_nothing() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    for (key, limit) in ALL {
        let ask = |count, cost| Demand {
            count,
            buckets: vec![(key, limit, cost)],
        };
        let look = redis.charge(&ask(1, 0), START_US);
        assert_eq!(
            (look.held[0].value.as_deref(), look.held[0].ttl),
            (None, -2)
        );
        let drained = redis.charge(&ask(9, 1), START_US);
        assert_eq!(drained.answer.admitted, BURST);
        assert!(drained.held[0].ttl > 0);
        let both = Demand {
            count: 1,
            buckets: vec![(OTHER, LIMIT, 1), (key, limit, 1)],
        };
        let before = changes(&mut redis);
        for demand in [ask(1, 0), ask(1, 1), both] {
            let mut out = Vec::new();
            command_at(&redis.script, &demand, START_US, &mut out);
            encode::command(&mut out, &[b"EXISTS", OTHER]);
            redis
                .redis
                .exchange(&out, 2, |replies| assert_eq!(integer(&replies[1]), 0));
        }
        assert_eq!(changes(&mut redis), before);
    }
}

/// A clock of Redis that was set back once made a bucket refuse until the old time came, while
/// every refusal named the short wait of an empty bucket: the time was cut to what the bucket
/// holds, but only a charge wrote it down.
#[test]
fn a_time_further_ahead_than_it_was_written_is_cut_for_good_and_the_named_wait_is_honest() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    for ahead in [3_600_000_000, 5_000_000_000_000_000 - START_US] {
        let value = format!("{}:0:7:60000000:42857143", START_US + ahead);
        let (refused, _, ttl) = charge_over(&mut redis, value.as_bytes(), 1);
        assert_eq!(refused.admitted, 0);
        assert!(ttl > 0, "the cut time expires");
        let wait = refused.rules[0].retry.0;
        assert!(wait <= 42_857_143);
        assert_eq!(
            redis
                .charge(&one(1, 1), START_US + wait - 1)
                .answer
                .admitted,
            0
        );
        assert_eq!(redis.charge(&one(1, 1), START_US + wait).answer.admitted, 1);
    }
}
