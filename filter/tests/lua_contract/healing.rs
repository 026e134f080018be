//! What the script does with values that it did not write, and with keys that it has no cause to.

use velocitygate::limit::{Charge, Demand, Limit, TokenBucket};
use velocitygate::resp::{ErrorClass, Reply, encode};
use velocitygate::units::Micros;

use crate::clockless::{Clockless, command_at};
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
    (outcome.charge, held.value.unwrap(), held.ttl)
}

#[test]
fn a_value_that_is_no_time_counts_as_a_full_bucket_and_is_replaced() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    let fresh = redis.charge(&one(3, 1), START_US);
    let long = "9".repeat(400);
    let beyond = format!("{long}:1:7:9");
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
        "1700000000123457:1:7:7:7",
        "1700000000123457:-1:7:9",
        "1700000000123457:0:7:-9",
        "5000000000000000",
        "9007199254740992:0:7:9",
        "1700000000123457:0:7:9007199254740991",
        &long,
        &beyond,
        "\0",
        "18446744073709551615",
        "0",
        "1",
    ];
    for value in garbage {
        let (charge, text, ttl) = charge_over(&mut redis, value.as_bytes(), 3);
        assert_eq!(charge, fresh.charge, "{value:?}");
        assert_eq!(Some(&text), fresh.held[0].value.as_ref(), "{value:?}");
        assert!(ttl > 0, "{value:?} is replaced by a key that expires");
    }
    let (charge, _, _) = charge_over(&mut redis, b"\xff\xfe\x80", 3);
    assert_eq!(charge, fresh.charge);
}

#[test]
fn a_fraction_that_cannot_be_is_rounded_up_to_the_next_microsecond() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    let rounded = format!("{}:0:7:42857143", START_US + 1);
    let (expected, text, _) = charge_over(&mut redis, rounded.as_bytes(), 3);
    let long = "9".repeat(400);
    for fraction in [
        "7:7",
        "8:7",
        "1:0",
        "9:3",
        "1:8",
        "1:999999937",
        &format!("{long}:7"),
    ] {
        let value = format!("{START_US}:{fraction}:42857143");
        let got = charge_over(&mut redis, value.as_bytes(), 3);
        assert_eq!((&got.0, &got.1), (&expected, &text), "{value}");
    }
}

#[test]
fn a_value_of_another_type_fails_the_calls_that_name_its_key_and_no_other() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    redis.redis.ask(&[b"RPUSH", KEY, b"x"], |reply| {
        assert_eq!(integer(&reply), 1)
    });
    for buckets in [
        vec![(KEY, LIMIT, 1)],
        vec![(OTHER, LIMIT, 1), (KEY, LIMIT, 1)],
        vec![(KEY, LIMIT, 1), (OTHER, LIMIT, 1)],
    ] {
        let mut out = Vec::new();
        command_at(
            &redis.script,
            &Demand { count: 1, buckets },
            START_US,
            &mut out,
        );
        redis.redis.exchange(&out, 1, |replies| {
            let [Reply::Error(text)] = replies.as_slice() else {
                panic!("{replies:?}")
            };
            assert_eq!(ErrorClass::of(text), ErrorClass::Wrongtype);
        });
    }
    redis
        .redis
        .ask(&[b"LLEN", KEY], |reply| assert_eq!(integer(&reply), 1));
    redis.redis.ask(&[b"EXISTS", OTHER], |reply| {
        assert_eq!(integer(&reply), 0, "a call that fails charges nothing");
    });
    let other = Demand {
        count: 1,
        buckets: vec![(OTHER, LIMIT, 1)],
    };
    assert_eq!(redis.charge(&other, START_US).charge.admitted, 1);
}

#[test]
fn a_look_and_a_refusal_write_nothing() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    let look = redis.charge(&one(1, 0), START_US);
    assert_eq!(
        (look.held[0].value.as_deref(), look.held[0].ttl),
        (None, -2)
    );
    let drained = redis.charge(&one(9, 1), START_US);
    assert_eq!(drained.charge.admitted, BURST);
    assert!(drained.held[0].ttl > 0);
    let both = Demand {
        count: 1,
        buckets: vec![(OTHER, LIMIT, 1), (KEY, LIMIT, 1)],
    };
    let writes = |redis: &mut Clockless| {
        redis.redis.ask(&[b"INFO", b"persistence"], |reply| {
            let text = String::from_utf8(crate::bulk(&reply).to_vec()).unwrap();
            let changes = text
                .lines()
                .find_map(|l| l.strip_prefix("rdb_changes_since_last_save:"));
            changes.unwrap().parse::<u64>().unwrap()
        })
    };
    let before = writes(&mut redis);
    for demand in [one(1, 0), one(1, 1), both] {
        let mut out = Vec::new();
        command_at(&redis.script, &demand, START_US, &mut out);
        encode::command(&mut out, &[b"EXISTS", OTHER]);
        redis
            .redis
            .exchange(&out, 2, |replies| assert_eq!(integer(&replies[1]), 0));
    }
    assert_eq!(writes(&mut redis), before);
}

/// A clock of Redis that was set back once made a bucket refuse until the old time came, while
/// every refusal named the short wait of an empty bucket: the time was cut to what the bucket
/// holds, but only a charge wrote it down.
#[test]
fn a_time_further_ahead_than_it_was_written_is_cut_for_good_and_the_named_wait_is_honest() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    for ahead in [3_600_000_000, 5_000_000_000_000_000 - START_US] {
        let value = format!("{}:0:7:42857143", START_US + ahead);
        let (refused, _, ttl) = charge_over(&mut redis, value.as_bytes(), 1);
        assert_eq!(refused.admitted, 0);
        assert!(ttl > 0, "the cut time expires");
        let wait = refused.rules[0].retry.0;
        assert!(wait <= 42_857_143);
        assert_eq!(
            redis
                .charge(&one(1, 1), START_US + wait - 1)
                .charge
                .admitted,
            0
        );
        assert_eq!(redis.charge(&one(1, 1), START_US + wait).charge.admitted, 1);
    }
}
