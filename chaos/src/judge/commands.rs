//! Redis's own count of script calls against what the filter says it sent.
//!
//! The filter counts calls, which carry one command or more, and not commands. So Redis's count
//! must lie in a band. At least: every call and every probe that ended well made Redis run one.
//! At most: a request is paused once and asks one command for all its enforced rules and one for
//! each shadow rule, a probe is one command, and each of these is one more for every NOSCRIPT it
//! met. The band is as wide as requests share commands and calls, and fail on their way.
//!
//! A rule with a lease takes and gives back tokens by commands of its own: a scenario with one is
//! refused this measure.

use serde_json::Value;

use super::conservation::all;
use super::evidence::{Evidence, Unmeasured};
use super::resources::{growth_of, starting_with};
use crate::record::{Sample, Source, Trial, names};

/// How far Redis's count lies outside the band, in commands.
pub(super) fn unexplained(evidence: &Evidence<'_>) -> Result<f64, Unmeasured> {
    let envoy = all(evidence, Source::Envoy, names::REDIS_CALLS)?;
    let redis = all(evidence, Source::Redis, names::EVALSHA_CALLS)?;
    let ran = growth_of(&redis, |it| {
        value(it, names::EVAL_CALLS) + value(it, names::EVALSHA_CALLS)
    });
    let trial = evidence.trial();
    let asked = (paused(trial)? + unlogged(trial)) * commands_each(&trial.scenario.filter);
    let probes = growth_of(&envoy, |it| starting_with(it, names::PROBES));
    let noscript = growth_of(&envoy, |it| value(it, names::NOSCRIPT));
    let least = growth_of(&envoy, ended_well) - lost_with_redis(&envoy, &redis);
    let most = asked + probes + noscript;
    Ok((least - ran).max(ran - most).max(0.0))
}

fn value(sample: &Sample, name: &str) -> f64 {
    sample.values.get(name).copied().unwrap_or(0.0)
}

fn ended_well(sample: &Sample) -> f64 {
    [names::REDIS_CALLS, names::PROBES]
        .map(|of| value(sample, &[of, "ok"].concat()))
        .iter()
        .sum()
}

/// Requests that the filter paused, by the access log.
fn paused(trial: &Trial) -> Result<f64, Unmeasured> {
    let mut logs = trial.samples.iter();
    let paused = logs.find_map(|it| it.values.get(names::PAUSED));
    let missing = Unmeasured::TooFewReadings(Source::AccessLog, names::PAUSED);
    paused.copied().ok_or(missing)
}

/// Requests whose client went before the filter could log how long it paused them.
fn unlogged(trial: &Trial) -> f64 {
    let requests = trial.requests.iter();
    let gone = requests.filter(|it| it.outcome.is_unknown());
    gone.map(|_| 1.0).sum()
}

/// Commands that a request may ask for: its enforced rules are one, each shadow rule one more.
fn commands_each(filter: &Value) -> f64 {
    let rules = filter["rules"].as_array().into_iter().flatten();
    1.0 + rules
        .filter(|it| it["shadow"] == true)
        .map(|_| 1.0)
        .sum::<f64>()
}

/// What may have ended well after the last reading of a Redis that died, which nobody read.
///
/// A reading is made between the one before it and the time that it carries. So all that Redis
/// ran after its last reading was counted by Envoy after the reading before that, and before the
/// first reading of the next Redis.
fn lost_with_redis(envoy: &[&Sample], redis: &[&Sample]) -> f64 {
    let mut lost = 0.0;
    for (index, (last, first)) in redis.iter().zip(redis.iter().skip(1)).enumerate() {
        let instance = |it: &Sample| it.values.get(names::INSTANCE).copied();
        if instance(last) == instance(first) {
            continue;
        }
        let before = index.checked_sub(1).and_then(|it| redis.get(it));
        let before_s = before.map_or(f64::NEG_INFINITY, |it| it.at_s);
        let from = envoy.partition_point(|it| it.at_s <= before_s);
        let to = envoy.partition_point(|it| it.at_s < first.at_s);
        let span = envoy.get(from.saturating_sub(1)..envoy.len().min(to + 1));
        lost += growth_of(span.unwrap_or_default(), ended_well);
    }
    lost
}
