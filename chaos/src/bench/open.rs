//! Open-loop load at one fixed rate, for latency: it counts from when a request was due.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::peer::Peer;
use crate::judge::percentile;
use crate::load::{Client, Pacer};
use crate::record::{Event, Outcome, Request};
use crate::scenario::{Keys, Load};

/// Requests per second.
pub(super) const RPS: f64 = 2000.0;

/// Connections open and the first answers come in this time, which is left out.
const SETTLE_S: f64 = 0.2;

/// Between two looks at whether the whole load was sent.
const POLL: Duration = Duration::from_millis(10);

/// Latencies in milliseconds, and by how much the generator was late itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Latency {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) late_p99_ms: f64,
}

/// Sends for so many seconds and waits for the answers.
///
/// # Errors
/// When an answer is not the peer's, or a request was not sent.
pub(super) async fn run(front: SocketAddr, peer: Peer, seconds: f64) -> Result<Latency> {
    let load = Load {
        rps: RPS,
        keys: Keys::Uniform { count: peer.keys() },
        hot: None,
        seed: 1,
        steps: Vec::new(),
    };
    let client = Client::new(front)?;
    let (sink, mut events) = mpsc::unbounded_channel();
    let end_s = SETTLE_S + seconds;
    let pacer = Pacer::start(load, end_s, Instant::now(), sink, move |key| {
        let client = client.clone();
        async move { client.send(key).await }
    });
    while !pacer.is_finished() {
        sleep(POLL).await;
    }
    pacer.finish().await;
    let mut requests = Vec::new();
    while let Some(event) = events.recv().await {
        if let Event::Request(request) = event {
            requests.push(request);
        }
    }
    latency(&requests, peer)
}

fn latency(requests: &[Request], peer: Peer) -> Result<Latency> {
    if let Some(wrong) = requests.iter().find(|it| !is_right(it.outcome, peer)) {
        let took_ms = wrong.took_us / 1000;
        bail!("at the fixed rate: {:?} after {took_ms} ms", wrong.outcome);
    }
    let settled = requests.iter().filter(|it| it.due_s >= SETTLE_S);
    let took_us = settled.clone().map(|it| it.took_us);
    let late_us = settled.clone().map(|it| it.late_us);
    ensure!(settled.count() > 0, "at the fixed rate: no answer");
    Ok(Latency {
        p50_ms: percentile(took_us.clone(), 50.0),
        p99_ms: percentile(took_us, 99.0),
        late_p99_ms: percentile(late_us, 99.0),
    })
}

/// The client tells VelocityGate's answers apart; of others it sees the status.
fn is_right(outcome: Outcome, peer: Peer) -> bool {
    match peer {
        Peer::Strict | Peer::Leased => outcome == Outcome::Counted,
        Peer::Refused => outcome.is_counted(),
        _ => outcome == Outcome::Uncounted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::made;

    fn request(due_s: f64, took_us: u64, outcome: Outcome) -> Request {
        Request {
            late_us: took_us / 10,
            ..made::request(due_s, took_us, outcome)
        }
    }

    #[test]
    fn the_first_requests_count_for_their_answers_only() {
        let requests = [
            request(0.0, 9000, Outcome::Counted),
            request(SETTLE_S, 1000, Outcome::Counted),
        ];
        let expected = Latency {
            p50_ms: 1.0,
            p99_ms: 1.0,
            late_p99_ms: 0.1,
        };
        assert_eq!(latency(&requests, Peer::Strict).unwrap(), expected);
        assert!(latency(&requests, Peer::Open).is_err());
        assert!(latency(&requests[..1], Peer::Strict).is_err());
    }

    #[test]
    fn a_request_without_an_answer_voids_the_turn_of_every_peer() {
        for outcome in [Outcome::NotSent, Outcome::Silent, Outcome::Unavailable] {
            for peer in [Peer::None, Peer::Strict, Peer::Refused, Peer::Open] {
                assert!(latency(&[request(1.0, 1, outcome)], peer).is_err());
            }
        }
    }
}
