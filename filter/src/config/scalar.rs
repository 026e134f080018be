//! Values without structure: numbers, texts, durations, shares, and choices among names.

use std::ops::RangeInclusive;

use super::document::Node;
use super::value::{Value, quoted};
use crate::matching::Attribute;
use crate::units::Micros;

/// The longest name of a header, a query parameter or a cookie, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// The longest value that a test of a header, a parameter or a property compares with, in bytes.
pub const TEST_VALUE_BYTES_MAX: usize = 4_096;
/// The most parts of a property's path.
pub const PATH_PARTS_MAX: usize = 8;
/// The longest part of a property's path, in bytes.
pub const PATH_PART_BYTES_MAX: usize = 128;

/// A share between 0 (excluded) and 1, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(pub u32);

impl Ratio {
    /// The whole: 1 in millionths.
    pub const ONE: Self = Self(1_000_000);

    /// This share of `n`, rounded down.
    pub(super) const fn of(self, n: u64) -> u64 {
        n.saturating_mul(self.0 as u64) / 1_000_000
    }
}

/// Reads a duration: digits and one of `us`, `ms`, `s`, `m`, `h`, `d`, nothing else.
///
/// `None` for any other text, and for a span that does not fit in 64 bits of microseconds.
pub fn parse_duration(text: &str) -> Option<Micros> {
    let (digits, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let micros = match unit {
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(micros).map(Micros)
}

/// Readers of single values; see the convention in [`super::value`].
impl<'d> Value<'d> {
    #[inline(never)]
    pub(super) fn flag(&self) -> Option<bool> {
        match self.node() {
            Node::Flag(flag) => Some(*flag),
            _ => self.expected("true or false"),
        }
    }

    #[inline(never)]
    pub(super) fn whole(&self, range: RangeInclusive<u64>) -> Option<u64> {
        match self.node() {
            Node::Whole(number) if range.contains(number) => Some(*number),
            _ => self.expected(format_args!(
                "a whole number from {} to {}",
                range.start(),
                range.end()
            )),
        }
    }

    #[inline(never)]
    pub(super) fn duration(&self, range: RangeInclusive<Micros>) -> Option<Micros> {
        let Some(span) = self.node().text().and_then(parse_duration) else {
            return self.expected("a duration such as \"1s\"");
        };
        if range.contains(&span) {
            return Some(span);
        }
        self.expected(format_args!(
            "a duration from {} to {}",
            range.start(),
            range.end()
        ))
    }

    /// A duration that reaches Envoy or Redis, which count in milliseconds.
    #[inline(never)]
    pub(super) fn whole_millis(&self, range: RangeInclusive<Micros>) -> Option<Micros> {
        let span = self.duration(range)?;
        if Micros::from_millis(span.whole_millis()) == span {
            return Some(span);
        }
        self.expected("whole milliseconds, such as \"2ms\"")
    }

    /// A number above 0 and at most 1 that has at most six decimals, so that nothing is rounded.
    #[inline(never)]
    pub(super) fn share(&self) -> Option<Ratio> {
        let share = match self.node() {
            Node::Whole(1) => 1.0,
            Node::Real(share) => *share,
            _ => f64::NAN,
        };
        let millionths = (share * f64::from(Ratio::ONE.0)).round();
        // A decimal with up to six places is read as the double nearest to it, which is what
        // this division gives; any other number differs. Not a number is equal to nothing.
        let exact = millionths / f64::from(Ratio::ONE.0) == share;
        if exact && (1.0..=f64::from(Ratio::ONE.0)).contains(&millionths) {
            return Some(Ratio(millionths as u32));
        }
        self.expected("a number above 0, at most 1, of at most 6 decimals")
    }

    /// A text of 1 to `max` bytes, all of which are `allowed`; `what` describes it.
    #[inline(never)]
    pub(super) fn text(&self, what: &str, max: usize, allowed: fn(u8) -> bool) -> Option<&'d str> {
        match self.node().text() {
            Some(text) if (1..=max).contains(&text.len()) && text.bytes().all(allowed) => {
                Some(text)
            }
            _ => self.expected(format_args!("{what}, 1 to {max} bytes")),
        }
    }

    /// A text of any bytes, none included.
    #[inline(never)]
    pub(super) fn short_text(&self, max: usize) -> Option<&'d str> {
        match self.node().text() {
            Some(text) if text.len() <= max => Some(text),
            _ => self.expected(format_args!("a text of at most {max} bytes")),
        }
    }

    /// A flag that says nothing when it is false.
    #[inline(never)]
    pub(super) fn yes(&self) -> Option<()> {
        match self.node() {
            Node::Flag(true) => Some(()),
            _ => self.expected("true"),
        }
    }

    /// One of a few names.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Option<T> {
        let name = self.node().text().unwrap_or_default();
        if let Some((_, choice)) = choices.iter().find(|(known, _)| *known == name) {
            return Some(*choice);
        }
        self.expected(format_args!(
            "one of {}",
            quoted(choices.iter().map(|(known, _)| *known))
        ))
    }

    /// The name of a header, in lower case. Envoy has no header `host`: it becomes `:authority`.
    #[inline(never)]
    pub(super) fn header_name(&self) -> Option<String> {
        let name = self.token("the name of a header")?;
        if name.eq_ignore_ascii_case("host") {
            return self
                .refuse("the host is no header to Envoy; use \"hosts\" or {\"host\": true}");
        }
        Some(name.to_ascii_lowercase())
    }

    /// The name of a cookie, whose grammar is that of a header's, but in its case.
    #[inline(never)]
    pub(super) fn cookie_name(&self) -> Option<String> {
        self.token("the name of a cookie").map(Into::into)
    }

    /// The name of a query parameter, as it is when decoded.
    #[inline(never)]
    pub(super) fn parameter_name(&self) -> Option<String> {
        let name = self.text("the name of a parameter", NAME_BYTES_MAX, |_| true)?;
        Some(name.to_owned())
    }

    /// The path of a property: the host separates its parts by NUL.
    #[inline(never)]
    pub(super) fn property_path(&self) -> Option<Vec<String>> {
        let path = self.list((1, PATH_PARTS_MAX), Self::path_part)?;
        let Some(joined) = path.first().filter(|it| Attribute::is_dotted(it)) else {
            return Some(path);
        };
        let parts: Vec<&str> = joined.split('.').collect();
        self.refuse(format_args!(
            "Envoy has nothing named {joined:?}: write each part on its own, {parts:?}"
        ))
    }

    /// The keys of an entry of metadata: a filter's name and at least one below it.
    #[inline(never)]
    pub(super) fn metadata_keys(&self) -> Option<Vec<String>> {
        self.list((2, PATH_PARTS_MAX), Self::path_part)
    }

    #[inline(never)]
    fn path_part(&self) -> Option<String> {
        let allowed = |byte: u8| byte != 0;
        let part = self.text("a part of a path without NUL", PATH_PART_BYTES_MAX, allowed)?;
        Some(part.to_owned())
    }

    #[inline(never)]
    fn token(&self, what: &str) -> Option<&'d str> {
        self.text(what, NAME_BYTES_MAX, is_token)
    }
}

/// Whether a name of a header or a cookie may hold this byte.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl Node {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}
