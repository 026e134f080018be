use std::fs;

use serde_json::json;

use super::*;
use crate::tools::repository;

const DATA: &str = "filter/tests/data/config";
pub(super) const MANAGER: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
pub(super) const CONFIG: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/\
                      http_filters/0/typed_config/config";
pub(super) const PLACE: &str = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.\
                     http_filters[0].typed_config.config";

pub(super) fn shipped() -> Value {
    let text = fs::read_to_string(repository().join("envoy/envoy.yaml")).unwrap();
    serde_norway::from_str(&text).unwrap()
}

/// What is said of these bytes in a file of this name, without the file's name.
fn said(name: &str, content: &[u8]) -> (String, Exit) {
    judged(name, content, false)
}

fn judged(name: &str, content: &[u8], strict: bool) -> (String, Exit) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, content).unwrap();
    let (text, exit) = check(std::slice::from_ref(&file), strict);
    (text.replace(&format!("{}: ", file.display()), ""), exit)
}

pub(super) fn said_of(tree: &Value) -> (String, Exit) {
    said("envoy.json", tree.to_string().as_bytes())
}

#[test]
fn every_shipped_configuration_is_good() {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut folders = vec![repository().join("envoy")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "yaml" => files.push(path),
                _ => {}
            }
        }
    }
    assert!(!files.is_empty());
    let (text, exit) = check(&files, false);
    assert_eq!(exit, Exit::Success, "{text}");
    let warnings: Vec<_> = text
        .lines()
        .filter(|line| line.contains("warning: "))
        .collect();
    // The smallest that works leaves the labels out, on purpose.
    let [labels] = warnings[..] else {
        panic!("{text}");
    };
    assert!(
        labels.contains("minimal.yaml: warning: stats_config.stats_tags: "),
        "{text}"
    );
}

