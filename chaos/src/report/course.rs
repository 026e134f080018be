//! The course of a trial: what its record tells by time, in buckets, ready to be drawn.

use crate::judge::percentile;
use crate::record::{Action, BreakerState, Outcome, Request, Sample, Source, Trial, names};

/// Width of a bucket, seconds: shorter than any recovery that is asked for, and long enough for a
/// percentile at the lowest rate of the scenarios.
pub(super) const BUCKET_S: f64 = 0.25;

/// Buckets at most: a record that claims a longer trial is drawn up to here.
const BUCKETS_MAX: usize = 4_000;

/// The most that is drawn, whatever a record claims: an axis up to infinity has no end.
const VALUE_MAX: f64 = 1e7;

/// The least latency that is drawn, milliseconds: powers of ten do not reach 0.
const LATENCY_MS_MIN: f64 = 0.001;

/// A number by time: seconds from the scenario's start, value; in runs between which it is unknown.
pub(super) type Curve = Vec<Vec<(f64, f64)>>;

/// What a trial's record tells by time.
pub(super) struct Course {
    /// Where it ends, seconds.
    pub end_s: f64,
    /// Answers per second, one curve for each of [`Kind::ALL`].
    pub answers: Vec<Curve>,
    /// Median latency, milliseconds.
    pub p50_ms: Curve,
    /// 99th percentile of the latency, milliseconds.
    pub p99_ms: Curve,
    /// Commands of the filter that Redis ran, per second.
    pub commands: Curve,
    /// Calls of the filter to Redis that had no good answer, per second.
    pub failures: Curve,
    /// From when to when a fault was in force, seconds.
    pub faults: Vec<(f64, f64)>,
    /// From when to when the breaker was not closed, seconds, and what it was.
    pub breaker: Vec<(f64, f64, BreakerState)>,
}

/// What an answer meant for who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Admitted, the count is known.
    Counted,
    /// Admitted without a count.
    Uncounted,
    /// Refused by a limit.
    Refused,
    /// Refused for want of Redis, any other error, or no answer at all.
    Failed,
}

impl Kind {
    /// In the order in which they are drawn and named.
    pub(super) const ALL: [Self; 4] = [Self::Counted, Self::Uncounted, Self::Refused, Self::Failed];

    /// As the legend has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counted => "admitted, counted",
            Self::Uncounted => "admitted, not counted",
            Self::Refused => "refused by a limit",
            Self::Failed => "failed",
        }
    }

    fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Counted => Self::Counted,
            Outcome::Uncounted => Self::Uncounted,
            Outcome::Refused | Outcome::RefusedUncounted => Self::Refused,
            Outcome::Unavailable
            | Outcome::Other(_)
            | Outcome::Broken
            | Outcome::Silent
            | Outcome::NotSent => Self::Failed,
        }
    }
}

impl Course {
    /// Reads it from a trial.
    pub(super) fn of(trial: &Trial) -> Self {
        let end_s = trial
            .last_s()
            .clamp(BUCKET_S, BUCKET_S * BUCKETS_MAX as f64);
        let buckets = buckets(trial, end_s);
        let rate = |kind| {
            let count =
                |of: &[&Request]| of.iter().filter(|it| Kind::of(it.outcome) == kind).count();
            let rates = buckets.iter().enumerate();
            let rates = rates.map(|(n, of)| (middle_s(n), count(of) as f64 / BUCKET_S));
            vec![rates.collect()]
        };
        Self {
            end_s,
            answers: Kind::ALL.map(rate).into(),
            p50_ms: latency(&buckets, 50.0),
            p99_ms: latency(&buckets, 99.0),
            commands: commands(trial, end_s),
            failures: failures(trial, end_s),
            faults: faults(trial, end_s),
            breaker: breaker(trial, end_s),
        }
    }
}

/// The requests by when they were due, as far as they fill a bucket.
fn buckets(trial: &Trial, end_s: f64) -> Vec<Vec<&Request>> {
    let last_s = trial.requests.last().map_or(0.0, |it| it.due_s).min(end_s);
    let mut buckets = vec![Vec::new(); (last_s / BUCKET_S) as usize];
    for request in &trial.requests {
        if let Some(bucket) = buckets.get_mut((request.due_s / BUCKET_S) as usize) {
            bucket.push(request);
        }
    }
    buckets
}

fn middle_s(bucket: usize) -> f64 {
    (bucket as f64 + 0.5) * BUCKET_S
}

