//! Overrides compare what is counted: their values are read as requests are.

use super::tests::{parse, with_rule};
use super::*;
use crate::testing::FakeHost;
use serde_json::{Value as Json, json};

/// How a request is treated by a rule that counts by `part` and denies `value`.
fn treated(part: &Json, value: &str, host: &FakeHost) -> Treatment {
    let rule = json!({ "key": [part], "overrides": [{ "key": [value], "deny": true }] });
    let config = parse(&with_rule(&rule)).expect(value);
    let request = Request::new(host);
    let (_, treatment) = config.applicable(&request).next().expect("one rule");
    treatment
}

#[test]
fn a_value_matches_in_any_spelling_of_what_is_counted() {
    let host = FakeHost::with_headers(&[(":authority", "Api.example.com.:443")]);
    for value in ["api.example.com", "API.Example.Com", "api.example.com."] {
        let treatment = treated(&json!({ "host": true }), value, &host);
        assert_eq!(treatment, Treatment::Deny, "{value}");
    }
    let by_v6 = json!({ "client_ip": {} });
    let host = FakeHost::default().property("source.address", "[2001:db8:0:1::7]:80");
    for value in [
        "2001:db8:0:1::",
        "2001:DB8:0:1:0:0:0:0",
        "2001:0db8:0000:0001::",
    ] {
        assert_eq!(treated(&by_v6, value, &host), Treatment::Deny, "{value}");
    }
    let by_v4 = json!({ "client_ip": { "v4": 24 } });
    for address in ["203.0.113.7:80", "[::ffff:203.0.113.9]:80"] {
        let host = FakeHost::default().property("source.address", address);
        for value in ["203.0.113.0", "::ffff:203.0.113.0"] {
            assert_eq!(treated(&by_v4, value, &host), Treatment::Deny, "{value}");
        }
    }
}

#[test]
fn a_value_that_some_request_has_is_taken_as_it_is() {
    let host = FakeHost::with_headers(&[
        (":method", "GET"),
        (":path", "/a%20b?q=+%25&none="),
        (":authority", "[2001:db8::1]"),
        ("cookie", "sid=%2520"),
        ("x", ""),
    ]);
    let host = host.property("xds.route_name", "A b");
    for (part, value) in [
        (json!({ "method": true }), "GET"),
        (json!({ "path": true }), "/a%20b"),
        (json!({ "host": true }), "[2001:db8::1]"),
        (json!({ "query": "q" }), " %"),
        (json!({ "query": "none" }), ""),
        (json!({ "cookie": "sid" }), "%20"),
        (json!({ "header": "x" }), ""),
        (json!({ "property": ["xds", "route_name"] }), "A b"),
        (json!({ "value": "web" }), "web"),
    ] {
        assert_eq!(treated(&part, value, &host), Treatment::Deny, "{part}");
    }
}

/// Which of its values the upstream takes is not known: a second one bought the way out of a refusal.
#[test]
fn a_value_more_is_no_way_out_of_a_refusal() {
    let denied = |part: Json, headers: &[(&str, &str)]| {
        treated(&part, "evil", &FakeHost::with_headers(headers)) == Treatment::Deny
    };
    let header = || json!({ "header": "x" });
    assert!(denied(header(), &[("x", "evil"), ("x", "good")]));
    assert!(denied(header(), &[("x", "good"), ("x", "evil")]));
    assert!(!denied(header(), &[("x", "good"), ("x", "better")]));
    assert!(!denied(header(), &[("x", "evil2"), ("x", "")]));
    assert!(denied(
        json!({ "query": "q" }),
        &[(":path", "/?q=1&q=%65vil")]
    ));
    assert!(denied(
        json!({ "cookie": "c" }),
        &[("cookie", "c=1; c=evil")]
    ));
}

/// All parts have to be those of one refused key.
#[test]
fn of_several_values_those_of_one_refused_key_count() {
    let rule = json!({
        "key": [{ "header": "x" }, { "method": true }, { "query": "q" }],
        "overrides": [
            { "key": ["a", "GET", "1"], "deny": true },
            { "key": ["b", "GET", "2"], "deny": true },
            { "key": ["c", "GET", "3"], "unlimited": true } ] });
    let config = parse(&with_rule(&rule)).expect("good");
    let treated = |values: [&str; 2], method: &str, path: &str| {
        let [first, second] = values.map(|value| ("x", value));
        let host = FakeHost::with_headers(&[first, second, (":method", method), (":path", path)]);
        let request = Request::new(&host);
        let (_, treatment) = config.applicable(&request).next().expect("one rule");
        treatment
    };
    let denied = |values, method, path| treated(values, method, path) == Treatment::Deny;
    assert!(denied(["a", "z"], "GET", "/?q=1"));
    assert!(denied(["z", "b"], "GET", "/?q=1&q=2"));
    assert!(!denied(["a", "z"], "PUT", "/?q=1"));
    assert!(!denied(["a", "z"], "GET", "/?q=2&q=3"));
    assert!(!denied(["a", "z"], "GET", "/"));
    // Only a refusal is: nobody gains a limit by a value more.
    assert!(matches!(
        treated(["c", "z"], "GET", "/?q=3"),
        Treatment::Count(_)
    ));
}

/// So many that each could be held against a long list: it may be any of them.
#[test]
fn more_values_than_are_looked_at_are_refused() {
    let denied = |values: usize| {
        let query: String = (0..values).map(|it| format!("&q={it}")).collect();
        let host = FakeHost::with_headers(&[(":path", &format!("/?{query}"))]);
        treated(&json!({ "query": "q" }), "evil", &host) == Treatment::Deny
    };
    assert!(!denied(64));
    assert!(denied(65));
}
