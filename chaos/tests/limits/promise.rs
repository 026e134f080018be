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

    fn limit_of_bucket(&self) -> Limit {
        Limit {
            rate: f64::from(self.requests) / self.per.as_secs_f64(),
            burst: f64::from(self.requests),
        }
    }

    /// How much of its window is over at this time of Redis.
    pub(crate) fn part_of_window(&self, time_s: f64) -> f64 {
        (time_s / self.per.as_secs_f64()).fract()
    }

    /// The interval that surely admitted the most above the promise, by how many requests.
    /// ARCHITECTURE has the bounds.
    pub(crate) fn excess(&self, admitted: &[Span]) -> f64 {
        let most = match self.algorithm {
            "token_bucket" | "sliding_window" => {
                return worst_excess(admitted, &self.limit_of_bucket());
            }
            "sliding_log" => most_within(admitted, self.per),
            "fixed_window" => most_in_a_window(admitted, self.per),
            other => panic!("no promise for {other}"),
        };
        most as f64 - f64::from(self.requests)
    }

    /// What was surely left when one of these was refused, at the most: less than one request, or it
    /// should have been admitted. Each is judged by itself, so it does not matter when clients paused.
    pub(crate) fn room(&self, admitted: &[Span], refused: &[Span]) -> f64 {
        let used = |it: &Span| {
            let it = &Span {
                sent_s: it.sent_s - DRIFT_S,
                done_s: it.done_s + DRIFT_S,
            };
            let begun = admitted.iter().filter(|other| other.sent_s <= it.done_s);
            let begun: Vec<Span> = begun.copied().collect();
            match self.algorithm {
                "token_bucket" => used_of_bucket(&begun, it, self.limit_of_bucket().rate),
                "sliding_window" => used_of_sliding_window(&begun, it, self.per),
                "sliding_log" => used_of_log(&begun, it, self.per),
                "fixed_window" => used_of_window(&begun, it, self.per),
                other => panic!("no promise for {other}"),
            }
        };
        let left = refused.iter().map(|it| f64::from(self.requests) - used(it));
        left.fold(f64::NEG_INFINITY, f64::max)
    }

    /// How many of these lie `per` apart: as often all was used up anew.
    pub(crate) fn times_used_up(&self, refused: &[Span]) -> u32 {
        let mut first = refused.to_vec();
        first.sort_by(|a, b| a.done_s.total_cmp(&b.done_s));
        let (mut times, mut last_s) = (0, f64::NEG_INFINITY);
        for span in first {
            if span.sent_s >= last_s + self.per.as_secs_f64() {
                (times, last_s) = (times + 1, span.done_s);
            }
        }
        times
    }
}

/// Clients and Redis share a machine, whose clocks differ by less than this part.
const SLEW: f64 = 0.001;

/// And by no more than this during a load, seconds.
const DRIFT_S: f64 = 0.005;

/// The most that can have been taken out of a bucket as this one was refused, by requests that had
/// begun by then. So for each algorithm.
fn used_of_bucket(admitted: &[Span], refused: &Span, rate: f64) -> f64 {
    let charged = admitted.iter().map(|it| it.done_s.min(refused.sent_s));
    let mut charged: Vec<f64> = charged.collect();
    charged.sort_by(f64::total_cmp);
    let (mut used, mut last_s) = (0.0, f64::NEG_INFINITY);
    for at_s in charged {
        used = f64::max(0.0, used - rate * (1.0 - SLEW) * (at_s - last_s)) + 1.0;
        last_s = at_s;
    }
    f64::max(0.0, used - rate * (1.0 - SLEW) * (refused.sent_s - last_s))
}

/// The most that can have been charged in one of the windows in which this one can have been refused,
/// together with the part of the window before that the algorithm still counts.
fn used_of_sliding_window(admitted: &[Span], refused: &Span, per: Duration) -> f64 {
    windows(refused, per)
        .map(|window| {
            let over = (refused.sent_s / per.as_secs_f64() - window).max(0.0);
            let faded = charged_in(admitted, window - 1.0, per) * (1.0 - over);
            charged_in(admitted, window, per) + faded.ceil()
        })
        .fold(0.0, f64::max)
}

fn used_of_log(admitted: &[Span], refused: &Span, per: Duration) -> f64 {
    let from_s = refused.sent_s - per.as_secs_f64() * (1.0 + SLEW);
    admitted.iter().filter(|it| it.done_s >= from_s).count() as f64
}

fn used_of_window(admitted: &[Span], refused: &Span, per: Duration) -> f64 {
    windows(refused, per)
        .map(|window| charged_in(admitted, window, per))
        .fold(0.0, f64::max)
}

/// The number of the window of Redis's clock that this time is in.
fn window(time_s: f64, per: Duration) -> f64 {
    (time_s / per.as_secs_f64()).floor()
}

/// The windows in which this one can have been decided.
fn windows(span: &Span, per: Duration) -> impl Iterator<Item = f64> {
    let [first, last] = [span.sent_s, span.done_s].map(|time_s| window(time_s, per));
    std::iter::successors(Some(first), |it| Some(it + 1.0)).take_while(move |it| *it <= last)
}

/// The most that can have been charged in this window.
fn charged_in(admitted: &[Span], number: f64, per: Duration) -> f64 {
    let within = |it: &&Span| window(it.sent_s, per) <= number && window(it.done_s, per) >= number;
    admitted.iter().filter(within).count() as f64
}

/// The most that were surely charged in an interval shorter than this.
fn most_within(admitted: &[Span], length: Duration) -> usize {
    let length_s = length.as_secs_f64() * (1.0 - SLEW);
    let from = |begin_s: f64| {
        let within = |it: &&Span| it.sent_s >= begin_s && it.done_s <= begin_s + length_s;
        admitted.iter().filter(within).count()
    };
    admitted.iter().map(|it| from(it.sent_s)).max().unwrap_or(0)
}

/// The most that were surely charged in a window of Redis's clock.
fn most_in_a_window(admitted: &[Span], per: Duration) -> usize {
    let sure = admitted
        .iter()
        .map(|it| [it.sent_s, it.done_s].map(|time_s| window(time_s, per)));
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

#[test]
fn a_refusal_is_right_as_long_as_all_is_used_up_and_wrong_as_soon_as_one_fits() {
    let span = |sent_s: f64| Span {
        sent_s,
        done_s: sent_s + 0.001,
    };
    // Used up at the end of a window, and when each first has room again.
    for ((algorithm, _), again_s) in ALGORITHMS.into_iter().zip([100.0, 100.0, 100.9, 100.0]) {
        let (requests, per) = (10, Duration::from_secs(1));
        let promise = Promise {
            algorithm,
            requests,
            per,
        };
        let admitted = vec![span(99.9); 10];
        let room = |sent_s: f64| promise.room(&admitted, &[span(99.95), span(sent_s)]);
        assert!(room(again_s - 0.005) < 1.0, "{algorithm}");
        assert!(room(again_s + 0.115) >= 1.0, "{algorithm}");
        assert!(promise.room(&admitted[1..], &[span(99.95)]) >= 1.0);
        // What others had later was there.
        assert!(promise.room(&admitted, &[span(99.85)]) >= 1.0);
        let refused = [99.9, 99.95, 100.91, 101.0, 101.92].map(span);
        assert_eq!(promise.times_used_up(&refused), 3, "{algorithm}");
    }
}