/// A percentile of each bucket's latencies; of a bucket without requests there is none.
fn latency(buckets: &[Vec<&Request>], percent: f64) -> Curve {
    let numbered: Vec<_> = buckets.iter().enumerate().collect();
    let runs = numbered.chunk_by(|(_, one), (_, next)| one.is_empty() == next.is_empty());
    let known = runs.filter(|run| run.iter().all(|(_, of)| !of.is_empty()));
    let point = |(number, requests): &(usize, &Vec<&Request>)| {
        let took_ms = percentile(requests.iter().map(|it| it.took_us), percent);
        (middle_s(*number), took_ms.max(LATENCY_MS_MIN))
    };
    known.map(|run| run.iter().map(point).collect()).collect()
}

/// What Redis ran for the filter.
fn commands(trial: &Trial, end_s: f64) -> Curve {
    rate(trial, end_s, Source::Redis, |it| {
        Some(it.values.get(names::EVALSHA_CALLS)? + it.values.get(names::EVAL_CALLS)?)
    })
}

/// What the filter counted, by every result but a good one.
fn failures(trial: &Trial, end_s: f64) -> Curve {
    rate(trial, end_s, Source::Envoy, |it| {
        let results = it.values.iter().filter_map(|(name, value)| {
            let result = name.strip_prefix(names::REDIS_CALLS)?;
            (result != "ok").then_some(value)
        });
        Some(results.sum())
    })
}

/// By how much a counter of an observer grew over at least a bucket's time, per second.
fn rate(
    trial: &Trial,
    end_s: f64,
    source: Source,
    count: impl Fn(&Sample) -> Option<f64>,
) -> Curve {
    let samples = trial.samples.iter().filter(|it| it.source == source);
    let samples = samples.filter(|it| (0.0..=end_s).contains(&it.at_s));
    // A sum may be infinite; the difference of two such would be no number.
    let count = |it: &Sample| Some(count(it)?.clamp(f64::MIN, f64::MAX));
    let mut counted = samples.filter_map(|it| Some((it, count(it)?)));
    let Some((mut before, mut was)) = counted.next() else {
        return Curve::new();
    };
    let mut run = Vec::new();
    for (sample, is) in counted {
        let took_s = sample.at_s - before.at_s;
        if took_s < BUCKET_S {
            continue;
        }
        // Another process of Redis began to count anew.
        let is_same = before.values.get(names::INSTANCE) == sample.values.get(names::INSTANCE);
        let grown = if is_same { is - was } else { is };
        let middle_s = f64::midpoint(before.at_s, sample.at_s);
        run.push((middle_s, (grown / took_s).clamp(0.0, VALUE_MAX)));
        (before, was) = (sample, is);
    }
    vec![run]
}

/// Each fault from its injection to its healing.
fn faults(trial: &Trial, end_s: f64) -> Vec<(f64, f64)> {
    let injected = trial
        .faults
        .iter()
        .enumerate()
        .filter(|(_, it)| it.action == Action::Inject);
    let spans = injected.filter_map(|(index, injected)| {
        let mut later = trial.faults.iter().skip(index + 1);
        let healed = later.find(|it| it.action == Action::Heal && it.fault == injected.fault);
        drawn(injected.at_s, healed.map_or(end_s, |it| it.at_s), end_s)
    });
    spans.collect()
}

/// From each change of the breaker to the next, but for the times it was closed.
fn breaker(trial: &Trial, end_s: f64) -> Vec<(f64, f64, BreakerState)> {
    let ends = trial.moves.iter().skip(1).map(|it| it.at_s).chain([end_s]);
    let moves = trial.moves.iter().zip(ends);
    let spans = moves.filter(|(it, _)| it.to != BreakerState::Closed);
    let spans = spans.filter_map(|(it, until_s)| {
        let (from_s, until_s) = drawn(it.at_s, until_s, end_s)?;
        Some((from_s, until_s, it.to))
    });
    spans.collect()
}

