//! A store that lies (I9). Behind `redis_proxy` only the newest Envoy is tried, because lies kill
//! the `redis_proxy` of older ones; behind `tcp_proxy` the bridge alone reads what the store says.

use tokio::task::JoinSet;
use velocitygate_chaos::observe::ProcessSample;
use velocitygate_chaos::stack::{EnvoyVersion, Wiring};

use super::bed::Bed;
use super::eventually;
use super::liar::{Liar, Manner};
use super::lie::{Act, LIES, Lie, PROPER};

/// Requests at once, so that a call asks for several counters.
const CROWD: usize = 8;

/// Requests one after another before a lie that does not open the breaker is believed not to.
const PATIENCE: usize = 8;

/// More memory than Envoy may take on for all lies together. The endless ones alone write
/// several times as much.
const GROWTH: u64 = 128 << 20;

/// Sends requests until the breaker opens, or for some time when it should not. Every one ends by
/// the rule's policy. How many there were.
async fn endure(bed: &Bed, lie: &Lie, wiring: Wiring) -> u64 {
    let opened = async || {
        bed.sample()
            .await
            .transitions
            .get("open")
            .copied()
            .unwrap_or(0)
    };
    let (before, logged) = (opened().await, bed.log().len());
    let mut crowd = JoinSet::new();
    for index in 0..CROWD {
        crowd.spawn(bed.request(&format!("{} {index}", lie.name)));
    }
    let mut answers = Vec::new();
    for answer in crowd.join_all().await {
        answers.push(answer.unwrap());
    }
    // Behind redis_proxy a surplus is invisible, so the breaker has nothing to open for.
    let invisible = lie.begins_properly && wiring == Wiring::RedisProxy;
    if lie.opens && !invisible {
        eventually(&format!("the breaker opens for {}", lie.name), async || {
            answers.push(bed.get(lie.name).await);
            opened().await > before
        })
        .await;
    } else {
        for index in 0..PATIENCE {
            answers.push(bed.get(&format!("{} again {index}", lie.name)).await);
        }
        let log = bed.log();
        let blamed = openings(&log[logged..]);
        assert!(invisible || blamed.is_empty(), "{}: {blamed:?}", lie.name);
    }
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", lie.name);
        let silent = invisible || answer.limit_headers.is_empty();
        assert!(silent, "{}: {answer:?}", lie.name);
    }
    answers.len() as u64
}

/// What the breaker says of why it opened, but for what a busy machine does: it is slow.
fn openings(log: &str) -> Vec<&str> {
    let openings = log.lines().filter(|it| it.contains("closed -> open"));
    let slow = ["(last: timeout)", "calls were slow"];
    openings
        .filter(|it| !slow.iter().any(|why| it.contains(why)))
        .collect()
}

async fn i9_against(envoy: EnvoyVersion, wiring: Wiring) {
    let liar = Liar::start().await;
    let bed = Bed::asking(&liar, envoy, wiring).await;
    let honest = Manner::Honest(bed.stack.redis().address());
    liar.turn(honest);
    bed.heal("at first").await;
    let (vitals, memory) = (bed.vitals().await, rss(&bed));
    for lie in LIES {
        let (degraded, hits) = (
            bed.decisions("degraded_allow").await,
            bed.stack.upstream().hits(),
        );
        liar.turn(Manner::Lying(lie.act));
        let sent = endure(&bed, lie, wiring).await;
        assert_eq!(bed.stack.upstream().hits() - hits, sent, "{}", lie.name);
        if !lie.begins_properly {
            let policy = bed.decisions("degraded_allow").await - degraded;
            assert_eq!(policy, sent, "{}", lie.name);
        }
        bed.assert_unharmed(&vitals, lie.name).await;
        liar.turn(honest);
        bed.heal(lie.name).await;
        bed.assert_unharmed(&vitals, &format!("the end of {}", lie.name))
            .await;
    }
    assert!(liar.asked() > LIES.len() as u64);
    let grown = rss(&bed).saturating_sub(memory);
    assert!(grown < GROWTH, "Envoy grew by {grown} bytes");
    bed.nobody_waits().await;
}

fn rss(bed: &Bed) -> u64 {
    ProcessSample::take(bed.envoy().pid()).unwrap().rss_bytes
}

