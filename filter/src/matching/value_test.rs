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

/// What a test makes of the values of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// None passes.
    No,
    /// One does.
    Yes,
    /// None of those before one that is [too long](Pattern::try_on) to try, which counts as passing.
    Untried,
}

impl TextTest {
    /// What the test makes of values. A rule can only restrict, so of several the one that it is
    /// about counts.
    pub fn fit(&self, values: impl Iterator<Item: AsRef<[u8]>>) -> Fit {
        let mut left = PATTERN_VALUE_BYTES_MAX;
        for value in values {
            match self.try_on(value.as_ref(), &mut left) {
                Some(false) => {}
                Some(true) => return Fit::Yes,
                None => return Fit::Untried,
            }
        }
        Fit::No
    }

    /// See [`Pattern::try_on`].
    #[inline(never)]
    fn try_on(&self, value: &[u8], left: &mut usize) -> Option<bool> {
        match self {
            Self::Exact(expected) => Some(value == expected.as_bytes()),
            Self::Prefix(prefix) => Some(value.starts_with(prefix.as_bytes())),
            Self::Regex(pattern) => pattern.try_on(value, left),
        }
    }

    /// Whether the test holds of the only value.
    pub(super) fn holds(&self, value: &[u8]) -> bool {
        self.fit(std::iter::once(value)) != Fit::No
    }
}

impl ValueTest {
    /// Whether the test holds of any of the values of one name.
    pub(super) fn holds(&self, mut values: impl Iterator<Item: AsRef<[u8]>>) -> bool {
        match self {
            Self::Is(test) => test.fit(values) != Fit::No,
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
