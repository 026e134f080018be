//! Values that are too long for a regular expression to be tried on them.

use std::borrow::Cow;

use velocitygate::config::Rule;
use velocitygate::matching::{PATTERN_VALUE_BYTES_MAX, Request, TextTest, ValueTest};

/// A line for each test of a rule which the request passes without a try.
pub(super) fn explain(rule: &Rule, request: &Request<'_>) -> String {
    let matcher = &rule.matcher;
    let mut lines = String::new();
    let mut tell = |subject: String, is_untried: bool| {
        if is_untried {
            let most = format!("more than is tried ({PATTERN_VALUE_BYTES_MAX} bytes)");
            lines += &format!("\n  regex     {subject} is {most}, so it counts as fitting");
        }
    };
    if let Some(test) = &matcher.path {
        let path = request.path().map(Cow::Borrowed);
        tell("path".to_owned(), is_untried(test, path.into_iter()));
    }
    for named in &matcher.headers {
        let values = request.header_readings(&named.name);
        tell(format!("header {}", named.name), of(&named.test, values));
    }
    for named in &matcher.query {
        let values = request.parameters(&named.name);
        let subject = format!("query parameter {}", named.name);
        tell(subject, of(&named.test, values));
    }
    for property in &matcher.properties {
        let value = request.property(&property.path).map(Cow::Owned);
        let subject = format!("property {}", property.path.join("."));
        tell(subject, of(&property.test, value.into_iter()));
    }
    lines
}

fn of<'v>(test: &ValueTest, values: impl Iterator<Item = Cow<'v, [u8]>>) -> bool {
    match test {
        ValueTest::Is(test) => is_untried(test, values),
        ValueTest::Present(_) => false,
    }
}

/// Whether it is a value beyond what is tried that fits, and none before it.
fn is_untried<'v>(test: &TextTest, mut values: impl Iterator<Item = Cow<'v, [u8]>>) -> bool {
    let TextTest::Regex(pattern) = test else {
        return false;
    };
    let mut left = PATTERN_VALUE_BYTES_MAX;
    let fits = values.find_map(|value| match pattern.try_on(&value, &mut left) {
        Some(false) => None,
        tried => Some(tried),
    });
    fits == Some(None)
}

#[cfg(test)]
mod tests {
    use velocitygate::config::Config;
    use velocitygate::matching::Host;

    use super::*;
    use crate::explain::rules;

    /// A request whose path, headers, parameters and properties all hold this.
    struct Of(String);

    impl Host for Of {
        fn headers(&self) -> Vec<(String, Vec<u8>)> {
            let target = format!("/{}?q={}", self.0, self.0);
            [(":path", target), ("x", self.0.clone())]
                .map(|(name, value)| (name.to_owned(), value.into_bytes()))
                .into()
        }

        fn property(&self, _path: &[String]) -> Option<Vec<u8>> {
            Some(self.0.clone().into_bytes())
        }
    }

    #[test]
    fn the_reader_is_told_what_counts_as_fitting_untried() {
        let rules = r#"{ "rules": [{ "name": "r", "limit": { "requests": 1, "per": "1s" }, "match": {
            "path": { "regex": "/b" }, "headers": [{ "name": "x", "regex": "b" }],
            "query": [{ "name": "q", "regex": "b" }, { "name": "q", "prefix": "a" }],
            "property": [{ "path": ["p", "q"], "regex": "b" }] } }] }"#;
        let config = Config::parse(rules.as_bytes()).unwrap();
        let explained = |length| {
            let host = Of("a".repeat(length));
            rules::explain(&config, &Request::new(&host)).concat()
        };
        let text = explained(PATTERN_VALUE_BYTES_MAX - "/".len());
        assert!(text.starts_with("r: does not match: path"), "{text}");
        let text = explained(PATTERN_VALUE_BYTES_MAX + 1);
        let expected = ["path", "header x", "query parameter q", "property p.q"].map(|subject| {
            let why = "is more than is tried (4096 bytes), so it counts as fitting";
            format!("\n  regex     {subject} {why}")
        });
        assert!(text.starts_with("r: counts it\n"), "{text}");
        assert!(text.ends_with(&expected.concat()), "{text}");
    }
}
