//! Pairs of a name and a value inside one text: the parameters of a query, and cookies.
//!
//! A client may spell one pair in many ways, of which its upstream sees one. Each spelling must
//! lead to the same counter, so values are compared decoded; and since nobody here knows which of
//! several values of one name the upstream takes, [`Pair::Several`] stands for all such requests.

use std::borrow::Cow;

/// What the values of one name amount to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pair<'t> {
    Absent,
    /// One value, be it given once or repeated. One without `=` is empty.
    One(Cow<'t, [u8]>),
    /// Different values.
    Several,
}

/// The values of the parameter `name` of a query, in their order. Names and values are
/// percent-decoded, and `+` is a space, as in forms; a `%` without two hex digits stands for
/// itself. Only `&` separates parameters.
pub(super) fn parameters<'t>(
    query: &'t [u8],
    name: &'t str,
) -> impl Iterator<Item = Cow<'t, [u8]>> {
    query
        .split(|byte| *byte == b'&')
        .map(cut)
        .filter(move |(found, _)| Decoded::form(found).eq(name.bytes()))
        .map(|(_, value)| plain(value, Decoded::form))
}

/// The values of the cookie `name` in one `cookie` header, in their order: without the blanks
/// around them and the quotes that may enclose them, and percent-decoded, as many upstreams read
/// them. Names are compared as they are.
pub(super) fn cookies<'t>(header: &'t [u8], name: &'t str) -> impl Iterator<Item = Cow<'t, [u8]>> {
    header
        .split(|byte| *byte == b';')
        .map(cut)
        .filter(move |(found, _)| found.trim_ascii() == name.as_bytes())
        .map(|(_, value)| plain(unquoted(value.trim_ascii()), Decoded::percent))
}

impl<'t> Pair<'t> {
    /// A value more.
    pub(super) fn add(&mut self, value: Cow<'t, [u8]>) {
        match self {
            Self::Absent => *self = Self::One(value),
            Self::One(known) if *known == value => {}
            Self::One(_) | Self::Several => *self = Self::Several,
        }
    }
}

fn cut(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    let name = halves.next().unwrap_or_default();
    (name, halves.next().unwrap_or_default())
}

fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value
        .strip_prefix(b"\"")
        .and_then(|it| it.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

fn plain<'t>(value: &'t [u8], decoded: fn(&'t [u8]) -> Decoded<'t>) -> Cow<'t, [u8]> {
    if value.iter().any(|byte| b"%+".contains(byte)) {
        decoded(value).collect()
    } else {
        Cow::Borrowed(value)
    }
}

/// The bytes that a text encodes.
struct Decoded<'t> {
    rest: &'t [u8],
    plus: u8,
}

impl<'t> Decoded<'t> {
    const fn form(rest: &'t [u8]) -> Self {
        Self { rest, plus: b' ' }
    }

    const fn percent(rest: &'t [u8]) -> Self {
        Self { rest, plus: b'+' }
    }
}

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let [b'%', high, low, rest @ ..] = self.rest
            && let (Some(high), Some(low)) = (nibble(*high), nibble(*low))
        {
            self.rest = rest;
            return Some(high << 4 | low);
        }
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(if *first == b'+' { self.plus } else { *first })
    }
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parameter(query: &str) -> Vec<String> {
        let values = parameters(query.as_bytes(), "k y");
        values
            .map(|it| String::from_utf8_lossy(&it).into_owned())
            .collect()
    }

    fn cookie(header: &str) -> Vec<String> {
        let values = cookies(header.as_bytes(), "sid");
        values
            .map(|it| String::from_utf8_lossy(&it).into_owned())
            .collect()
    }

    #[test]
    fn a_parameter_is_the_same_however_it_is_spelled() {
        for query in [
            "k+y=a+b",
            "k%20y=a%20b",
            "x=1&%6b%20%79=%61+b",
            "&&k+y=a+%62&=",
        ] {
            assert_eq!(parameter(query), ["a b"], "{query}");
        }
        assert_eq!(parameter("k+y"), [""]);
        assert_eq!(parameter("k+y=1&K+y=2&k+y=&xk+y=3"), ["1", ""]);
        assert_eq!(parameter("k+y=a=b;k+y=c"), ["a=b;k y=c"]);
        assert_eq!(parameter("k+y=%&k+y=%4&k+y=%4g%41"), ["%", "%4", "%4gA"]);
        assert!(parameter("").is_empty());
    }

    #[test]
    fn a_cookie_is_the_same_however_it_is_spelled() {
        for header in [
            "sid=a+b",
            " a=1 ; sid = \"a+b\" ",
            "sid=%61%2Bb;x",
            ";;sid=a%2bb",
        ] {
            assert_eq!(cookie(header), ["a+b"], "{header}");
        }
        assert_eq!(cookie("sid=1; SID=2; sid; xsid=3"), ["1", ""]);
        assert_eq!(cookie("sid=\"; sid=\"\"; sid=a=b"), ["\"", "", "a=b"]);
        assert!(cookie("").is_empty());
    }

    #[test]
    fn different_values_of_one_name_are_several() {
        let of = |values: &[&'static [u8]]| {
            let mut pair = Pair::Absent;
            values.iter().for_each(|it| pair.add(Cow::Borrowed(*it)));
            pair
        };
        assert_eq!(of(&[]), Pair::Absent);
        assert_eq!(of(&[b"a"]), Pair::One(b"a".into()));
        assert_eq!(of(&[b"a", b"a"]), Pair::One(b"a".into()));
        assert_eq!(of(&[b"a", b"a", b""]), Pair::Several);
    }

    proptest! {
        #[test]
        fn any_value_is_found_in_any_spelling(value: Vec<u8>, escaped: u64) {
            let spelled = value.iter().enumerate().map(|(at, byte)| {
                let plain = byte.is_ascii_alphanumeric() && escaped >> (at % 64) & 1 == 0;
                if plain { char::from(*byte).to_string() } else { format!("%{byte:02x}") }
            });
            let query = format!("a=b&k+y={}&c", spelled.collect::<String>());
            let found: Vec<_> = parameters(query.as_bytes(), "k y").collect();
            prop_assert_eq!(found, [value]);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = parameters(&bytes, "a").count() + cookies(&bytes, "a").count();
        }
    }
}
