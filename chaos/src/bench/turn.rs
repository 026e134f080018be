//! One peer's turn: fresh processes, a warm-up, a full load, a fixed rate. What the peer did not do,
//! such as limiting or proxying, voids it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::time::{Instant, sleep};

use super::closed::{Closed, Tally};
use super::cost::Cost;
use super::measured::Measured;
use super::peer::Peer;
use super::service::Service;
use super::wiring::{self, REFUSED_RPS};
use super::{Settings, open};
use crate::observe::{BreakerState, EnvoySample};
use crate::stack::{Envoy, Stack, ports};

/// How long the count of the empty filter may take to be told.
const TOLD: Duration = Duration::from_secs(5);
/// Between two looks at it.
const POLL: Duration = Duration::from_millis(50);

/// What runs during a turn. Dropping it kills it.
struct Bed {
    peer: Peer,
    stack: Stack,
    service: Option<Service>,
    http: reqwest::Client,
}

/// Measures `peer` once, with its files in `dir`.
///
/// # Errors
/// When something does not start, or the measurement is void.
pub(super) async fn run(peer: Peer, dir: &Path, settings: &Settings) -> Result<Measured> {
    let listen = ports::free()?;
    let stack = Stack::start(wiring::spec(peer, dir, listen)?).await?;
    let redis = stack.redis().store_address();
    let bed = Bed {
        peer,
        service: Service::start(peer, dir, listen, redis).await?,
        stack,
        http: reqwest::Client::builder().no_proxy().build()?,
    };
    let measured = bed.measure(settings).await;
    bed.stop().await?;
    measured
}

impl Bed {
    async fn measure(&self, settings: &Settings) -> Result<Measured> {
        if self.peer == Peer::Open {
            self.stack.redis().kill().await?;
        }
        let closed = self.load(settings)?;
        let warm_up = Closed {
            length: settings.warm_up(),
            ..closed.clone()
        };
        // What is not right yet while connections open and the breaker learns is of no interest.
        warm_up.run().await.context("warm-up")?;
        self.expect_breaker().await?;
        let before = Cost::read(&self.stack, self.service.as_ref()).await?;
        let tally = closed.run().await.context("full load")?;
        let after = Cost::read(&self.stack, self.service.as_ref()).await?;
        let cost = after.since(before);
        expect_answers(self.peer, &tally, &cost)?;
        self.expect_empty_filter(&tally).await?;
        let front = self.envoy()?.ports().front;
        let latency = open::run(front, self.peer, settings.seconds).await?;
        self.expect_breaker().await?;
        Ok(Measured::new(&tally, &cost, &latency))
    }

    async fn stop(self) -> Result<()> {
        if let Some(service) = self.service {
            service.stop().await?;
        }
        self.stack.stop().await
    }

    fn load(&self, settings: &Settings) -> Result<Closed> {
        Ok(Closed {
            front: self.envoy()?.ports().front,
            connections: settings.connections,
            first_key: 0,
            keys: self.peer.keys(),
            length: settings.length(),
            most: u64::MAX,
            answers: self.peer.answers(),
        })
    }

    fn envoy(&self) -> Result<&Envoy> {
        self.stack.envoys().first().context("no Envoy")
    }

    /// The breaker is not closed, where it is to be open: it probes now and then.
    async fn expect_breaker(&self) -> Result<()> {
        if self.peer != Peer::Open {
            return Ok(());
        }
        let state = EnvoySample::take(&self.http, self.envoy()?).await?.breaker;
        ensure!(
            matches!(state, Some(BreakerState::Open | BreakerState::HalfOpen)),
            "the breaker is not open: {state:?}"
        );
        Ok(())
    }

    /// The empty filter saw every request.
    async fn expect_empty_filter(&self, tally: &Tally) -> Result<()> {
        if self.peer != Peer::Empty {
            return Ok(());
        }
        let deadline = Instant::now() + TOLD;
        loop {
            let seen = self.empty_requests().await?;
            if seen >= tally.right() {
                return Ok(());
            }
            let answers = tally.right();
            ensure!(
                Instant::now() < deadline,
                "the empty filter saw {seen} of {answers} requests"
            );
            sleep(POLL).await;
        }
    }

    async fn empty_requests(&self) -> Result<u64> {
        let url = format!("{}/stats?filter=empty_requests", self.envoy()?.admin_url());
        let text = self.http.get(&url).send().await?.text().await?;
        let count = text.trim().rsplit_once(": ").map(|(_, count)| count);
        Ok(count.unwrap_or("0").parse()?)
    }
}

/// Every answer was the peer's, and came from the upstream where it should have.
fn expect_answers(peer: Peer, tally: &Tally, cost: &Cost) -> Result<()> {
    if let Some(example) = &tally.example {
        let all = tally.right() + tally.wrong;
        bail!("{} of {all} answers are wrong: {example}", tally.wrong);
    }
    ensure!(tally.right() > 0, "no answer");
    let (admitted, upstream) = (tally.admitted, cost.upstream);
    ensure!(
        upstream == admitted,
        "{admitted} were admitted, {upstream} reached the upstream"
    );
    // One that was free at the start, and one for the end that is not told to the microsecond.
    let tokens = REFUSED_RPS * tally.took.as_secs_f64() + 2.0;
    ensure!(
        peer != Peer::Refused || admitted as f64 <= tokens,
        "{admitted} were admitted of one key over its limit"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(peer: Peer, (admitted, refused, wrong): (u64, u64, u64), upstream: u64) -> String {
        let tally = Tally {
            admitted,
            refused,
            wrong,
            example: (wrong > 0).then(|| "status 503".to_owned()),
            took: Duration::from_secs(2),
        };
        let cost = Cost {
            envoy_s: 1.0,
            service_s: 0.0,
            redis_s: 0.0,
            own_s: 0.5,
            calls: 0,
            upstream,
        };
        let outcome = expect_answers(peer, &tally, &cost);
        outcome.map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn one_wrong_answer_voids_a_turn() {
        assert_eq!(judged(Peer::Strict, (9, 0, 0), 9), "fine");
        let void = "1 of 10 answers are wrong: status 503";
        assert_eq!(judged(Peer::Strict, (9, 0, 1), 9), void);
        assert_eq!(judged(Peer::Strict, (0, 0, 0), 0), "no answer");
    }

    #[test]
    fn a_peer_that_did_not_proxy_voids_its_turn() {
        let void = "9 were admitted, 8 reached the upstream";
        assert_eq!(judged(Peer::None, (9, 0, 0), 8), void);
        let void = "1 were admitted, 2 reached the upstream";
        assert_eq!(judged(Peer::Refused, (1, 9, 0), 2), void);
    }

    /// Ten tokens a second for two seconds, and one at either end.
    #[test]
    fn a_key_that_was_not_limited_voids_its_turn() {
        assert_eq!(judged(Peer::Refused, (22, 900, 0), 22), "fine");
        let void = "23 were admitted of one key over its limit";
        assert_eq!(judged(Peer::Refused, (23, 900, 0), 23), void);
    }
}
