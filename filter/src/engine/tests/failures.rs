//! Requests while Redis is not well.

use super::world::{World, command, reply};
use crate::answer::GrpcStatus;
use crate::decision::Decision::{
    Allowed, DegradedAllow, DegradedDeny, DegradedLocalAllow, DegradedLocalDeny,
};
use crate::engine::{Action, CallEnd};
use crate::units::Micros;

fn per_key(on_failure: &str) -> String {
    format!(
        r#"{{ "rules": [ {{ "name": "per-key", "key": [{{ "header": "x-api-key" }}],
            "limit": {{ "requests": 100, "per": "1m" }}, {on_failure} }} ] }}"#
    )
}

/// Errors of a whole store, or of a whole shard, and their classes.
pub(super) const ERRORS_OF_THE_STORE: [(&str, &str); 13] = [
    ("OOM command not allowed", "oom"),
    ("READONLY You can't write", "readonly"),
    ("LOADING Redis is loading", "loading"),
    ("BUSY Redis is busy", "busy"),
    ("NOAUTH Authentication required.", "auth"),
    ("CLUSTERDOWN Hash slot not served", "cluster"),
    ("MISCONF snapshots", "other"),
    ("ERR max number of clients reached", "other"),
    ("upstream failure", "other"),
    ("DENIED Redis is running in protected mode", "auth"),
    ("CROSSSLOT of one key", "cluster"),
    ("ERR something new", "other"),
    ("", "other"),
];

