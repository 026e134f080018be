//! What a rule asks of a value: of a path, a header, a query parameter or a property.

use super::Pattern;

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
    pub(super) fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(expected) => value == expected.as_bytes(),
            Self::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
            Self::Regex(pattern) => pattern.fits(value),
        }
    }
}

impl ValueTest {
    /// Whether the test holds of any of the values of one name. A rule can only restrict, so of
    /// several values the one that it is about counts.
    pub(super) fn holds(&self, values: impl Iterator<Item: AsRef<[u8]>>) -> bool {
        let mut values = values;
        match self {
            Self::Is(test) => values.any(|value| test.holds(value.as_ref())),
            Self::Present(present) => values.next().is_some() == *present,
        }
    }
}
