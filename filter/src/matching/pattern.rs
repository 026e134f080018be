//! Regular expressions over what clients send.

use regex_lite::{Regex, RegexBuilder};

/// The largest compiled expression, in bytes. Together with [`PATTERN_VALUE_BYTES_MAX`] it bounds
/// the time of a match: that is linear in both.
pub const PATTERN_COMPILED_BYTES_MAX: usize = 16 * 1024;

/// The most bytes that one test tries an expression on, in all values of its name together.
pub const PATTERN_VALUE_BYTES_MAX: usize = 4 * 1024;

/// What a value costs at least of those bytes: a try is dear even on an empty one.
const TRY_BYTES: usize = 64;

/// What makes an expression one of the whole value.
const OPENED: &str = r"\A(?:";
const CLOSED: &str = r")\z";

/// A regular expression that a whole value must fit, as Envoy's own `safe_regex` has it. The
/// syntax is that of Rust's `regex-lite`: no look-around, no back-references, and classes such as
/// `\w` are ASCII.
///
/// `.` fits every character, line ends included: no client slips out of `.*` by an encoded one.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, or that it is too large when compiled.
    pub fn new(source: &str) -> Result<Self, String> {
        let compile = |source: &str| {
            RegexBuilder::new(source)
                .dot_matches_new_line(true)
                .size_limit(PATTERN_COMPILED_BYTES_MAX)
                .build()
                .map_err(|error| error.to_string())
        };
        // Alone first: `a)|(b` is wrong, but would be an expression between the parentheses.
        compile(source)?;
        compile(&format!("{OPENED}{source}{CLOSED}")).map(Self)
    }

    /// The expression as it was given.
    pub fn source(&self) -> &str {
        let whole = self.0.as_str();
        let source = whole
            .strip_prefix(OPENED)
            .and_then(|rest| rest.strip_suffix(CLOSED));
        source.unwrap_or(whole)
    }

    /// Whether a whole value fits. Bytes that are not UTF-8 count as U+FFFD.
    ///
    /// `left` is what the test may still spend: [`PATTERN_VALUE_BYTES_MAX`] at first. A value beyond
    /// that is not tried, `None`, and counts as one that fits: a worker serves nobody else meanwhile,
    /// and a rule can only restrict, so the client that sends so much gains nothing.
    pub fn try_on(&self, value: &[u8], left: &mut usize) -> Option<bool> {
        *left = left.checked_sub(value.len().max(TRY_BYTES))?;
        Some(self.0.is_match(&String::from_utf8_lossy(value)))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(source: &str, value: &[u8]) -> bool {
        let mut left = PATTERN_VALUE_BYTES_MAX;
        let tried = Pattern::new(source).unwrap().try_on(value, &mut left);
        tried.unwrap()
    }

    /// What becomes of values of these lengths under one test, none of which fits.
    fn tried(lengths: &[usize]) -> Vec<Option<bool>> {
        let pattern = Pattern::new("b+").unwrap();
        let mut left = PATTERN_VALUE_BYTES_MAX;
        let lengths = lengths.iter();
        let each = lengths.map(|length| pattern.try_on(&vec![b'a'; *length], &mut left));
        each.collect()
    }

    #[test]
    fn a_longer_value_than_a_test_may_try_is_not_tried() {
        const ALL: usize = PATTERN_VALUE_BYTES_MAX;
        assert_eq!(tried(&[ALL]), [Some(false)]);
        assert_eq!(tried(&[ALL + 1]), [None]);
        assert_eq!(tried(&[ALL / 2, ALL / 2]), [Some(false); 2]);
        assert_eq!(tried(&[ALL / 2, ALL / 2 + 1]), [Some(false), None]);
    }

    #[test]
    fn more_values_than_a_test_may_try_are_not_tried() {
        const MOST: usize = PATTERN_VALUE_BYTES_MAX / TRY_BYTES;
        let mut expected = vec![Some(false); MOST];
        assert_eq!(tried(&[0; MOST]), expected);
        expected.push(None);
        assert_eq!(tried(&[0; MOST + 1]), expected);
    }

    #[test]
    fn the_whole_value_must_fit() {
        assert!(fits("b+", b"bb"));
        assert!(!fits("b+", b"abb"));
        assert!(!fits("b+", b"bba"));
        assert!(!fits("b", b"b\n"));
        assert!(
            fits("a|ab", b"ab"),
            "an earlier branch does not hide the whole"
        );
        assert!(!fits("(?m)^b$", b"a\nb"), "no flag widens the value's ends");
        assert!(fits("", b""));
        assert!(!fits("", b"a"));
        assert_eq!(Pattern::new("a|b").unwrap().source(), "a|b");
    }

    #[test]
    fn no_byte_slips_out_of_a_dot() {
        assert!(fits(".*evil.*", b"\r\n\xff evil \xc3"));
        assert!(fits("a.b", b"a\nb"));
        assert!(!fits("[a-z]*", b"a\xffb"));
    }

    #[test]
    fn what_is_no_expression_alone_is_refused() {
        for source in [
            "a)|(?:b",
            "(",
            "[",
            "*",
            r"\p{Greek}",
            "(?=a)",
            r"(a)\1",
            "(?x)a #",
        ] {
            assert!(Pattern::new(source).is_err(), "{source}");
        }
    }

    #[test]
    fn a_compiled_expression_is_bounded() {
        assert!(Pattern::new("[a-z]{1,100}").is_ok());
        assert!(Pattern::new("(?:.*a){60}b").is_ok());
        assert!(Pattern::new("(?:.*a){200}b").is_err());
        assert!(Pattern::new("[a-z]{1,1000}").is_err());
        assert!(Pattern::new("((a{1,100}){1,100}){1,100}").is_err());
        let deep = format!("{}{}", "(".repeat(1_000), ")".repeat(1_000));
        assert!(Pattern::new(&deep).is_err());
    }

    #[test]
    fn what_rules_are_written_with_fits_the_bound() {
        const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
        let words: Vec<String> = (0..50).map(|n| format!("word{n}x")).collect();
        let words = words.join("|");
        for source in [
            r"^/api/v[0-9]+/users/[^/]+/orders$",
            &format!("/v[0-9]+/users/{UUID}(?:/.*)?"),
            "[a-z0-9-]{1,63}",
            r"\w{1,128}",
            &format!("/(?:{words})(?:/.*)?"),
            &format!("(?i)(?:{words})"),
            r"(?i)/(?:login|logout|signup|password/reset)(?:/.*)?",
            r".*\.(?:js|css|png|jpe?g|gif|svg|woff2?|ico|map)",
            "(?i).*(?:bot|crawler|spider|slurp).*",
            r"Bearer [A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+",
            r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}",
            r"(?:[a-z0-9-]{1,63}\.)+example\.com",
        ] {
            let pattern = Pattern::new(source);
            assert!(pattern.is_ok(), "{source}: {pattern:?}");
        }
    }
}
