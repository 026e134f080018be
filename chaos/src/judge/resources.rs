//! Measures over the observers' numbers: Redis, processes, the filter's own counts.

use super::evidence::{Evidence, Unmeasured};
use crate::record::{Sample, Source, names};
use crate::scenario::Window;

/// How much a counter grew over a window. A counter that fell, or whose process was replaced,
/// began again at zero.
pub(super) fn growth(
    evidence: &Evidence<'_>,
    source: Source,
    name: &'static str,
    window: Window,
) -> Result<f64, Unmeasured> {
    let samples = evidence.samples(source, window)?;
    if samples.len() < 2 {
        return Err(Unmeasured::TooFewReadings(source, name));
    }
    Ok(growth_of(&samples, |it| {
        it.values.get(name).copied().unwrap_or(0.0)
    }))
}

/// As [`growth`], for a number made from each sample. One that is absent counts as zero: neither
/// Envoy nor Redis shows a counter before it first moved.
pub(super) fn growth_of(samples: &[&Sample], value: impl Fn(&Sample) -> f64) -> f64 {
    let instance = |it: &Sample| it.values.get(names::INSTANCE).copied();
    let pairs = samples.iter().zip(samples.iter().skip(1));
    pairs
        .map(|(before, after)| {
            let (was, is) = (value(before), value(after));
            if is < was || instance(before) != instance(after) {
                is
            } else {
                is - was
            }
        })
        .sum()
}

/// The sum of a sample's numbers whose names start like this.
pub(super) fn starting_with(sample: &Sample, start: &str) -> f64 {
    let values = sample.values.iter();
    values
        .filter(|(name, _)| name.starts_with(start))
        .map(|(_, count)| count)
        .sum()
}

/// Calls to Redis that failed.
pub(super) fn connection_errors(
    evidence: &Evidence<'_>,
    window: Window,
) -> Result<f64, Unmeasured> {
    let ok = [names::REDIS_CALLS, "ok"].concat();
    let samples = evidence.samples(Source::Envoy, window)?;
    let failed = |it: &Sample| {
        let well = it.values.get(&ok).copied().unwrap_or(0.0);
        starting_with(it, names::REDIS_CALLS) - well
    };
    if samples.len() < 2 {
        return Err(Unmeasured::TooFewReadings(
            Source::Envoy,
            names::REDIS_CALLS,
        ));
    }
    Ok(growth_of(&samples, failed))
}

/// Longest time the filter paused one request, milliseconds, over the whole scenario.
pub(super) fn longest_wait_ms(evidence: &Evidence<'_>) -> Result<f64, Unmeasured> {
    let logs = evidence
        .trial()
        .samples
        .iter()
        .filter(|it| it.source == Source::AccessLog);
    let longest = logs.filter_map(|it| it.values.get(names::WAIT_US)).copied();
    let longest = longest.reduce(f64::max);
    longest
        .map(|micros| micros / 1e3)
        .ok_or(Unmeasured::TooFewReadings(
            Source::AccessLog,
            names::WAIT_US,
        ))
}

/// Most requests paused at once.
pub(super) fn waiting(evidence: &Evidence<'_>, window: Window) -> Result<f64, Unmeasured> {
    let readings = evidence.readings(Source::Envoy, names::WAITING, window)?;
    Ok(readings.iter().map(|(_, count)| *count).fold(0.0, f64::max))
}

/// Scripts sent as text.
pub(super) fn eval_calls(evidence: &Evidence<'_>, window: Window) -> Result<f64, Unmeasured> {
    growth(evidence, Source::Redis, names::EVAL_CALLS, window)
}

