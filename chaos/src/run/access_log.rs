//! Reads Envoy's access log, once Envoy has stopped and thus written all of it.

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;

use crate::record::{Sample, Source, names};

/// The access log's field for the time the filter paused a request, microseconds.
const WAIT_FIELD: &str = "wait_us";
/// The access log's field for the time a request came, UTC.
const TIME_FIELD: &str = "time";
/// Pauses that are recorded one by one, the longest first.
const WAITS_MAX: usize = 100;

/// What the log tells of the filter's pauses: how many, and the longest ones. A request that the
/// filter decided at once waited 0; one that it did not see has no such field. `started` is the
/// scenario's start, `at_s` the time of the reading after it.
///
/// # Errors
/// The first line that is not a JSON object, or whose pause has no time.
pub(super) fn read(text: &str, started: Timestamp, at_s: f64) -> Result<Vec<Sample>> {
    let (mut logged, mut paused) = (0.0, 0.0);
    let mut waits: Vec<(f64, Value)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut entry: Value = serde_json::from_str(line)
            .with_context(|| format!("cannot read line {} of the access log", index + 1))?;
        logged += 1.0;
        if let Some(wait_us) = entry.get(WAIT_FIELD).and_then(number) {
            paused += f64::from(wait_us > 0.0);
            waits.push((wait_us, entry[TIME_FIELD].take()));
        }
    }
    waits.sort_by(|a, b| b.0.total_cmp(&a.0));
    waits.truncate(WAITS_MAX);
    let sample = |values: [(&str, f64); 2]| Sample {
        at_s,
        source: Source::AccessLog,
        values: values.map(|(name, value)| (name.to_owned(), value)).into(),
    };
    let mut samples = vec![sample([(names::LOGGED, logged), (names::PAUSED, paused)])];
    for (wait_us, time) in waits {
        let time: Timestamp = serde_json::from_value(time)
            .with_context(|| format!("cannot read `{TIME_FIELD}` in the access log"))?;
        let wait_at_s = time.duration_since(started).as_secs_f64();
        samples.push(sample([
            (names::WAIT_US, wait_us),
            (names::WAIT_AT_S, wait_at_s),
        ]));
    }
    Ok(samples)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(text: &str) -> Result<Vec<Sample>> {
        read(text, "2026-01-31T12:00:00Z".parse().unwrap(), 1.0)
    }

    fn values(sample: &Sample) -> Vec<(&str, f64)> {
        let values = sample.values.iter();
        values.map(|(name, value)| (&**name, *value)).collect()
    }

    #[test]
    fn each_wait_is_read_with_its_time_the_longest_first_and_every_line_counted() {
        let text = "{\"wait_us\":\"310\",\"time\":\"2026-01-31T12:00:01.000Z\"}\n\
                    {\"wait_us\":9000,\"time\":\"2026-01-31T12:00:02.250Z\"}\n\
                    {\"wait_us\":null}\n{}\n";
        let samples = samples(text).unwrap();
        let expected = [
            vec![(names::LOGGED, 4.0), (names::PAUSED, 2.0)],
            vec![(names::WAIT_AT_S, 2.25), (names::WAIT_US, 9000.0)],
            vec![(names::WAIT_AT_S, 1.0), (names::WAIT_US, 310.0)],
        ];
        assert_eq!(samples.iter().map(values).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn no_more_than_the_longest_waits_are_kept() {
        let line = |us| format!("{{\"wait_us\":{us},\"time\":\"2026-01-31T12:00:01Z\"}}\n");
        let text: String = (0..=WAITS_MAX).map(line).collect();
        let samples = samples(&text).unwrap();
        assert_eq!(samples.len(), 1 + WAITS_MAX);
        let least = samples.last().unwrap().values.get(names::WAIT_US);
        assert_eq!(least, Some(&1.0));
    }

    #[test]
    fn a_log_without_waits_claims_none_and_what_cannot_be_read_is_named() {
        assert_eq!(samples("{}\n").unwrap().len(), 1);
        let error = |text| samples(text).unwrap_err().to_string();
        assert!(error("{}\n{\"a\":").contains("line 2"));
        assert!(error("{\"wait_us\":1,\"time\":\"noon\"}\n").contains("`time`"));
    }
}
