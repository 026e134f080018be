//! What is said of the request and of how it is described.

use std::path::PathBuf;

use super::tests::{explained, of_document};
use crate::tools::repository;

#[test]
fn a_host_header_is_the_authority_and_an_ipv6_client_has_its_network() {
    let rules = r#"{ "rules": [{ "name": "r", "key": [{ "host": true }, { "client_ip": {} }],
        "limit": { "requests": 1, "per": "1s" } }] }"#;
    for url in ["/", "https://b.test/"] {
        let words = [url, "--header=HOST: A.test", "--client-ip=2001:db8::1"];
        let text = of_document(rules, &words);
        assert!(text.starts_with("GET A.test/\n"), "{text}");
        assert!(text.contains("vg:{r:a.test|2001:db8::}:tb"), "{text}");
    }
}

#[test]
fn what_rules_look_at_and_nobody_described_is_named_with_its_argument() {
    let rules = r#"{ "rules": [
        { "name": "route", "match": { "property": [{ "path": ["xds", "route_name"], "exact": "login" }] },
          "limit": { "requests": 1, "per": "1s" } },
        { "name": "client", "key": [{ "client_ip": {} }, { "metadata": ["jwt", "sub"] }],
          "limit": { "requests": 1, "per": "1s" } }] }"#;
    let text = of_document(rules, &["/"]);
    let hints = "\nThe rules also look at what was not described:\n\
                 \x20 --property metadata.filter_metadata.jwt.sub=VALUE\n\
                 \x20 --client-ip ADDRESS\n\
                 \x20 --property xds.route_metadata.filter_metadata.jwt.sub=VALUE\n\
                 \x20 --property xds.route_name=VALUE\n";
    assert!(text.ends_with(hints), "{text}");
    let words = [
        "/",
        "--client-ip=192.0.2.1",
        "--property=metadata.filter_metadata.jwt.sub=a",
        "--property=xds.route_name=login",
    ];
    let text = of_document(rules, &words);
    assert!(!text.contains("not described"), "{text}");
}

#[test]
fn what_cannot_be_explained_says_what_is_expected() {
    let good = repository().join("envoy/envoy.yaml");
    let bad = repository().join("filter/tests/data/config/invalid/per_zero.json");
    let of_request: [(&[&str], &str); 15] = [
        (&["http://[/"], EXPECTED_URL),
        (&["orders"], EXPECTED_URL),
        (&["api.example.com/orders"], EXPECTED_URL),
        (&["/a b"], EXPECTED_URL),
        (&[""], EXPECTED_URL),
        (&["/", "--header=x"], EXPECTED_HEADER),
        (&["/", "--header=: x"], EXPECTED_HEADER),
        (&["/", "--header=:path: /x"], EXPECTED_HEADER),
        (&["/", "--header=a b: c"], EXPECTED_HEADER),
        (&["/", "--header=a: b\r\nc: d"], EXPECTED_HEADER),
        (
            &["/", "--header=host: a", "--header=Host: b"],
            "--header: expected one host, found more",
        ),
        (
            &["/", "--property=x"],
            "--property: expected path=value, such as xds.route_name=login, found \"x\"",
        ),
        (&["/", "--method=get"], EXPECTED_METHOD),
        (&["/", "--method="], EXPECTED_METHOD),
        (
            &["/", "--client-ip=[::1]"],
            "expected an address such as 203.0.113.7 or 2001:db8::7",
        ),
    ];
    for (words, expected) in of_request {
        let error = format!("{:#}", explained(&good, words).unwrap_err());
        assert!(error.contains(expected), "{words:?}: {error}");
    }
    let of_file = [
        (bad, "per_zero.json: error: rules[0].limit.per: expected "),
        (
            PathBuf::from("/no/such/file"),
            "/no/such/file: cannot be read",
        ),
    ];
    for (file, expected) in of_file {
        let error = format!("{:#}", explained(&file, &["/"]).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}

const EXPECTED_URL: &str =
    "expected a URL such as https://api.example.com/, or a path that begins with \"/\", found ";
const EXPECTED_HEADER: &str = "--header: expected 'name: value', found ";
const EXPECTED_METHOD: &str = "--method: expected one in upper case such as \"GET\", found ";

#[test]
fn the_user_and_password_of_a_url_are_not_its_host() {
    let rules = r#"{ "rules": [{ "name": "r", "key": [{ "host": true }],
        "limit": { "requests": 1, "per": "1s" } }] }"#;
    let text = of_document(rules, &["https://user:password@b.test/"]);
    assert!(text.starts_with("GET b.test/\n"), "{text}");
}

#[test]
fn what_was_described_and_no_rule_looked_at_is_named() {
    let rules = r#"{ "rules": [
        { "name": "route", "match": { "property": [{ "path": ["xds", "route_name"], "exact": "login" }] },
          "limit": { "requests": 1, "per": "1s" } }] }"#;
    let words = [
        "/",
        "--property=xds.route_name=login",
        "--property=xds.rout_name=login",
        "--client-ip=192.0.2.1",
    ];
    let text = of_document(rules, &words);
    let unread = "\n\nNo rule looked at --property xds.rout_name, --client-ip.\n";
    assert!(text.ends_with(unread), "{text}");
    let text = of_document(rules, &words[..2]);
    assert!(!text.contains("No rule looked at"), "{text}");
}
