//! Reads Envoy's access log, once Envoy has stopped and thus written all of it.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::record::{Sample, Source, names};

/// The access log's field for the time the filter paused a request, microseconds.
const WAIT_FIELD: &str = "wait_us";

/// What the log tells of the filter's pauses. A request that the filter decided at once waited 0;
/// one that it did not see has no such field.
///
/// # Errors
/// The first line that is not a JSON object.
pub(super) fn summarise(text: &str, at_s: f64) -> Result<Sample> {
    let (mut logged, mut paused, mut longest) = (0.0, 0.0, None::<f64>);
    for (index, line) in text.lines().enumerate() {
        let entry: Value = serde_json::from_str(line)
            .with_context(|| format!("cannot read line {} of the access log", index + 1))?;
        logged += 1.0;
        let wait = entry.get(WAIT_FIELD).and_then(|it| match it {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        });
        paused += f64::from(wait.is_some_and(|wait| wait > 0.0));
        longest = longest.into_iter().chain(wait).reduce(f64::max);
    }
    let mut values = std::collections::BTreeMap::from([
        (names::LOGGED.to_owned(), logged),
        (names::PAUSED.to_owned(), paused),
    ]);
    values.extend(longest.map(|longest| (names::LONGEST_WAIT_US.to_owned(), longest)));
    Ok(Sample {
        at_s,
        source: Source::AccessLog,
        values,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_is_found_and_every_line_counted() {
        let text = "{\"wait_us\":\"310\"}\n{\"wait_us\":9000}\n\
                    {\"wait_us\":\"0\"}\n{\"wait_us\":null}\n";
        let sample = summarise(text, 1.0).unwrap();
        assert_eq!(sample.values.get(names::LONGEST_WAIT_US), Some(&9000.0));
        assert_eq!(sample.values.get(names::LOGGED), Some(&4.0));
        assert_eq!(sample.values.get(names::PAUSED), Some(&2.0));
    }

    #[test]
    fn a_log_without_waits_claims_none_and_a_cut_line_is_named() {
        assert!(
            !summarise("{}\n", 1.0)
                .unwrap()
                .values
                .contains_key(names::LONGEST_WAIT_US)
        );
        let error = summarise("{}\n{\"a\":", 1.0).unwrap_err();
        assert!(error.to_string().contains("line 2"));
    }
}
