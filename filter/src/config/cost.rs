//! `cost`: how many tokens a request takes.

use super::TOKENS_MAX;
use super::document::Node;
use super::value::{Fields, Value};
use crate::limit::Limit;
use crate::matching::Request;
use crate::units::whole_number;

/// The largest cost that a header may name when the document says nothing, if the limit admits it.
const HEADER_MAX: u64 = 100;

/// How many tokens a request takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Always this many; 0 reads without charging.
    Fixed(u64),
    /// What a header says.
    Header(HeaderCost),
}

/// A cost that a header says, within bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderCost {
    name: String,
    /// At most `max`.
    default: u64,
    max: u64,
}

impl Cost {
    /// The cost when the document names none, and of a header when it names no default.
    pub const DEFAULT: u64 = 1;

    /// What a request takes. The header may be the client's, so it can only make a request dearer
    /// than its default: of several numbers the largest counts, and what is no number counts as
    /// nothing said.
    pub fn of(&self, request: &Request<'_>) -> u64 {
        match self {
            Self::Fixed(cost) => *cost,
            Self::Header(HeaderCost { name, default, max }) => {
                let values = request.header_values(name);
                let claims = values.flat_map(|value| value.split(|byte| *byte == b','));
                let largest = claims.filter_map(whole_number).max().unwrap_or_default();
                largest.max(*default).min(*max)
            }
        }
    }

    /// The most that a request can take.
    pub const fn max(&self) -> u64 {
        match self {
            Self::Fixed(cost) => *cost,
            Self::Header(HeaderCost { max, .. }) => *max,
        }
    }

    /// A request that costs more than the limit ever admits could never pass.
    pub(super) fn read(value: &Value<'_>, limit: Option<&Limit>) -> Option<Self> {
        match value.node() {
            Node::Object(_) => value
                .object(|fields| HeaderCost::read(value, fields, limit))
                .map(Self::Header),
            Node::Whole(_) | Node::Real(_) => tokens(value, limit).map(Self::Fixed),
            _ => value.expected(format_args!(
                "a whole number from 0 to {TOKENS_MAX}, or an object such as {{\"header\": \"x-cost\"}}"
            )),
        }
    }
}

impl HeaderCost {
    fn read(value: &Value<'_>, fields: &mut Fields<'_, '_>, limit: Option<&Limit>) -> Option<Self> {
        let name = fields.required("header", Value::header_name);
        let usual = limit.map(|limit| limit.capacity().min(HEADER_MAX));
        let max = fields.or("max", usual, |value| tokens(value, limit));
        let default = fields.or("default", Cost::DEFAULT, |value| {
            let default = tokens(value, limit)?;
            match max {
                Some(max) if default > max => {
                    value.expected(format_args!("at most \"max\", {max}"))
                }
                _ => Some(default),
            }
        });
        let (name, default, max) = (name?, default?, max?);
        if default > max {
            return value.refuse(format_args!("\"max\" is below the default, {default}"));
        }
        Some(Self { name, default, max })
    }
}

fn tokens(value: &Value<'_>, limit: Option<&Limit>) -> Option<u64> {
    let cost = value.whole(0..=TOKENS_MAX)?;
    match limit {
        Some(limit) if cost > limit.capacity() => value.expected(format_args!(
            "at most what the limit admits at once, {}",
            limit.capacity()
        )),
        _ => Some(cost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FakeHost;
    use proptest::prelude::*;

    fn cost(default: u64, values: &[&str]) -> u64 {
        let headers: Vec<_> = values.iter().map(|value| ("x-cost", *value)).collect();
        let name = "x-cost".to_owned();
        let max = 100;
        let host = FakeHost::with_headers(&headers);
        Cost::Header(HeaderCost { name, default, max }).of(&Request::new(&host))
    }

    #[test]
    fn a_header_makes_a_request_dearer_and_never_cheaper() {
        for (value, expected) in [
            ("7", 7),
            (" 7\t", 7),
            ("007", 7),
            ("100", 100),
            ("101", 100),
            ("99999999999999999999999", 100),
            ("0", 2),
            ("1", 2),
            ("-5", 2),
            ("+5", 2),
            ("5.5", 2),
            ("0x10", 2),
            ("five", 2),
            ("", 2),
        ] {
            assert_eq!(cost(2, &[value]), expected, "{value:?}");
        }
        assert_eq!(cost(2, &[]), 2);
        assert_eq!(cost(0, &["0"]), 0);
        assert_eq!(cost(0, &[]), 0);
    }

    #[test]
    fn of_several_numbers_the_largest_counts() {
        assert_eq!(cost(1, &["50", "3"]), 50);
        assert_eq!(cost(1, &["3, 50", "x"]), 50);
    }

    proptest! {
        #[test]
        fn whatever_the_header_says_the_cost_is_in_range(value: String, default in 0_u64..=100) {
            let cost = cost(default, &[&value]);
            prop_assert!((default..=100).contains(&cost));
        }
    }
}