/// What of a time there is room for in a chart.
fn drawn(from_s: f64, until_s: f64, end_s: f64) -> Option<(f64, f64)> {
    let (from_s, until_s) = (from_s.max(0.0), until_s.min(end_s));
    (from_s < until_s).then_some((from_s, until_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::made::{fault, moves, request, sample, trial};

    #[test]
    fn answers_and_latencies_are_told_by_the_bucket_they_were_due_in() {
        let mut trial = trial();
        trial.requests = vec![
            request(0.0, 1_000, Outcome::Counted),
            request(0.1, 9_000, Outcome::Refused),
            request(0.6, 2_000, Outcome::Silent),
            // It only shows that the third bucket was filled.
            request(0.75, 1, Outcome::Counted),
        ];
        let course = Course::of(&trial);
        let at = |kind: usize| -> Vec<f64> {
            course.answers[kind][0]
                .iter()
                .map(|(_, rate)| *rate)
                .collect()
        };
        let expected = [[4.0, 0.0, 0.0], [0.0; 3], [4.0, 0.0, 0.0], [0.0, 0.0, 4.0]];
        assert_eq!([at(0), at(1), at(2), at(3)], expected);
        // No request was due in the second bucket: its latency is unknown, not 0.
        let latencies = |curve: &Curve| -> Vec<Vec<(f64, f64)>> {
            let rounded =
                |run: &Vec<(f64, f64)>| run.iter().map(|it| (it.0, it.1.round())).collect();
            curve.iter().map(rounded).collect()
        };
        assert_eq!(latencies(&course.p50_ms), [[(0.125, 1.0)], [(0.625, 2.0)]]);
        assert_eq!(latencies(&course.p99_ms), [[(0.125, 9.0)], [(0.625, 2.0)]]);
        assert_eq!(course.end_s, 6.0);
    }

    #[test]
    fn counters_are_told_as_rates_and_begin_again_with_a_new_process() {
        let mut trial = trial();
        let redis = |at_s, instance, calls| {
            let values = [
                (names::INSTANCE, instance),
                (names::EVALSHA_CALLS, calls),
                (names::EVAL_CALLS, 1.0),
            ];
            sample(at_s, Source::Redis, &values)
        };
        let envoy = |at_s, ok, timeout, error| {
            let values = [
                ("redis_calls.ok", ok),
                ("redis_calls.timeout", timeout),
                ("redis_calls.error", error),
            ];
            sample(at_s, Source::Envoy, &values)
        };
        trial.samples = vec![
            redis(0.0, 7.0, 10.0),
            envoy(0.0, 1.0, 1.0, 1.0),
            redis(0.5, 7.0, 15.0),
            envoy(0.5, 100.0, 2.0, 2.0),
            // Too early for a rate of its own: part of the next.
            redis(0.6, 7.0, 16.0),
            redis(1.0, 8.0, 20.0),
        ];
        let course = Course::of(&trial);
        assert_eq!(course.commands, [[(0.25, 10.0), (0.75, 42.0)]]);
        assert_eq!(course.failures, [[(0.25, 4.0)]]);
    }

    #[test]
    fn faults_last_until_they_are_healed_and_states_until_the_next() {
        use BreakerState::{Closed, HalfOpen, Open};
        let mut trial = trial();
        trial.faults = vec![
            fault(2.0, Action::Inject),
            fault(3.0, Action::Heal),
            fault(5.0, Action::Inject),
        ];
        trial.moves = moves(&[
            (2.1, Closed, Open),
            (2.5, Open, HalfOpen),
            (2.6, HalfOpen, Closed),
            (5.2, Closed, Open),
        ]);
        let course = Course::of(&trial);
        assert_eq!(course.faults, [(2.0, 3.0), (5.0, 6.0)]);
        let expected = [(2.1, 2.5, Open), (2.5, 2.6, HalfOpen), (5.2, 6.0, Open)];
        assert_eq!(course.breaker, expected);
    }

    #[test]
    fn a_trial_of_which_little_is_known_has_a_course() {
        let mut trial = trial();
        trial.end = None;
        let course = Course::of(&trial);
        assert_eq!(course.end_s, BUCKET_S);
        assert!(course.answers.iter().flatten().all(Vec::is_empty) && course.commands.is_empty());
        trial.end = Some((1e12, None));
        trial.requests = vec![request(1e11, 1, Outcome::Counted)];
        let course = Course::of(&trial);
        assert_eq!(course.answers[0][0].len(), BUCKETS_MAX);
    }

    #[test]
    fn what_a_record_claims_beyond_all_bounds_is_cut() {
        let mut trial = trial();
        trial.requests = vec![
            request(0.0, 0, Outcome::Counted),
            request(1.0, 0, Outcome::Counted),
        ];
        let redis = |at_s, calls| {
            let values = [(names::EVALSHA_CALLS, calls), (names::EVAL_CALLS, calls)];
            sample(at_s, Source::Redis, &values)
        };
        trial.samples = vec![
            redis(-1e300, 1.0),
            redis(1.0, 1.0),
            redis(2.0, f64::MAX),
            redis(3.0, f64::MAX),
            redis(1e300, f64::MAX),
        ];
        trial.faults = vec![fault(-1e300, Action::Inject), fault(1e300, Action::Inject)];
        trial.moves = moves(&[
            (4.0, BreakerState::Closed, BreakerState::Open),
            (1e300, BreakerState::Open, BreakerState::HalfOpen),
        ]);
        let course = Course::of(&trial);
        assert_eq!(course.p50_ms, [[(0.125, LATENCY_MS_MIN)]]);
        assert_eq!(course.commands, [[(1.5, VALUE_MAX), (2.5, 0.0)]]);
        assert_eq!(course.faults, [(0.0, 6.0)]);
        assert_eq!(course.breaker, [(4.0, 6.0, BreakerState::Open)]);
    }
}
