//! The hot key: one key more, whose limit the load is meant to meet.

use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::Value;

use super::fields::Fields;

/// Rarest hot request: one in so many.
const EVERY_MAX: u64 = 1_000;
/// Most hot requests a scenario may plan: the judge looks at each pair of them.
pub const HOT_MAX: u64 = 10_000;

/// Which requests carry the hot key, and the limit that the filter has for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hot {
    /// One request in so many carries it, beginning with the first.
    pub every: u64,
    /// As the scenario's filter configuration says.
    pub limit: Limit,
}

/// A token bucket: in any interval of length `t` seconds at most `burst + rate × t` requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Requests per second.
    pub rate: f64,
    /// Requests that a full bucket holds.
    pub burst: f64,
}

/// The limit of a rule, as the filter's configuration writes it.
#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    algorithm: Algorithm,
    requests: u32,
    per: SignedDuration,
    burst: Option<u32>,
}

/// Whose arithmetic the judge knows.
#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Algorithm {
    #[default]
    TokenBucket,
}

/// Reads `[load.hot]`, and the limit of the rule that it names in `filter`.
pub(super) fn hot(mut fields: Fields<'_>, filter: &Value) -> Hot {
    let every = fields.whole("every", 1..=EVERY_MAX);
    let rule = fields.text("rule");
    let limit = limit_of(&rule, filter).unwrap_or_else(|problem| {
        fields.problem("rule", problem);
        Limit {
            rate: 0.0,
            burst: 0.0,
        }
    });
    fields.finish();
    Hot { every, limit }
}

fn limit_of(rule: &str, filter: &Value) -> Result<Limit, String> {
    let rules = filter["rules"].as_array().into_iter().flatten();
    let found = rules.clone().find(|it| it["name"] == *rule);
    let found = found.ok_or_else(|| {
        let names: Vec<&str> = rules.filter_map(|it| it["name"].as_str()).collect();
        format!(
            "expected a rule of the filter ({}), found {rule:?}",
            names.join(", ")
        )
    })?;
    let written = Written::deserialize(&found["limit"])
        .map_err(|error| format!("the limit of {rule:?} cannot be judged: {error}"))?;
    let Algorithm::TokenBucket = written.algorithm;
    let per_s = written.per.as_secs_f64();
    if per_s <= 0.0 {
        return Err(format!("the limit of {rule:?} is per no time at all"));
    }
    Ok(Limit {
        rate: f64::from(written.requests) / per_s,
        burst: f64::from(written.burst.unwrap_or(written.requests)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn limit(limit: &Value) -> Result<Limit, String> {
        limit_of(
            "hot",
            &json!({ "rules": [{ "name": "hot", "limit": limit }] }),
        )
    }

    #[test]
    fn the_limit_is_that_of_the_rule_and_the_burst_is_its_requests_unless_said() {
        let (rate, burst) = (0.5, 30.0);
        assert_eq!(
            limit(&json!({ "requests": 30, "per": "1m" })),
            Ok(Limit { rate, burst })
        );
        let (rate, burst) = (80.0, 5.0);
        let written =
            json!({ "algorithm": "token_bucket", "requests": 20, "per": "250ms", "burst": 5 });
        assert_eq!(limit(&written), Ok(Limit { rate, burst }));
    }

    #[test]
    fn a_limit_that_the_judge_cannot_follow_is_refused() {
        for written in [
            json!({ "algorithm": "fixed_window", "requests": 1, "per": "1s" }),
            json!({ "requests": 1, "per": "1 fortnight" }),
            json!({ "requests": 1, "per": "0s" }),
            json!(null),
        ] {
            assert!(
                limit(&written).unwrap_err().contains("\"hot\""),
                "{written}"
            );
        }
    }
}