#[test]
fn the_problems_are_those_that_the_filter_logs_each_in_a_line() {
    let folder = repository().join(DATA).join("invalid");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "json") {
            let expected = fs::read_to_string(path.with_extension("expected")).unwrap();
            let (text, exit) = check(std::slice::from_ref(&path), false);
            assert_eq!(exit, Exit::Usage, "{text}");
            let prefix = format!("{}: error: ", path.display());
            let lines: Vec<_> = text
                .lines()
                .filter_map(|it| it.strip_prefix(&prefix))
                .collect();
            assert_eq!(lines.join("; "), expected.trim_end());
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn a_good_document_is_good_as_a_file_as_a_string_and_as_a_struct() {
    for entry in fs::read_dir(repository().join(DATA).join("valid")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let own: Value = serde_json::from_str(&text).unwrap();
        if own["rules"].as_array().unwrap().is_empty() {
            continue;
        }
        assert_eq!(
            said("own.json", text.as_bytes()).0,
            "ok, 1 configuration\n",
            "{text}"
        );
        let configurations = [
            json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": text }),
            json!({ "@type": "type.googleapis.com/google.protobuf.Struct",
                    "value": own }),
        ];
        for configuration in configurations {
            let tree = json!({ "resources": [{ "typed_config": { "config": {
                "rootId": ROOT_ID, "failurePolicy": "FAIL_RELOAD", "configuration": configuration } } }] });
            let (text, exit) = said_of(&tree);
            assert_eq!((&*text, exit), ("ok, 1 configuration\n", Exit::Success));
        }
    }
}

#[test]
fn every_plugin_is_found_and_its_problems_named_by_its_place() {
    let rule = json!({ "name": "r", "limit": { "requests": 1.5, "per": "1 fortnight" } });
    let mut tree = shipped();
    let mut second = tree.pointer(CONFIG).unwrap().clone();
    second["configuration"] = json!({ "@type": "type.googleapis.com/google.protobuf.Struct",
                                      "value": { "rules": [rule] } });
    tree.pointer_mut(MANAGER).unwrap()["http_filters"][1]["typed_config"]["config"] = second;
    tree.pointer_mut(CONFIG).unwrap()["configuration"]["value"] = json!("{");
    let place = PLACE.replace("http_filters[0]", "http_filters[1]");
    let (text, exit) = said_of(&tree);
    assert_eq!(exit, Exit::Usage);
    assert_eq!(
        text,
        format!(
            "error: {PLACE}.configuration: configuration: expected JSON in a \
             google.protobuf.StringValue, or a google.protobuf.Struct, found an error in the JSON: \
             EOF while parsing an object at line 1 column 1\n\
             error: {place}.configuration: rules[0].limit.requests: expected a whole number from 1 \
             to 1000000000, found 1.5\n\
             error: {place}.configuration: rules[0].limit.per: expected a duration such as \"1s\", \
             found \"1 fortnight\"\n\
             refused, 3 errors\n"
        )
    );
}

#[test]
fn what_is_no_configuration_at_all_is_an_error_that_says_what_is_expected() {
    let bytes =
        json!({ "@type": "type.googleapis.com/google.protobuf.BytesValue", "value": "e30=" });
    let mut tree = shipped();
    tree.pointer_mut(CONFIG).unwrap()["configuration"] = bytes;
    let none = json!({ "static_resources": {} });
    let cases = [
        ("a.yaml", b"a: [".to_vec(), "error: is no YAML: "),
        (
            "a.json",
            b"[".to_vec(),
            "error: configuration: expected JSON in a ",
        ),
        ("a.json", Vec::new(), "found nothing\n"),
        (
            "a.yaml",
            none.to_string().into(),
            "error: expected a plugin with root_id \"velocitygate\"",
        ),
        (
            "a.yaml",
            tree.to_string().into(),
            "google.protobuf.Struct, found \"type.googleapis.com/goo",
        ),
    ];
    for (name, content, expected) in cases {
        let (text, exit) = said(name, &content);
        assert_eq!(exit, Exit::Usage, "{text}");
        assert!(text.contains(expected), "{text}");
    }
    let (text, exit) = check(&[PathBuf::from("/no/such/file")], false);
    assert_eq!(exit, Exit::Usage);
    assert!(text.contains("cannot be read: No such file"), "{text}");
}

#[test]
fn a_filter_that_is_discovered_is_checked_in_its_own_file() {
    let mut tree = shipped();
    let filter = &mut tree.pointer_mut(MANAGER).unwrap()["http_filters"][0];
    *filter = json!({ "name": "velocitygate", "config_discovery": { "config_source": {
        "path_config_source": { "path": "rules.yaml" } } } });
    let (text, exit) = said_of(&tree);
    assert_eq!(exit, Exit::Success);
    assert_eq!(
        text,
        "ok, 0 configurations; config_discovery reads rules.yaml: check that file too\n"
    );
}

#[test]
fn a_configuration_that_limits_nothing_is_a_warning() {
    let (text, exit) = said("own.json", br#"{"rules": []}"#);
    let none = "rules: there are none, so nothing is limited: add one\n";
    let expected = format!("warning: {none}ok, 1 configuration, 1 warning\n");
    assert_eq!((text, exit), (expected, Exit::Success));
    let mut tree = shipped();
    tree.pointer_mut(CONFIG).unwrap()["configuration"]["value"] = json!(r#"{"rules": []}"#);
    let (text, _) = said_of(&tree);
    assert!(
        text.starts_with(&format!("warning: {PLACE}.configuration: {none}")),
        "{text}"
    );
}

#[test]
fn warnings_count_when_it_is_strict() {
    let content = br#"{"rules": []}"#;
    let (text, exit) = judged("own.json", content, true);
    assert_eq!(exit, Exit::Usage);
    assert!(text.ends_with("\nrefused, 1 warning\n"), "{text}");
    assert_eq!(judged("own.json", content, false).1, Exit::Success);
    let (text, exit) = judged("envoy.json", shipped().to_string().as_bytes(), true);
    assert_eq!((&*text, exit), ("ok, 1 configuration\n", Exit::Success));
}
