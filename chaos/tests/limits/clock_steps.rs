//! Redis's clock stepped while it was restarted: its data is older or younger than its clock says.
//!
//! No clock of a machine is touched. What a clock that will be stepped wrote is written by the
//! filter's own script, told the time; Redis saves it, is killed, reads it again, and is then asked
//! by a real Envoy on its own clock.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use velocitygate::limit::SCRIPT;
use velocitygate_chaos::judge::Span;

use crate::common::{PATIENT, Running, Seen, eventually, rule, with};
use crate::load::{Load, RedisClock, Tally};
use crate::promise::{ALGORITHMS, Promise};

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;

/// How long what has expired by the stepped clock lives yet: Redis has to save it, and to be killed.
const TO_SAVE: Duration = Duration::from_secs(10);

/// Requests of every limit here.
const REQUESTS: u32 = 40;

/// A limit that is told of.
const fn hourly(algorithm: &'static str) -> Promise {
    Promise {
        algorithm,
        requests: REQUESTS,
        per: Duration::from_hours(1),
    }
}

/// A limit that is met again and again.
const fn brief(algorithm: &'static str) -> Promise {
    Promise {
        algorithm,
        requests: REQUESTS,
        per: Duration::from_millis(500),
    }
}

/// A rule for each of these limits under the path `/<algorithm>/`, and one for pilots.
async fn start(promise: fn(&'static str) -> Promise) -> Running {
    let limited = |name: &str, limit: Value| {
        with(
            rule(name, 1),
            json!({ "limit": limit, "on_failure": "deny" }),
        )
    };
    let rules = ALGORITHMS.map(|(name, _)| limited(name, promise(name).limit()));
    let pilot = limited("pilot", json!({ "requests": 1_000, "per": "1s" }));
    let rules: Vec<Value> = rules.into_iter().chain([pilot]).collect();
    Running::start(PATIENT, json!(rules), |_| ()).await
}

/// Uses up a client's limit by a clock that is then stepped by this much: what is stored is as far
/// from the clock that Redis goes on with. By that clock, when.
async fn used_up_before_a_step(
    running: &Running,
    (promise, tag): (Promise, &str),
    client: &str,
    step_s: i64,
) -> Span {
    let asks = "redis.call('TIME')";
    assert_eq!(SCRIPT.body.matches(asks).count(), 1);
    let told = SCRIPT
        .body
        .replace(asks, "{ ARGV[#ARGV - 1], ARGV[#ARGV] }");
    let redis = running.redis();
    let (seconds, micros): (i64, i64) = redis.ask(redis::cmd("TIME")).await.unwrap();
    let key = format!("vg:{{{}:{client}}}:{tag}", promise.algorithm);
    let per_us = u64::try_from(promise.per.as_micros()).unwrap();
    let mut charge = redis::cmd("EVAL");
    charge.arg(told).arg(1).arg(&key).arg("charge");
    charge.arg(promise.requests).arg(tag);
    charge.arg(promise.requests).arg(per_us);
    charge.arg(promise.requests).arg(1);
    charge.arg(seconds - step_s).arg(micros);
    // An expiry is an instant, too.
    let mut shift = redis::cmd("EVAL");
    let text = "local left = redis.call('PTTL', KEYS[1]) + ARGV[1]
        return redis.call('PEXPIRE', KEYS[1], math.max(left, ARGV[2]))";
    shift.arg(text).arg(1).arg(&key).arg(-1_000 * step_s);
    shift.arg(u64::try_from(TO_SAVE.as_millis()).unwrap());
    // Together, or what is brief could expire in between.
    let mut both = redis::pipe();
    both.atomic().add_command(charge).add_command(shift);
    let mut connection = redis.connect().await.unwrap();
    let (reply, shifted): (Vec<u64>, u64) = both.query_async(&mut connection).await.unwrap();
    assert_eq!(
        (reply[0], shifted),
        (u64::from(promise.requests), 1),
        "{key}"
    );
    let at_s = (seconds - step_s) as f64 + micros as f64 / 1e6;
    Span {
        sent_s: at_s,
        done_s: at_s,
    }
}

/// Restarts Redis with what it has, and waits until Envoy is back with it.
async fn restart(running: &Running) {
    save_and_kill(running).await;
    start_again(running).await;
}

async fn save_and_kill(running: &Running) {
    running.redis().ask::<()>(redis::cmd("SAVE")).await.unwrap();
    running.redis().kill().await.unwrap();
}

async fn start_again(running: &Running) {
    running.redis().ensure_running().await.unwrap();
    eventually("Redis counts again", async || {
        Seen::of(running.get("/pilot/", "pilot")).await.has_limits()
    })
    .await;
}

fn path(promise: &Promise) -> String {
    format!("/{}/", promise.algorithm)
}

/// Asks for this client until it is refused: what was admitted.
async fn use_up(
    running: &Running,
    clock: RedisClock,
    promise: &Promise,
    client: &str,
) -> Vec<Span> {
    let mut admitted = Vec::new();
    for _ in 0..10 * REQUESTS {
        let (seen, span) = clock.time(running.get(&path(promise), client)).await;
        if seen.status == 429 {
            return admitted;
        }
        assert_eq!(seen.status, 200, "{}: {seen:?}", promise.algorithm);
        admitted.push(span);
    }
    panic!("{}: never refused", promise.algorithm);
}

#[tokio::test]
async fn i1_a_clock_that_was_set_back_forgets_nothing_and_refuses_no_longer_than_a_full_key() {
    let running = start(brief).await;
    for (name, tag) in ALGORITHMS {
        used_up_before_a_step(&running, (brief(name), tag), "hot", -30 * DAY_S).await;
    }
    restart(&running).await;
    let clock = RedisClock::of(&running).await;
    let load = Load {
        clock,
        length: Duration::from_secs(3),
        connections: 3,
    };
    let after_the_step = ALGORITHMS.map(|(name, _)| {
        let (running, load, promise) = (&running, &load, brief(name));
        async move {
            // All that lies ahead counts as charged when it is first looked at.
            let (first, at) = clock.time(running.get(&path(&promise), "hot")).await;
            assert_eq!(first.status, 429, "{name}: {first:?}");
            (promise, at, load.press(running, &path(&promise)).await)
        }
    });
    let [bucket, window, log, fixed] = after_the_step;
    let outcomes: [_; 4] = tokio::join!(bucket, window, log, fixed).into();
    for (
        promise,
        at,
        Tally {
            mut admitted,
            refused,
        },
    ) in outcomes
    {
        admitted.extend([at; REQUESTS as usize]);
        let excess = promise.excess(&admitted);
        assert!(excess <= 0.0, "{}: {excess}", promise.algorithm);
        // A key that was used up has room again when `per` is over.
        let room = promise.room(&admitted, &refused);
        let times = promise.times_used_up(&refused);
        assert!(room < 1.0, "{}: {room}", promise.algorithm);
        assert!(times > 1, "{}: {times}", promise.algorithm);
    }
}

#[tokio::test]
async fn i6_a_clock_that_was_set_back_does_not_lengthen_what_a_full_key_is_told_to_wait() {
    let running = start(hourly).await;
    for (name, tag) in ALGORITHMS {
        used_up_before_a_step(&running, (hourly(name), tag), "a", -30 * DAY_S).await;
    }
    restart(&running).await;
    // The bucket needs one token's time, the counters of two windows that of one more.
    let token_s = HOUR_S / i64::from(REQUESTS);
    for ((name, _), most_s) in
        ALGORITHMS
            .into_iter()
            .zip([token_s, HOUR_S + token_s, HOUR_S, HOUR_S])
    {
        let refused = Seen::of(running.get(&path(&hourly(name)), "a")).await;
        assert_eq!(refused.status, 429, "{name}: {refused:?}");
        let wait_s: i64 = refused.header("retry-after").parse().unwrap();
        assert!((1..=most_s).contains(&wait_s), "{name}: {wait_s}");
    }
}

#[tokio::test]
async fn i1_a_clock_that_was_set_forward_gives_what_its_time_is_worth_and_no_more() {
    let running = start(hourly).await;
    let mut charged = Vec::new();
    for (name, tag) in ALGORITHMS {
        let limit = (hourly(name), tag);
        charged.push(used_up_before_a_step(&running, limit, "half", HOUR_S / 2).await);
    }
    restart(&running).await;
    let clock = RedisClock::of(&running).await;
    for ((name, _), charged) in ALGORITHMS.into_iter().zip(charged) {
        let promise = hourly(name);
        let mut admitted = vec![charged; REQUESTS as usize];
        admitted.extend(use_up(&running, clock, &promise, "half").await);
        let excess = promise.excess(&admitted);
        assert!(excess <= 0.0, "{name}: {excess}");
        let gained = admitted.len() - REQUESTS as usize;
        let due = match name {
            "token_bucket" => REQUESTS as usize / 2,
            _ => 0,
        };
        assert!(gained >= due, "{name}: {gained} of {due}");
    }
}

#[tokio::test]
async fn i1_a_key_that_expired_as_the_clock_was_set_forward_is_a_fresh_one_and_no_more() {
    let running = start(hourly).await;
    for (name, tag) in ALGORITHMS {
        used_up_before_a_step(&running, (hourly(name), tag), "gone", DAY_S).await;
    }
    save_and_kill(&running).await;
    let saved = Instant::now();
    eventually("all have expired", async || saved.elapsed() > TO_SAVE).await;
    start_again(&running).await;
    let info = running.redis().info().await.unwrap();
    let dropped = format!("rdb_last_load_keys_expired:{}\r\n", ALGORITHMS.len());
    assert!(info.contains(&dropped), "{info}");
    let clock = RedisClock::of(&running).await;
    for (name, _) in ALGORITHMS {
        let promise = hourly(name);
        let admitted = use_up(&running, clock, &promise, "gone").await;
        assert!(
            admitted.len() >= REQUESTS as usize,
            "{name}: {}",
            admitted.len()
        );
        let excess = promise.excess(&admitted);
        assert!(excess <= 0.0, "{name}: {excess}");
    }
}
