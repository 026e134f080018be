//! What each algorithm promises of any interval, held against what clients saw.

use std::time::Duration;

use serde_json::{Value, json};
use velocitygate_chaos::judge::{Span, worst_excess};
use velocitygate_chaos::scenario::Limit;

/// Every algorithm, and how its keys end.
pub(crate) const ALGORITHMS: [(&str, &str); 4] = [
    ("token_bucket", "tb"),
    ("sliding_window", "sw"),
    ("sliding_log", "sl"),
    ("fixed_window", "fw"),
];

/// A limit of an algorithm; a bucket's burst is its requests.
#[derive(Clone, Copy)]
pub(crate) struct Promise {
    pub(crate) algorithm: &'static str,
    pub(crate) requests: u32,
    pub(crate) per: Duration,
}

impl Promise {
    /// The rule's field `limit`.
    pub(crate) fn limit(&self) -> Value {
        let per = format!("{}ms", self.per.as_millis());
        json!({ "algorithm": self.algorithm, "requests": self.requests, "per": per })
    }

    /// What it admits each second at length.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(self.requests) / self.per.as_secs_f64()
    }

    /// How much of its window is over at this time of Redis.
    pub(crate) fn part_of_window(&self, time_s: f64) -> f64 {
        (time_s / self.per.as_secs_f64()).fract()
    }

    /// The interval that surely admitted the most above the promise, by how many requests.
    /// ARCHITECTURE has the bounds.
    pub(crate) fn excess(&self, admitted: &[Span]) -> f64 {
        let (rate, burst) = (self.rate(), f64::from(self.requests));
        let most = match self.algorithm {
            "token_bucket" | "sliding_window" => {
                return worst_excess(admitted, &Limit { rate, burst });
            }
            "sliding_log" => most_within(admitted, self.per),
            "fixed_window" => most_in_a_window(admitted, self.per),
            other => panic!("no promise for {other}"),
        };
        most as f64 - burst
    }
}

/// The most that were surely charged in an interval shorter than this.
fn most_within(admitted: &[Span], length: Duration) -> usize {
    // Clients and Redis share a machine, whose clocks differ by less than this.
    let length_s = length.as_secs_f64() * 0.999;
    let from = |begin_s: f64| {
        let within = |it: &&Span| it.sent_s >= begin_s && it.done_s <= begin_s + length_s;
        admitted.iter().filter(within).count()
    };
    admitted.iter().map(|it| from(it.sent_s)).max().unwrap_or(0)
}

/// The most that were surely charged in a window of Redis's clock.
fn most_in_a_window(admitted: &[Span], per: Duration) -> usize {
    let window = |time_s: f64| (time_s / per.as_secs_f64()).floor();
    let sure = admitted.iter().map(|it| [it.sent_s, it.done_s].map(window));
    let sure: Vec<f64> = sure.filter(|it| it[0] == it[1]).map(|it| it[0]).collect();
    let count = |one: &f64| sure.iter().filter(|it| *it == one).count();
    sure.iter().map(count).max().unwrap_or(0)
}

#[test]
fn one_request_too_many_is_found_by_every_promise_and_the_last_that_fits_is_not() {
    let span = |sent_s: f64| Span {
        sent_s,
        done_s: sent_s + 0.001,
    };
    for (algorithm, _) in ALGORITHMS {
        let (requests, per) = (10, Duration::from_secs(1));
        let promise = Promise {
            algorithm,
            requests,
            per,
        };
        // Ten in a short moment; where the next begins the promise may be had again.
        let mut spans = vec![span(100.0); 10];
        spans.push(span(101.0));
        assert!(promise.excess(&spans) <= 0.0, "{algorithm}");
        spans.push(span(100.002));
        let excess = promise.excess(&spans);
        assert!((0.9..=1.0).contains(&excess), "{algorithm}: {excess}");
        // The same across a boundary of windows is too many for all but those.
        let spans: Vec<Span> = (0..12)
            .map(|it| span(99.99 + f64::from(it) / 600.0))
            .collect();
        let excess = promise.excess(&spans);
        assert_eq!(excess > 0.0, algorithm != "fixed_window", "{algorithm}");
        assert!(promise.excess(&[]) < 0.0, "{algorithm}");
    }
}
