//! Reads Envoy's access log, once Envoy has stopped and thus written all of it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;

use crate::record::{Sample, Source, names};

/// The access log's field for the time the filter paused a request, microseconds.
const WAIT_FIELD: &str = "wait_us";
/// The access log's field for the time a request came, UTC.
const TIME_FIELD: &str = "time";

/// What the log tells of the filter's pauses. A request that the filter decided at once waited 0;
/// one that it did not see has no such field. `started` is the scenario's start, `at_s` the time
/// of the reading after it.
///
/// # Errors
/// The first line that is not a JSON object, or whose pause has no time.
pub(super) fn summarise(text: &str, started: Timestamp, at_s: f64) -> Result<Sample> {
    let (mut logged, mut paused) = (0.0, 0.0);
    let mut longest: Option<(f64, Value)> = None;
    for (index, line) in text.lines().enumerate() {
        let mut entry: Value = serde_json::from_str(line)
            .with_context(|| format!("cannot read line {} of the access log", index + 1))?;
        logged += 1.0;
        let Some(wait_us) = entry.get(WAIT_FIELD).and_then(number) else {
            continue;
        };
        paused += f64::from(wait_us > 0.0);
        if longest.as_ref().is_none_or(|(most, _)| wait_us > *most) {
            longest = Some((wait_us, entry[TIME_FIELD].take()));
        }
    }
    let mut values = BTreeMap::from([
        (names::LOGGED.to_owned(), logged),
        (names::PAUSED.to_owned(), paused),
    ]);
    if let Some((wait_us, time)) = longest {
        let time: Timestamp = serde_json::from_value(time)
            .with_context(|| format!("cannot read `{TIME_FIELD}` in the access log"))?;
        let since_s = time.duration_since(started).as_secs_f64();
        values.insert(names::LONGEST_WAIT_US.to_owned(), wait_us);
        values.insert(names::LONGEST_WAIT_AT_S.to_owned(), since_s);
    }
    Ok(Sample {
        at_s,
        source: Source::AccessLog,
        values,
    })
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

    fn summarised(text: &str) -> Result<Sample> {
        summarise(text, "2026-01-31T12:00:00Z".parse().unwrap(), 1.0)
    }

    #[test]
    fn the_longest_wait_is_found_with_its_time_and_every_line_counted() {
        let text = "{\"wait_us\":\"310\",\"time\":\"2026-01-31T12:00:01.000Z\"}\n\
                    {\"wait_us\":9000,\"time\":\"2026-01-31T12:00:02.250Z\"}\n\
                    {\"wait_us\":\"0\"}\n{\"wait_us\":null}\n";
        let sample = summarised(text).unwrap();
        let value = |name| sample.values.get(name).copied();
        assert_eq!(value(names::LONGEST_WAIT_US), Some(9000.0));
        assert_eq!(value(names::LONGEST_WAIT_AT_S), Some(2.25));
        assert_eq!(value(names::LOGGED), Some(4.0));
        assert_eq!(value(names::PAUSED), Some(2.0));
    }

    #[test]
    fn a_log_without_waits_claims_none_and_what_cannot_be_read_is_named() {
        let sample = summarised("{}\n").unwrap();
        assert!(!sample.values.contains_key(names::LONGEST_WAIT_US));
        let error = |text| summarised(text).unwrap_err().to_string();
        assert!(error("{}\n{\"a\":").contains("line 2"));
        assert!(error("{\"wait_us\":1,\"time\":\"noon\"}\n").contains("`time`"));
    }
}
