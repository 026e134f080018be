//! Whose reply is it? Replies carry no name of the call they belong to, so a store that is late, or
//! mixes them up, or a client that is gone when its reply comes, must not bring others harm.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use velocitygate_chaos::stack::{EnvoyVersion, Store, Wiring};

use super::bed::{Bed, TIMEOUT};
use super::eventually;
use super::liar::{Liar, Manner};
use super::lie::Act;

/// Requests at once.
const CROWD: usize = 8;

/// The late reply is a refusal, so whoever is credited with it shows.
#[tokio::test]
async fn a_reply_after_the_timeout_is_never_credited_to_a_later_request() {
    let act = Act::Late(
        TIMEOUT * 3 / 2,
        b"*4\r\n:0\r\n:0\r\n:9000000\r\n:9000000\r\n",
    );
    for wiring in [Wiring::RedisProxy, Wiring::TcpProxy] {
        let liar = Liar::start().await;
        let bed = Bed::asking(&liar, EnvoyVersion::Newest, wiring).await;
        liar.turn(Manner::Lying(act));
        let late = bed.get("late").await;
        assert_eq!((late.status, late.limit_headers), (200, Vec::new()));
        // Its refusal is on the way while these are asked.
        for index in 0..4 {
            let answer = bed.get(&format!("later {index}")).await;
            assert_eq!(answer.status, 200, "{wiring:?}");
        }
    }
}

/// Clients that do not wait for their answers leave nothing behind.
#[tokio::test]
async fn i8_clients_that_hang_up_while_the_store_is_silent_are_forgotten() {
    // They wait until somebody has looked, and less than Envoy lets a stream be idle.
    const WAIT: Duration = Duration::from_secs(3);
    let liar = Liar::start().await;
    let bed = Bed::start(WAIT, |spec| {
        spec.store = Store::At(liar.address());
        spec.plugin["breaker"] = json!("off");
    })
    .await;
    liar.turn(Manner::Honest(bed.stack.redis().address()));
    bed.heal("at first").await;
    liar.turn(Manner::Lying(Act::Say(b"")));
    // Whoever is decided has waited to the end. On a busy machine all of a crowd may have.
    eventually("some are forgotten sooner", async || {
        let (before, mut crowd) = (bed.decided().await, JoinSet::new());
        for index in 0..CROWD {
            crowd.spawn(bed.request(&format!("gone {index}")));
        }
        let mut waiting = 0;
        eventually("a request waits", async || {
            waiting = bed.sample().await.waiting;
            waiting > 0
        })
        .await;
        crowd.shutdown().await;
        eventually("nobody waits", async || bed.sample().await.waiting == 0).await;
        bed.decided().await - before < waiting
    })
    .await;
    // Their calls go on until they time out, before that of whoever asks after them.
    let patient = bed.get("patient").await;
    assert_eq!((patient.status, patient.remaining), (200, None));
    liar.turn(Manner::Honest(bed.stack.redis().address()));
    bed.heal("silence").await;
    bed.assert_no_trap("silence");
}

/// A store that knows no script, not even one just sent to it. The text is sent once more for
/// each call, not until the time is over: that would be a storm on a sick store.
#[tokio::test]
async fn a_store_that_forgets_every_script_is_not_stormed() {
    let liar = Liar::start().await;
    // No breaker: its probes ask, too, and on a slow machine there is time for many.
    let bed = Bed::start(TIMEOUT, |spec| {
        spec.store = Store::At(liar.address());
        spec.plugin["breaker"] = json!("off");
    })
    .await;
    liar.turn(Manner::Lying(Act::Say(
        b"-NOSCRIPT No matching script.\r\n",
    )));
    let requests: u64 = 3;
    for index in 0..requests {
        let answer = bed.get(&format!("unscripted {index}")).await;
        assert_eq!((answer.status, answer.limit_headers), (200, Vec::new()));
    }
    let asked = liar.asked();
    assert!(
        asked <= 3 * requests,
        "{asked} commands for {requests} requests"
    );
}

/// Nobody can tell whose reply it is when both fit. But each request gets one answer, is counted
/// once, and nothing of it lasts.
#[tokio::test]
async fn i8_replies_swapped_between_requests_answer_each_once() {
    for wiring in [Wiring::RedisProxy, Wiring::TcpProxy] {
        let liar = Liar::start().await;
        let bed = Bed::asking(&liar, EnvoyVersion::Newest, wiring).await;
        let redis = bed.stack.redis().address();
        liar.turn(Manner::Honest(redis));
        let spent = bed.assert_counts_exactly("spent").await;
        let (hits, before) = (bed.stack.upstream().hits(), bed.decided().await);
        liar.turn(Manner::Swapping(redis));
        let (mut sent, mut passed) = (0, 0);
        for round in 0..4 {
            let mut crowd = JoinSet::new();
            for index in 0..CROWD {
                let fresh = format!("fresh {round} {index}");
                crowd.spawn(bed.request(if index % 2 == 0 { &spent } else { &fresh }));
            }
            for answer in crowd.join_all().await {
                let status = answer.unwrap().status;
                assert!([200, 429].contains(&status), "{status}");
                sent += 1;
                passed += u64::from(status == 200);
            }
        }
        assert_eq!(bed.stack.upstream().hits() - hits, passed);
        assert_eq!(bed.decided().await - before, sent);
        liar.turn(Manner::Honest(redis));
        bed.heal("swapping").await;
        bed.nobody_waits().await;
        bed.assert_no_trap("swapping");
    }
}