#[tokio::test]
async fn i9_no_lie_of_a_store_breaks_the_newest_envoy_behind_redis_proxy() {
    i9_against(EnvoyVersion::Newest, Wiring::RedisProxy).await;
}

#[tokio::test]
async fn i9_no_lie_of_a_store_breaks_the_newest_envoy_behind_tcp_proxy() {
    i9_against(EnvoyVersion::Newest, Wiring::TcpProxy).await;
}

#[tokio::test]
async fn i9_no_lie_of_a_store_breaks_the_oldest_envoy_behind_tcp_proxy() {
    i9_against(EnvoyVersion::Oldest, Wiring::TcpProxy).await;
}

/// A surplus that comes with the end of connections on which nobody waits.
async fn a_last_word_traps_nothing(envoy: EnvoyVersion) {
    const ROUNDS: u64 = 20;
    let liar = Liar::start().await;
    let bed = Bed::asking(&liar, envoy, Wiring::TcpProxy).await;
    let honest = Manner::Honest(bed.stack.redis().address());
    liar.turn(honest);
    bed.heal("at first").await;
    let vitals = bed.vitals().await;
    for round in 0..ROUNDS {
        liar.turn(Manner::Lying(Act::Part(PROPER, b"+OK\r\n")));
        // The first may meet the connection of the honest store as it closes.
        for index in 0..3 {
            let answer = bed.get(&format!("{round} {index}")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        liar.turn(honest);
        bed.heal(&format!("last word {round}")).await;
    }
    bed.assert_unharmed(&vitals, "last words").await;
    // Whoever closes them, the connections of all rounds are gone.
    eventually("their connections are closed", async || {
        let open = bed.stats("^cluster\\.redis\\.upstream_cx_active$").await;
        open["cluster.redis.upstream_cx_active"] < ROUNDS
    })
    .await;
}

#[tokio::test]
async fn i9_a_last_word_of_a_store_traps_nothing_in_the_newest_envoy() {
    a_last_word_traps_nothing(EnvoyVersion::Newest).await;
}

#[tokio::test]
async fn i9_a_last_word_of_a_store_traps_nothing_in_the_oldest_envoy() {
    a_last_word_traps_nothing(EnvoyVersion::Oldest).await;
}

/// Numbers that no honest script returns, though each alone could be right.
#[tokio::test]
async fn i9_replies_that_contradict_themselves_are_seen_through() {
    let lies: [(&str, &'static [u8]); 4] = [
        (
            "a refusal with room for more",
            b"*4\r\n:0\r\n:2\r\n:0\r\n:0\r\n",
        ),
        (
            "more left than the bucket holds",
            b"*4\r\n:1\r\n:1000\r\n:0\r\n:0\r\n",
        ),
        (
            "a wait of 292000 years",
            b"*4\r\n:0\r\n:0\r\n:9223372036854775807\r\n:9223372036854775807\r\n",
        ),
        (
            "a reset after 292000 years",
            b"*4\r\n:1\r\n:2\r\n:0\r\n:9223372036854775807\r\n",
        ),
    ];
    let liar = Liar::start().await;
    let bed = Bed::asking(&liar, EnvoyVersion::Newest, Wiring::TcpProxy).await;
    let mut believed = Vec::new();
    for (what, bytes) in lies {
        liar.turn(Manner::Honest(bed.stack.redis().address()));
        bed.heal(what).await;
        liar.turn(Manner::Lying(Act::Say(bytes)));
        // The first may meet the connection of the honest store as it closes.
        for index in 0..3 {
            let answer = bed.get(&format!("{what} {index}")).await;
            if answer.status != 200 || !answer.limit_headers.is_empty() {
                believed.push((what, answer));
            }
        }
    }
    assert!(believed.is_empty(), "{believed:#?}");
}

/// However a store refuses, the refusal is counted by its rule (I10).
#[tokio::test]
async fn i10_every_request_is_counted_by_a_decision_whatever_the_store_says() {
    let liar = Liar::start().await;
    let bed = Bed::asking(&liar, EnvoyVersion::Newest, Wiring::TcpProxy).await;
    liar.turn(Manner::Lying(Act::Say(b"*4\r\n:0\r\n:2\r\n:0\r\n:0\r\n")));
    let requests: u64 = 5;
    for index in 0..requests {
        bed.get(&format!("refused with room {index}")).await;
    }
    assert_eq!(bed.decided().await, requests);
}
