//! Rules of one name in the example that has several filters.

use std::fs;

use super::tests::{PLACE, said};
use crate::exit::Exit;
use crate::tools::repository;

/// An example with this done to the text of its rules.
fn example(name: &str, from: &str, to: &str) -> (String, Exit) {
    let text = fs::read_to_string(repository().join("envoy").join(name)).unwrap();
    assert!(text.contains(from), "{name}");
    said("envoy.yaml", text.replace(from, to).as_bytes())
}

#[test]
fn rules_of_two_filters_with_one_name_and_not_one_limit_are_a_warning() {
    let (text, exit) = example("per-route.yaml", "\"upload\", \"key\"", "\"api\", \"key\"");
    assert_eq!(exit, Exit::Success);
    let filters = PLACE.split("[0].typed_config.config").next().unwrap();
    assert_eq!(
        text,
        format!(
            "warning: {filters}[2].typed_config.config.configuration: rule \"api\" has the counters of \
             one with its name, but another key or limit, in {filters}[1]: give it a name of its own\n\
             ok, 3 configurations, 1 warning\n"
        )
    );
    let (login, api) = ("{ \"name\": \"login\"", "{ \"name\": \"api\"");
    let (text, _) = example("per-route.yaml", login, api);
    assert!(text.contains("rule \"api\" has the counters of"), "{text}");
}

#[test]
fn rules_of_one_name_that_mix_nothing_are_no_mistake() {
    let same = r#""upload", "key": [{ "header": "x-api-key" }], "limit": { "requests": 2"#;
    let cases = [
        // The same limit, wherever requests come in.
        (same, same.replace("upload", "api").replace('2', "10")),
        // Another algorithm has other counters.
        (
            same,
            same.replace("upload", "api").replace(
                "\"requests\"",
                "\"algorithm\": \"sliding_window\", \"requests\"",
            ),
        ),
        (
            r#"{ "rules": [{ "name": "upload""#,
            r#"{ "redis": { "key_prefix": "u" }, "rules": [{ "name": "api""#.to_owned(),
        ),
    ];
    for (from, to) in cases {
        let (text, _) = example("per-route.yaml", from, &to);
        assert_eq!(text, "ok, 3 configurations\n", "{to}");
    }
}

/// A way of its own to another Redis, of which nothing else is said here.
#[test]
fn rules_of_two_stores_have_counters_of_their_own() {
    let own = r#"{ "rules": [{ "name": "upload""#;
    let other = r#"{ "redis": { "cluster": "b" }, "rules": [{ "name": "api""#;
    let (text, _) = example("per-route.yaml", own, other);
    assert!(!text.contains("has the counters of"), "{text}");
}
