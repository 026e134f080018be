//! Calls that end badly, late, or for nobody.

use proptest::prelude::*;

use crate::wasm_host::{Reply, status};
use crate::{CHARGED, CLOSED, Fixture, OPEN, grpc_headers, replied, value};

/// How calls end badly, and the result that is counted.
fn bad_ends() -> Vec<(Reply, &'static str)> {
    let surplus = [CHARGED, CHARGED].concat();
    vec![
        (Reply::Reset, "unreachable"),
        (Reply::Response(503, Vec::new()), "unreachable"),
        (Reply::Response(504, Vec::new()), "timeout"),
        (Reply::Response(502, Vec::new()), "malformed"),
        (replied(""), "malformed"),
        (replied("nonsense"), "malformed"),
        (replied(&CHARGED[..CHARGED.len() - 1]), "malformed"),
        (replied(surplus), "malformed"),
        (replied("*5\r\n:2\r\n:7\r\n:9\r\n:0\r\n:0\r\n"), "malformed"),
        (replied("-OOM command not allowed\r\n"), "error"),
    ]
}

#[test]
fn a_call_that_ends_badly_lets_its_requests_pass_when_the_rule_fails_open() {
    for (reply, result) in bad_ends() {
        let mut fixture = Fixture::new(OPEN);
        let stream = fixture.ask("a");
        fixture.worker.reply(reply.clone());
        fixture.assert_passed(stream);
        assert_eq!(fixture.decision(stream), "degraded_allow", "{reply:?}");
        let metric = format!("redis_calls_total.result.{result}");
        assert_eq!(fixture.metric(&metric), 1, "{reply:?}");
    }
}

#[test]
fn a_call_that_ends_badly_refuses_its_requests_when_the_rule_fails_closed() {
    for (reply, _) in bad_ends() {
        let mut fixture = Fixture::new(CLOSED);
        let stream = fixture.ask("a");
        fixture.worker.reply(reply.clone());
        let answer = fixture.worker.local_response(stream).unwrap();
        assert_eq!(answer.status, 503, "{reply:?}");
        assert_eq!(
            value(&answer.headers, "x-velocitygate"),
            Some("unavailable")
        );
        assert_eq!(value(&answer.headers, "ratelimit"), None);
        assert_eq!(fixture.worker.stream(stream).resumed, 0);
    }
}

#[test]
fn a_grpc_request_that_a_closed_rule_refuses_gets_status_14() {
    let mut fixture = Fixture::new(CLOSED);
    let (stream, _) = fixture.worker.request(fixture.root, grpc_headers());
    fixture.worker.turn();
    fixture.worker.reply(Reply::Reset);
    let answer = fixture.worker.local_response(stream).unwrap();
    assert_eq!((answer.status, answer.grpc_status), (200, 14));
}

#[test]
fn a_call_that_the_host_refuses_to_make_ends_at_once() {
    for refusal in [status::INTERNAL_FAILURE, status::BAD_ARGUMENT] {
        let mut fixture = Fixture::new(OPEN);
        fixture.worker.vm().dispatch_status = refusal;
        let stream = fixture.wait("a");
        fixture.worker.turn();
        fixture.assert_passed(stream);
        assert_eq!(fixture.metric("redis_calls_total.result.unreachable"), 1);
        fixture.worker.vm().dispatch_status = status::OK;
        fixture.ask("a");
    }
}

#[test]
fn a_stream_that_ends_before_its_call_is_not_asked_about() {
    let mut fixture = Fixture::new(OPEN);
    let stream = fixture.wait("a");
    fixture.worker.delete(stream);
    fixture.worker.turn();
    assert!(fixture.worker.calls().is_empty());
    let stream = fixture.wait("a");
    fixture.worker.tick(fixture.root);
    assert_eq!(fixture.metric("waiting"), 1);
    fixture.worker.delete(stream);
    fixture.worker.tick(fixture.root);
    assert_eq!(fixture.metric("waiting"), 0);
}

#[test]
fn a_reply_for_a_stream_that_is_gone_answers_only_those_still_there() {
    let mut fixture = Fixture::new(OPEN);
    let (gone, there) = (fixture.wait("a"), fixture.wait("b"));
    fixture.worker.turn();
    fixture.worker.delete(gone);
    fixture.worker.reply(replied([CHARGED, CHARGED].concat()));
    fixture.assert_passed(there);
    assert_eq!(fixture.decision(there), "allowed");
}

#[test]
fn a_tick_after_the_deadline_ends_the_wait_and_the_late_reply_changes_nothing() {
    let mut fixture = Fixture::new(OPEN);
    let stream = fixture.ask("a");
    fixture.process.borrow_mut().advance(49);
    fixture.worker.tick(fixture.root);
    assert_eq!(fixture.worker.stream(stream).resumed, 0);
    fixture.process.borrow_mut().advance(1);
    fixture.worker.tick(fixture.root);
    fixture.assert_passed(stream);
    assert_eq!(fixture.decision(stream), "degraded_allow");
    fixture.worker.reply(replied(CHARGED));
    fixture.assert_passed(stream);
    assert_eq!(fixture.metric("redis_calls_total.result.timeout"), 1);
    assert_eq!(fixture.metric("redis_calls_total.result.ok"), 0);
}

/// Bytes of any kind, and bytes that look like RESP for a while.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let resp_like = proptest::collection::vec(
        prop_oneof![
            Just(b"*5\r\n".to_vec()),
            Just(b":1\r\n".to_vec()),
            Just(b":-1\r\n".to_vec()),
            Just(b"$-1\r\n".to_vec()),
            Just(b"$3\r\nabc\r\n".to_vec()),
            Just(b"*1000000\r\n".to_vec()),
            Just(b"-ERR x\r\n".to_vec()),
            Just(b":99999999999999999999\r\n".to_vec()),
        ],
        0..8,
    );
    let resp_like = resp_like.prop_map(|parts| parts.concat());
    prop_oneof![proptest::collection::vec(any::<u8>(), 0..300), resp_like]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_body_of_any_bytes_under_any_status_answers_the_request_once(
        body in garbage(),
        code in prop_oneof![Just(200u32), 0u32..1000],
    ) {
        let mut fixture = Fixture::new(OPEN);
        let stream = fixture.ask("a");
        fixture.worker.reply(Reply::Response(code, body));
        fixture.assert_passed(stream);
    }
}
