//! The life of a request while Redis does its work.

use velocitygate::limit::SCRIPT;

use crate::wasm_host::Pairs;
use crate::{CHARGED, Fixture, OPEN, REFUSED, commands, grpc_headers, replied, value};

#[test]
fn requests_that_wait_go_out_in_one_call_at_the_next_turn() {
    let mut fixture = Fixture::new(OPEN);
    for key in ["a", "a", "b"] {
        fixture.wait(key);
    }
    assert!(fixture.worker.calls().is_empty());
    fixture.worker.turn();
    let calls = fixture.worker.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].cluster, "velocitygate_redis");
    assert_eq!(calls[0].context, fixture.root);
    assert_eq!(calls[0].timeout_millis, 50);
    let commands = commands(&calls[0]);
    // Those of one key share a command; its number of requests stands behind its one key and the operation.
    let counts: Vec<&[u8]> = commands
        .iter()
        .map(|command| command[5].as_slice())
        .collect();
    assert_eq!(counts, [b"2", b"1"]);
    for command in &commands {
        assert_eq!(command[0], b"EVALSHA");
        assert_eq!(command[1], SCRIPT.sha1.as_bytes());
    }
    fixture.worker.tick(fixture.root);
    assert_eq!(fixture.metric("waiting"), 3);
}

#[test]
fn a_good_reply_resumes_each_request_and_its_response_tells_where_it_stands() {
    let mut fixture = Fixture::new(OPEN);
    let streams = [fixture.wait("a"), fixture.wait("a")];
    fixture.worker.turn();
    fixture
        .worker
        .reply(replied("*5\r\n:2\r\n:7\r\n:8\r\n:0\r\n:12000000\r\n"));
    for (stream, left) in streams.into_iter().zip([9, 8]) {
        fixture.assert_passed(stream);
        assert_eq!(fixture.decision(stream), "allowed");
        let upstream = vec![(":status".to_owned(), b"200".to_vec())];
        let response = fixture.worker.response(stream, upstream);
        assert_eq!(
            value(&response, "ratelimit-policy"),
            Some("\"per-key\";q=10;w=60")
        );
        let limit = format!("\"per-key\";r={left};");
        assert!(
            value(&response, "ratelimit").unwrap().starts_with(&limit),
            "{response:?}"
        );
        fixture.worker.delete(stream);
    }
    assert_eq!(
        fixture.metric("requests_total.rule.per-key.decision.allowed"),
        2
    );
    assert_eq!(fixture.metric("redis_calls_total.result.ok"), 1);
}

#[test]
fn a_request_over_the_limit_is_answered_with_429_and_the_time_to_come_back() {
    let mut fixture = Fixture::new(OPEN);
    let stream = fixture.ask("a");
    fixture.worker.reply(replied(REFUSED));
    let answer = fixture.worker.local_response(stream).unwrap();
    assert_eq!((answer.status, answer.grpc_status), (429, -1));
    assert_eq!(value(&answer.headers, "retry-after"), Some("6"));
    assert_eq!(value(&answer.headers, "x-envoy-ratelimited"), Some("true"));
    assert_eq!(
        value(&answer.headers, "ratelimit"),
        Some("\"per-key\";r=0;t=6")
    );
    assert_eq!(fixture.worker.stream(stream).resumed, 0);
    assert_eq!(fixture.decision(stream), "denied");
}

#[test]
fn a_grpc_request_over_the_limit_gets_status_8_and_no_body() {
    let mut fixture = Fixture::new(OPEN);
    let (stream, _) = fixture.worker.request(fixture.root, grpc_headers());
    fixture.worker.turn();
    fixture.worker.reply(replied(REFUSED));
    let answer = fixture.worker.local_response(stream).unwrap();
    assert_eq!((answer.status, answer.grpc_status), (200, 8));
    assert_eq!(value(&answer.headers, "retry-after"), Some("6"));
    assert_eq!(answer.body, b"");
}

#[test]
fn a_redis_without_the_script_is_asked_again_with_its_text() {
    let mut fixture = Fixture::new(OPEN);
    let stream = fixture.ask("a");
    fixture
        .worker
        .reply(replied("-NOSCRIPT No matching script.\r\n"));
    let calls = fixture.worker.calls();
    assert_eq!(calls.len(), 1);
    let commands = commands(&calls[0]);
    assert_eq!(commands[0][0], b"EVAL");
    assert_eq!(commands[0][1], SCRIPT.body.as_bytes());
    fixture.worker.reply(replied(CHARGED));
    fixture.assert_passed(stream);
    assert_eq!(fixture.decision(stream), "allowed");
}

#[test]
fn a_response_without_a_known_count_carries_none_of_our_fields() {
    let mut fixture = Fixture::new(OPEN);
    let stream = fixture.ask("a");
    fixture.worker.reply(replied("-WRONGTYPE\r\n"));
    fixture.assert_passed(stream);
    let upstream: Pairs = vec![(":status".to_owned(), b"200".to_vec())];
    assert_eq!(fixture.worker.response(stream, upstream.clone()), upstream);
}

#[test]
fn limits_that_the_upstream_tells_of_stay_beside_ours_and_single_values_become_ours() {
    let every = r#""headers": ["ratelimit", "x-ratelimit"], "rules""#;
    let mut fixture = Fixture::new(&OPEN.replace(r#""rules""#, every));
    let stream = fixture.ask("a");
    fixture.worker.reply(replied(CHARGED));
    let upstream: Pairs = ["ratelimit", "ratelimit-policy", "x-ratelimit-limit"]
        .map(|name| (name.to_owned(), b"theirs".to_vec()))
        .into();
    let response = fixture.worker.response(stream, upstream);
    let lines = |name: &str| response.iter().filter(|(known, _)| known == name).count();
    for list in ["ratelimit", "ratelimit-policy"] {
        assert_eq!((value(&response, list), lines(list)), (Some("theirs"), 2));
    }
    let limit = "x-ratelimit-limit";
    assert_eq!((value(&response, limit), lines(limit)), (Some("10"), 1));
}
