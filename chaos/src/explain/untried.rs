//! Values that are too long for a regular expression to be tried on them.

use velocitygate::config::Rule;
use velocitygate::matching::{
    Fit, Mismatch, PATTERN_VALUE_BYTES_MAX, Request, TextTest, ValueTest,
};

use super::rules;

/// A line for each test of a rule which the request passes without a try.
pub(super) fn explain(rule: &Rule, request: &Request<'_>) -> String {
    let matcher = &rule.matcher;
    let path = matcher.path.iter().map(Mismatch::Path);
    let headers = matcher.headers.iter().map(Mismatch::Header);
    let query = matcher.query.iter().map(Mismatch::Query);
    let properties = matcher.properties.iter().map(Mismatch::Property);
    let tests = path.chain(headers).chain(query).chain(properties);
    tests.filter_map(|test| line(test, request)).collect()
}

fn line(test: Mismatch<'_>, request: &Request<'_>) -> Option<String> {
    let (subject, values) = rules::subject(test, request);
    let text = match test {
        Mismatch::Path(text) => text,
        Mismatch::Header(named) | Mismatch::Query(named) => text(&named.test)?,
        Mismatch::Property(property) => text(&property.test)?,
        Mismatch::Method(_) | Mismatch::Host(_) => return None,
    };
    (text.fit(values.into_iter()) == Fit::Untried).then(|| {
        let most = format!("more than is tried ({PATTERN_VALUE_BYTES_MAX} bytes)");
        format!("\n  regex     {subject} is {most}, so it counts as fitting")
    })
}

const fn text(test: &ValueTest) -> Option<&TextTest> {
    match test {
        ValueTest::Is(text) => Some(text),
        ValueTest::Present(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use velocitygate::config::Config;
    use velocitygate::matching::Host;

    use super::*;

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