fn allow() -> World {
    World::new(&per_key(r#""on_failure": "allow""#))
}

#[test]
fn whatever_ends_a_call_the_failure_policy_answers_without_limit_fields() {
    let garbage = command(&["PONG"]);
    let ends = [
        (CallEnd::TimedOut, "timeout"),
        (CallEnd::Unreachable, "unreachable"),
        (CallEnd::Malformed, "malformed"),
        (CallEnd::Replied(b""), "malformed"),
        (CallEnd::Replied(b"not RESP at all"), "malformed"),
        (CallEnd::Replied(&garbage), "malformed"),
    ];
    for (end, result) in ends {
        let mut world = allow();
        world.request(1, "a");
        world.turn();
        world.fail(end);
        assert_eq!(world.decisions(), [(1, DegradedAllow)], "{result}");
        assert_eq!(world.verdict(1).action, Action::Pass(Vec::new()));
        assert_eq!(
            world.count(&format!("redis_calls_total.result.{result}")),
            1,
            "{result}"
        );
    }
}

#[test]
fn a_reply_that_does_not_fit_fails_its_whole_call() {
    let mut world = allow();
    for (stream, key) in [(1, "a"), (2, "b")] {
        world.request(stream, key);
    }
    world.turn();
    let mut bytes = reply(&[1, 7, 99, 0, 600_000]);
    bytes.extend(reply(&[2, 99, 0, 600_000]));
    world.fail(CallEnd::Replied(&bytes));
    assert_eq!(world.decisions(), [(1, DegradedAllow), (2, DegradedAllow)]);
}

#[test]
fn fail_closed_answers_503_with_a_header_of_its_own() {
    let mut world = World::new(&per_key(r#""on_failure": "deny""#));
    world.request(1, "a");
    world.turn();
    world.fail(CallEnd::TimedOut);
    let verdict = world.verdict(1);
    let Action::Refuse(answer) = verdict.action else {
        panic!("refused")
    };
    assert_eq!(
        (verdict.decision, answer.status, answer.grpc_status),
        (DegradedDeny, 503, GrpcStatus::Unavailable)
    );
    assert_eq!(
        world.field(1, "x-velocitygate").as_deref(),
        Some("unavailable")
    );
    assert_eq!(world.field(1, "ratelimit"), None);
}

#[test]
fn the_local_policy_admits_its_share_and_no_more() {
    let mut world = World::new(&per_key(
        r#""on_failure": "local", "local": { "share": 0.03 }"#,
    ));
    world.open_the_breaker();
    let decisions: Vec<_> = (1..=5)
        .map(|stream| world.request(stream, "a").expect("at once").decision)
        .collect();
    let (yes, no) = (DegradedLocalAllow, DegradedLocalDeny);
    assert_eq!(decisions, [yes, yes, yes, no, no]);
    let Some(Action::Refuse(answer)) = world.request(6, "a").map(|verdict| verdict.action) else {
        panic!("refused")
    };
    assert_eq!(answer.status, 429);
    assert!(
        answer
            .headers
            .contains(&("retry-after".into(), "20".into())),
        "{:?}",
        answer.headers
    );
    assert!(
        answer
            .headers
            .iter()
            .all(|(name, _)| !name.starts_with("ratelimit"))
    );
}

#[test]
fn i5_a_poisoned_key_fails_alone_and_never_opens_the_breaker() {
    let mut world = allow();
    world.redis.poisoned = vec![b"vg:{per-key:bad}:tb".to_vec()];
    for stream in 1..200 {
        let key = if stream % 2 == 0 { "bad" } else { "good" };
        let expected = match (key, stream) {
            ("bad", _) => DegradedAllow,
            _ => Allowed,
        };
        assert_eq!(world.round_trip(stream, key), expected);
    }
    assert_eq!(world.moves, Vec::<String>::new());
    assert_eq!(world.count("redis_errors_total.class.wrongtype"), 99);
}

#[test]
fn i5_what_the_script_cannot_do_with_a_key_never_opens_the_breaker() {
    for error in [
        "WRONGTYPE Operation against a key script: 1f2e, on @user_script:1.",
        "ERR user_script:1: attempt to index a nil value script: 1f2e, on @user_script:1.",
        "ERR Error running script (call to f_1f2e): @user_script:1: user_script:1: attempt to index",
    ] {
        let mut world = allow();
        world.redis.error = Some(error);
        for stream in 1..100 {
            assert_eq!(world.round_trip(stream, "bad"), DegradedAllow, "{error}");
        }
        assert_eq!(world.moves, Vec::<String>::new(), "{error}");
    }
}

#[test]
fn errors_of_the_whole_store_open_the_breaker_and_are_counted_by_class() {
    for (error, class) in ERRORS_OF_THE_STORE {
        let mut world = allow();
        world.redis.error = Some(error);
        for stream in 1..=10 {
            assert_eq!(world.round_trip(stream, "a"), DegradedAllow, "{error}");
        }
        assert_eq!(
            world.count(&format!("redis_errors_total.class.{class}")),
            10,
            "{error}"
        );
        assert_eq!(world.moves.len(), 1, "{error}: {:?}", world.moves);
        assert!(
            world.request(11, "a").is_some(),
            "{error}: open, so decided at once"
        );
    }
}

#[test]
fn i7_no_request_reaches_redis_while_the_breaker_is_open() {
    let mut world = allow();
    world.open_the_breaker();
    for stream in 1..100 {
        assert_eq!(
            world.request(stream, "a").map(|v| v.decision),
            Some(DegradedAllow)
        );
    }
    world.turn();
    assert!(world.calls.is_empty());
}

#[test]
fn requests_that_wait_when_another_worker_opens_the_breaker_are_not_sent() {
    let cell = crate::testing::Cell::default();
    let config = per_key(r#""on_failure": "allow""#);
    let mut one = World::worker_of(&config, cell.clone());
    let mut other = World::worker_of(&config, cell);
    other.request(1, "a");
    one.open_the_breaker();
    other.turn();
    assert!(other.calls.is_empty());
    assert_eq!(other.decisions(), [(1, DegradedAllow)]);
}

/// A new configuration, say, to which no request came while the breaker was open.
#[test]
fn a_worker_without_requests_learns_that_others_closed_the_breaker() {
    let cell = crate::testing::Cell::default();
    let config = per_key(r#""on_failure": "deny""#);
    let mut busy = World::worker_of(&config, cell.clone());
    busy.open_the_breaker();
    let mut idle = World::worker_of(&config, cell);
    busy.tick(Micros::from_millis(300));
    (0..3).for_each(|_| busy.deliver());
    assert_eq!(busy.round_trip(1, "a"), Allowed);
    idle.now = busy.now;
    assert_eq!(idle.round_trip(1, "a"), Allowed);
}

/// A busy worker takes a moment from a request to its turn, so its calls are given a little less
/// than `redis.timeout`. None of those that timed out counted.
#[test]
fn a_silent_redis_opens_the_breaker_of_a_busy_worker_too() {
    let mut world = allow();
    for stream in 1..=10 {
        world.request(stream, "a");
        world.now = world.now + Micros(1_100);
        world.turn();
        world.now = world.now + Micros(48_900);
        world.fail(CallEnd::TimedOut);
    }
    assert_eq!(world.moves.len(), 1, "{:?}", world.moves);
}

/// With `redis.timeout` of 40 ms `slow_call` is as long (also where it is configured so), and a call
/// of a busy worker is given less than either.
#[test]
fn a_silent_redis_opens_the_breaker_whose_slow_call_is_as_long_as_the_timeout() {
    for (settings, timeout) in [
        (r#""redis": { "timeout": "40ms" }"#, 40),
        (r#""breaker": { "slow_call": "50ms" }"#, 50),
    ] {
        let rule = r#"{ "name": "all", "limit": { "requests": 99, "per": "1m" } }"#;
        let mut world = World::new(&format!(r#"{{ {settings}, "rules": [{rule}] }}"#));
        for stream in 1..=10 {
            world.request(stream, "a");
            world.now = world.now + Micros(1_100);
            world.turn();
            world.now = world.now + Micros(timeout * 1_000 - 1_100);
            world.fail(CallEnd::TimedOut);
        }
        assert_eq!(world.moves.len(), 1, "{settings}: {:?}", world.moves);
    }
}

/// An outage that the breaker was not told of left no line in the log.
#[test]
fn the_log_says_once_a_minute_that_calls_fail_and_what_redis_said() {
    let mut world = World::new(
        r#"{ "breaker": "off",
             "rules": [ { "name": "all", "limit": { "requests": 9, "per": "1m" } } ] }"#,
    );
    let mut stream = 0;
    let mut fail = |world: &mut World, end: CallEnd<'_>| {
        stream += 1;
        world.request(stream, "a");
        world.turn();
        world.fail(end);
        std::mem::take(&mut world.warnings)
    };
    assert_eq!(
        fail(&mut world, CallEnd::TimedOut),
        ["redis call failed: timeout"]
    );
    world.now = world.now + Micros(59_999_999);
    assert!(fail(&mut world, CallEnd::TimedOut).is_empty());
    // Another cause is news.
    assert_eq!(
        fail(&mut world, CallEnd::Unreachable),
        ["redis call failed: unreachable"]
    );
    world.now = world.now + Micros(1);
    assert_eq!(fail(&mut world, CallEnd::TimedOut).len(), 1);
    let said = "NOAUTH \u{1b}[1m".to_owned() + &"x".repeat(200);
    let error = format!("-{said}\r\n");
    let cut = "x".repeat(120 - "NOAUTH ?[1m".len());
    let expected = format!("redis call failed: error, \"NOAUTH ?[1m{cut}\"");
    assert_eq!(
        fail(&mut world, CallEnd::Replied(error.as_bytes())),
        [expected]
    );
}

/// Before a login Redis says so to the first command, and hangs up: what is left of the call has no
/// answer, and was blamed on the network.
#[test]
fn the_end_of_a_connection_says_less_than_what_redis_said_before_it() {
    let mut world = allow();
    world.request(1, "a");
    world.request(2, "b");
    world.turn();
    let said = "ERR Protocol error: unauthenticated multibulk length";
    let replies = format!("-{said}\r\n-upstream failure\r\n");
    world.fail(CallEnd::Replied(replies.as_bytes()));
    let expected = format!("redis call failed: error, \"{said}\"");
    assert_eq!(world.warnings, [expected]);
    assert_eq!(world.count("redis_calls_total.result.error"), 1);
}

/// Keys are among the arguments that Redis repeats.
#[test]
fn no_key_of_a_client_is_in_the_log() {
    let mut world = allow();
    world.request(1, "a");
    world.turn();
    let error =
        "-ERR unknown command 'EVALSHA', with args beginning with: 'f' '1' 'vg:{own:a}:tb'\r\n";
    world.fail(CallEnd::Replied(error.as_bytes()));
    assert_eq!(
        world.warnings,
        ["redis call failed: error, \"ERR unknown command 'EVALSHA'\""]
    );
}

#[test]
fn nothing_is_said_of_what_is_part_of_life() {
    let mut world = allow();
    world.redis.knows_script = false;
    assert_eq!(world.round_trip(1, "a"), Allowed);
    assert!(world.warnings.is_empty(), "{:?}", world.warnings);
}

#[test]
fn probes_close_the_breaker_and_spend_no_user_request() {
    let mut world = allow();
    world.open_the_breaker();
    world.tick(Micros::from_millis(300));
    assert_eq!(world.moves, ["breaker open -> half-open: the wait is over"]);
    for _ in 0..3 {
        assert_eq!(world.calls.len(), 1, "one probe at a time");
        assert!(
            world.request(1, "a").is_some(),
            "half-open refuses requests"
        );
        world.deliver();
    }
    assert_eq!(
        world.moves[1],
        "breaker half-open -> closed: 3 probes succeeded"
    );
    assert_eq!(world.round_trip(2, "a"), Allowed);
    assert_eq!(world.count("breaker_probes_total.result.ok"), 3);
}

#[test]
fn a_request_beyond_max_waiting_gets_its_failure_policy_at_once() {
    let mut world = World::new(
        r#"{ "redis": { "max_waiting": 2 },
             "rules": [ { "name": "all", "limit": { "requests": 9, "per": "1m" } } ] }"#,
    );
    assert!(world.request(1, "").is_none());
    assert!(world.request(2, "").is_none());
    assert_eq!(
        world.request(3, "").map(|verdict| verdict.decision),
        Some(DegradedAllow)
    );
    assert_eq!(world.count("waiting_full_total"), 1);
    world.engine.stream_ended(1);
    assert!(
        world.request(4, "").is_none(),
        "a stream that ended leaves its place"
    );
}
