//! Measures over the client's log.

use hdrhistogram::Histogram;

use super::evidence::{Evidence, Unmeasured};
use crate::record::{Outcome, Request};
use crate::scenario::Window;

/// Longest latency a histogram holds, microseconds; longer ones count as this long.
const LATENCY_US_MAX: u64 = 120_000_000;
/// Digits a histogram keeps: values are exact to one part in a thousand.
const DIGITS: u8 = 3;

/// Share of the window's requests whose outcome is wanted.
pub(super) fn share(
    evidence: &Evidence<'_>,
    window: Window,
    wanted: fn(&Request) -> bool,
) -> Result<f64, Unmeasured> {
    let requests = evidence.requests(window)?;
    let hits = requests.iter().filter(|it| wanted(it)).count();
    Ok(ratio(hits, requests.len()))
}

/// A percentile of the window's latencies, milliseconds, from the planned send time.
pub(super) fn percentile_ms(
    evidence: &Evidence<'_>,
    window: Window,
    percent: f64,
) -> Result<f64, Unmeasured> {
    let requests = evidence.requests(window)?;
    Ok(percentile(requests.iter().map(|it| it.took_us), percent))
}

/// The window's 99th percentile less the baseline's, milliseconds; negative when it was faster.
pub(super) fn p99_over_baseline_ms(
    evidence: &Evidence<'_>,
    window: Window,
) -> Result<f64, Unmeasured> {
    let baseline = percentile_ms(evidence, Window::Baseline, 99.0)?;
    Ok(percentile_ms(evidence, window, 99.0)? - baseline)
}

/// The generator's own lateness, 99th percentile in milliseconds.
pub(super) fn lateness_p99_ms(evidence: &Evidence<'_>, window: Window) -> Result<f64, Unmeasured> {
    let requests = evidence.requests(window)?;
    Ok(percentile(requests.iter().map(|it| it.late_us), 99.0))
}

/// Most requests between send and answer at one time, of those that were due in the window.
pub(super) fn in_flight(evidence: &Evidence<'_>, window: Window) -> Result<f64, Unmeasured> {
    let requests = evidence.requests(window)?;
    let sent = requests.iter().filter(|it| it.outcome != Outcome::NotSent);
    let mut changes: Vec<(f64, f64)> = sent
        .flat_map(|it: &&Request| [(it.sent_s(), 1.0), (it.done_s(), -1.0)])
        .collect();
    // At equal times answers come first: a request that ends then is not in flight any more.
    changes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let mut now = 0.0;
    Ok(changes.iter().fold(0.0, |most, (_, change)| {
        now += change;
        f64::max(most, now)
    }))
}

/// A part of a whole; 0 of nothing.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one run are far below 2^53"
)]
pub(super) fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// A percentile of some microseconds, in milliseconds.
#[expect(clippy::cast_precision_loss, reason = "bounded by LATENCY_US_MAX")]
pub(crate) fn percentile(micros: impl Iterator<Item = u64>, percent: f64) -> f64 {
    let Ok(mut histogram) = Histogram::<u64>::new_with_bounds(1, LATENCY_US_MAX, DIGITS) else {
        unreachable!("the bounds are constants that the library accepts")
    };
    for value in micros {
        histogram.saturating_record(value);
    }
    histogram.value_at_percentile(percent) as f64 / 1e3
}
