//! What a rule asks of a value: of a path, a header, a query parameter or a property.

use super::{PATTERN_VALUE_BYTES_MAX, Pattern};

/// A test of a value that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextTest {
    /// The value is this.
    Exact(String),
    /// The value begins with this.
    Prefix(String),
    /// The whole value fits this.
    Regex(Pattern),
}

/// A test of a value that may be absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueTest {
    /// It is there and passes this.
    Is(TextTest),
    /// It is there, be it empty (`true`), or is not (`false`).
    Present(bool),
}

impl TextTest {
    /// Whether a value passes; `left` is what an expression [may spend](Pattern::try_on).
    fn passes(&self, value: &[u8], left: &mut usize) -> bool {
        match self {
            Self::Exact(expected) => value == expected.as_bytes(),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Regex(pattern) => pattern.try_on(value, left).unwrap_or(true),
        }
    }

    /// Whether the test holds of the only value.
    pub(super) fn holds(&self, value: &[u8]) -> bool {
        self.passes(value, &mut { PATTERN_VALUE_BYTES_MAX })
    }
}

impl ValueTest {
    /// Whether the test holds of any of the values of one name. A rule can only restrict, so of
    /// several values the one that it is about counts.
    pub(super) fn holds(&self, values: impl Iterator<Item: AsRef<[u8]>>) -> bool {
        let (mut values, mut left) = (values, PATTERN_VALUE_BYTES_MAX);
        match self {
            Self::Is(test) => values.any(|value| test.passes(value.as_ref(), &mut left)),
            Self::Present(present) => values.next().is_some() == *present,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Matcher, NamedTest, PropertyTest, Request};
    use super::*;
    use crate::testing::FakeHost;

    fn matches(matcher: &Matcher, headers: &[(&str, &str)]) -> bool {
        matcher.matches(&Request::new(&FakeHost::with_headers(headers)))
    }

    /// Each use of an expression is bounded, over all values that the client gives to a name.
    #[test]
    fn what_an_expression_is_not_tried_on_fits() {
        let test = || TextTest::Regex(Pattern::new("b+").unwrap());
        let named = || NamedTest {
            name: "x".into(),
            test: ValueTest::Is(test()),
        };
        let property = PropertyTest {
            path: vec!["x".into()],
            test: ValueTest::Is(test()),
        };
        let of_path = Matcher {
            path: Some(test()),
            ..Matcher::default()
        };
        let of_header = Matcher {
            headers: vec![named()],
            ..Matcher::default()
        };
        let of_query = Matcher {
            query: vec![named()],
            ..Matcher::default()
        };
        let of_property = Matcher {
            properties: vec![property],
            ..Matcher::default()
        };
        for (length, expected) in [
            (PATTERN_VALUE_BYTES_MAX, false),
            (PATTERN_VALUE_BYTES_MAX + 1, true),
        ] {
            let value = "a".repeat(length);
            assert_eq!(matches(&of_path, &[(":path", &value)]), expected);
            assert_eq!(matches(&of_header, &[("x", &value)]), expected);
            let target = format!("/?x={value}");
            assert_eq!(matches(&of_query, &[(":path", &target)]), expected);
            let host = FakeHost::default().property("x", &value);
            assert_eq!(of_property.matches(&Request::new(&host)), expected);
        }
        let half = "a".repeat(PATTERN_VALUE_BYTES_MAX / 2);
        let target = |times| "/?".to_owned() + &format!("x={half}&").repeat(times);
        assert!(!matches(&of_query, &[(":path", &target(2))]));
        assert!(matches(&of_query, &[(":path", &target(3))]));
        // Two values of a header are three: each, and both joined.
        assert!(matches(&of_header, &[("x", &half), ("x", &half)]));
    }
}
