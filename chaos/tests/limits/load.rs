//! Excess load on one key from many connections, by the clock that limits are counted by.

use std::time::Duration;

use reqwest::Client;
use tokio::task::JoinSet;
use tokio::time::Instant;
use velocitygate_chaos::judge::Span;
use velocitygate_chaos::stack::KEY_HEADER;

use crate::common::{Running, Seen, client};

/// Redis's clock as this process can know it: to within the length of one question.
#[derive(Clone, Copy)]
pub(crate) struct RedisClock {
    told_s: f64,
    before: Instant,
    after: Instant,
}

impl RedisClock {
    pub(crate) async fn of(running: &Running) -> Self {
        let before = Instant::now();
        let told: (u64, u64) = running.redis().ask(redis::cmd("TIME")).await.unwrap();
        Self {
            told_s: told.0 as f64 + told.1 as f64 / 1e6,
            before,
            after: Instant::now(),
        }
    }

    /// What it shows now at the earliest, seconds.
    pub(crate) fn earliest_s(&self) -> f64 {
        self.told_s + self.after.elapsed().as_secs_f64()
    }

    /// What it shows now at the latest, seconds.
    pub(crate) fn latest_s(&self) -> f64 {
        self.told_s + self.before.elapsed().as_secs_f64()
    }

    /// A request, and when Redis can have charged it.
    pub(crate) async fn time(&self, request: reqwest::RequestBuilder) -> (Seen, Span) {
        let sent_s = self.earliest_s();
        let seen = Seen::of(request).await;
        let done_s = self.latest_s();
        (seen, Span { sent_s, done_s })
    }
}

/// Excess load on the key `hot`.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) clock: RedisClock,
    /// How long it lasts.
    pub(crate) length: Duration,
    /// Connections to each Envoy, of at most 100 requests a second each.
    pub(crate) connections: usize,
}

/// What the clients of a load saw.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) admitted: Vec<Span>,
    pub(crate) refused: Vec<Span>,
}

impl Load {
    /// Presses this path of every Envoy.
    pub(crate) async fn press(&self, running: &Running, path: &str) -> Tally {
        let mut connections = JoinSet::new();
        for envoy in running.envoys() {
            let url = envoy.front_url() + path;
            for _ in 0..self.connections {
                connections.spawn(self.clone().connection(client(), url.clone()));
            }
        }
        let mut sum = Tally::default();
        for tally in connections.join_all().await {
            sum.admitted.extend(tally.admitted);
            sum.refused.extend(tally.refused);
        }
        sum
    }

    async fn connection(self, http: Client, url: String) -> Tally {
        let (mut tally, start) = (Tally::default(), Instant::now());
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        while start.elapsed() < self.length {
            pace.tick().await;
            let request = http.get(&url).header(KEY_HEADER, "hot");
            let (seen, span) = self.clock.time(request).await;
            match seen.status {
                200 => tally.admitted.push(span),
                429 => tally.refused.push(span),
                other => panic!("unexpected status {other}"),
            }
        }
        tally
    }
}
