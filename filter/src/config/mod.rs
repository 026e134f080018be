//! The configuration: read from JSON or a Struct, validated as a whole. The types here are proof that a check
//! was made: the rest of the filter never sees a raw document.
//!
//! Each section of the document is one file that holds its type, its defaults, its bounds and a
//! `read` function. To add a field: add it to the type, and one line to `read`.

mod breaker;
mod cost;
mod document;
mod examples;
mod fallback;
mod headers;
mod key;
mod lease;
mod limit;
mod matcher;
mod overrides;
mod problems;
mod protobuf;
mod redis;
mod response;
mod rule;
mod scalar;
mod value;

pub use breaker::Breaker;
pub use cost::{Cost, HeaderCost};
pub use document::{DEPTH_MAX, DOCUMENT_BYTES_MAX};
pub use fallback::OnFailure;
pub use headers::Headers;
pub use key::{KEY_PARTS_MAX, VALUE_MAX};
pub use lease::{LEASE_TOKENS_MAX, LEASE_TTL_MAX, LEASE_TTL_MIN, Lease};
pub use limit::{BUCKET_FILL_MAX, LOG_REQUESTS_MAX, PER_MAX, PER_MIN, TOKENS_MAX};
pub use matcher::{
    HOST_BYTES_MAX, HOSTS_MAX, METHOD_BYTES_MAX, METHODS_MAX, PATH_BYTES_MAX, PATTERN_BYTES_MAX,
    TESTS_MAX,
};
pub use overrides::{OVERRIDES_MAX, Override, Overrides};
pub use problems::{PROBLEMS_MAX, Problems};
pub use redis::{
    CLUSTER_BYTES_MAX, KEY_PREFIX_BYTES_MAX, MAX_WAITING_MAX, Redis, TIMEOUT_MAX, TIMEOUT_MIN,
};
pub use response::{BODY_BYTES_MAX, RESPONSE_HEADERS_MAX, Response};
pub use rule::{
    Counted, MissingKey, PATTERNS_MAX, RULE_NAME_BYTES_MAX, RULES_MAX, Rule, Treatment,
};
pub use scalar::{
    NAME_BYTES_MAX, PATH_PART_BYTES_MAX, PATH_PARTS_MAX, Ratio, TEST_VALUE_BYTES_MAX,
    parse_duration,
};

use crate::matching::Request;
use value::Value;

/// A whole validated configuration of the HTTP root.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How to reach Redis, and how long to wait for it.
    pub redis: Redis,
    /// The breaker's settings; `None` when it is turned off.
    pub breaker: Option<Breaker>,
    /// Which header families answers carry.
    pub headers: Headers,
    /// The rules, in the order of the document, at most [`RULES_MAX`]. All that match apply.
    pub rules: Vec<Rule>,
}

impl Config {
    /// Reads and validates a document: JSON, or a serialised `google.protobuf.Struct`.
    ///
    /// # Errors
    /// Every problem of the document at once, so that one round of corrections is enough. A
    /// document that is neither is a single problem; in JSON with its line and column.
    pub fn parse(document: &[u8]) -> Result<Self, Problems> {
        let node = document::parse(document).map_err(Problems::of_document)?;
        let problems = problems::Ledger::default();
        let config = Self::read(&Value::root(&node, &problems));
        let problems = problems.into_problems();
        config.filter(|_| problems.is_empty()).ok_or(problems)
    }

    fn read(value: &Value<'_>) -> Option<Self> {
        value.object(|fields| {
            let redis = fields.or_read_empty("redis", Redis::read);
            let timeout = redis.as_ref().map(|redis| redis.timeout);
            let breaker = fields.or_read_empty("breaker", |value| Breaker::read(value, timeout));
            let headers = fields.or("headers", Headers::DEFAULT, Headers::read);
            let rules = fields.required("rules", rule::read_all);
            Some(Self {
                redis: redis?,
                breaker: breaker?,
                headers: headers?,
                rules: rules?,
            })
        })
    }

    /// The rules that match a request, by their place in [`Config::rules`], each with how it treats
    /// the request.
    pub fn applicable(&self, request: &Request<'_>) -> impl Iterator<Item = (usize, Treatment)> {
        self.rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.matcher.matches(request))
            .map(|(index, rule)| (index, rule.treatment(request)))
    }
}

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod overrides_tests;
#[cfg(test)]
mod rule_bounds_tests;
#[cfg(test)]
mod tests;