/// R squared of the least-squares line through memory against keys, of the last Redis process
/// seen in the window. Fewer than three different key counts make no line. A Redis without a key is
/// none of the points: it has neither the script nor the filter's connections yet, which are no keys.
pub(super) fn memory_fit(evidence: &Evidence<'_>, window: Window) -> Result<f64, Unmeasured> {
    let samples = evidence.samples(Source::Redis, window)?;
    let instance = samples.last().and_then(|it| it.values.get(names::INSTANCE));
    let points: Vec<(f64, f64)> = samples
        .iter()
        .filter(|it| it.values.get(names::INSTANCE) == instance)
        .filter_map(|it| {
            Some((
                *it.values.get(names::KEYS)?,
                *it.values.get(names::USED_MEMORY)?,
            ))
        })
        .filter(|(keys, _)| *keys > 0.0)
        .collect();
    let mut counts: Vec<f64> = points.iter().map(|(keys, _)| *keys).collect();
    counts.sort_by(f64::total_cmp);
    counts.dedup();
    if counts.len() < 3 {
        return Err(Unmeasured::TooFewReadings(Source::Redis, names::KEYS));
    }
    Ok(r_squared(&points))
}

/// The coefficient of determination of a least-squares line; 1 for a flat one without spread.
#[expect(
    clippy::cast_precision_loss,
    reason = "a run has far fewer than 2^53 samples"
)]
fn r_squared(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
    let (mean_x, mean_y) = (mean(|it| it.0), mean(|it| it.1));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in points {
        let (dx, dy) = (x - mean_x, y - mean_y);
        (xx, xy, yy) = (xx + dx * dx, xy + dx * dy, yy + dy * dy);
    }
    if xx * yy == 0.0 {
        f64::from(yy == 0.0)
    } else {
        xy * xy / (xx * yy)
    }
}

/// Keys at the end.
pub(super) fn keys_left(evidence: &Evidence<'_>) -> Result<f64, Unmeasured> {
    last(evidence, names::KEYS, Window::Recovery)
}

/// Memory at the end less the baseline's last, KiB.
pub(super) fn memory_left_kib(evidence: &Evidence<'_>) -> Result<f64, Unmeasured> {
    let before = last(evidence, names::USED_MEMORY, Window::Baseline)?;
    Ok((last(evidence, names::USED_MEMORY, Window::Recovery)? - before) / 1024.0)
}

fn last(evidence: &Evidence<'_>, name: &'static str, window: Window) -> Result<f64, Unmeasured> {
    let readings = evidence.readings(Source::Redis, name, window)?;
    let last = readings
        .last()
        .ok_or(Unmeasured::TooFewReadings(Source::Redis, name))?;
    Ok(last.1)
}

/// CPU time of Envoy and Redis as a percentage of what the whole machine has.
pub(super) fn cpu_percent(evidence: &Evidence<'_>, window: Window) -> Result<f64, Unmeasured> {
    let envoy = growth(evidence, Source::Process, names::ENVOY_CPU_S, window)?;
    let redis = growth(evidence, Source::Process, names::REDIS_CPU_S, window)?;
    let samples = evidence.samples(Source::Process, window)?;
    let ends = samples.first().zip(samples.last());
    let (first, last) = ends.ok_or(Unmeasured::TooFewReadings(
        Source::Process,
        names::ENVOY_CPU_S,
    ))?;
    Ok(100.0 * (envoy + redis) / ((last.at_s - first.at_s) * evidence.cores()))
}

/// Most threads of Envoy in the window less most of them in the baseline.
pub(super) fn threads_added(evidence: &Evidence<'_>, window: Window) -> Result<f64, Unmeasured> {
    let most = |window| {
        let readings = evidence.readings(Source::Process, names::ENVOY_THREADS, window)?;
        Ok(readings.iter().map(|(_, count)| *count).fold(0.0, f64::max))
    };
    Ok(most(window)? - most(Window::Baseline)?)
}

/// Times that Envoy's count of answers fell, and VMs that were loaded again.
pub(super) fn envoy_restarts(evidence: &Evidence<'_>) -> Result<f64, Unmeasured> {
    let answers = evidence.readings(Source::Envoy, names::COMPLETED, Window::Whole)?;
    let pairs = answers.iter().zip(answers.iter().skip(1));
    let fell: f64 = pairs.filter(|(was, is)| is.1 < was.1).map(|_| 1.0).sum();
    Ok(fell + growth(evidence, Source::Envoy, names::VM_RELOADS, Window::Whole)?)
}
