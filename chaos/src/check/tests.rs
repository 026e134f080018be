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
pub(super) fn said(name: &str, content: &[u8]) -> (String, Exit) {
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
            let tree = resource(json!({ "rootId": ROOT_ID, "failurePolicy": "FAIL_RELOAD",
                                        "configuration": configuration }));
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
        (
            "a.yaml",
            b"a: [".to_vec(),
            "error: expected a YAML document, found an error: ",
        ),
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

/// A file with a plugin in it, as `config_discovery` reads it.
pub(super) fn resource(plugin: Value) -> Value {
    let filter = json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                         "config": plugin });
    json!({ "resources": [{
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": "velocitygate", "typed_config": filter }] })
}

/// The shipped configuration, whose filter is read from a file.
fn discovering(file: &Path) -> Value {
    let mut tree = shipped();
    tree.pointer_mut(MANAGER).unwrap()["http_filters"][0] = json!({ "name": "velocitygate",
        "config_discovery": { "default_config": {},
            "config_source": { "path_config_source": { "path": file } } } });
    tree
}

#[test]
fn a_filter_that_is_discovered_is_checked_with_what_is_around_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("filter.json");
    let tree = shipped();
    let config = tree.pointer(CONFIG).unwrap();
    let mut read = resource(config.clone());
    let mut write = |document: &str| {
        read["resources"][0]["typed_config"]["config"]["configuration"]["value"] = json!(document);
        fs::write(&file, read.to_string()).unwrap();
    };
    let rule = r#""rules": [{ "name": "r", "limit": { "requests": 1, "per": "1s" } }]"#;
    write(&format!("{{ {rule} }}"));
    let (text, exit) = said_of(&discovering(&file));
    assert_eq!((&*text, exit), ("ok, 1 configuration\n", Exit::Success));

    write(&format!(r#"{{ "redis": {{ "cluster": "b" }}, {rule} }}"#));
    let mut tree = discovering(&file);
    drop(tree.pointer_mut(MANAGER).unwrap()["stream_idle_timeout"].take());
    let (text, _) = said_of(&tree);
    let manager = PLACE.split(".http_filters").next().unwrap();
    let idle = format!("warning: {manager}.stream_idle_timeout: ");
    assert!(text.contains(&idle), "{text}");
    assert!(text.contains("there is no cluster \"b\""), "{text}");

    write(r#"{ "rules": 1 }"#);
    let (text, exit) = said_of(&discovering(&file));
    assert_eq!(exit, Exit::Usage);
    let place = format!(
        "error: {manager}.http_filters[0].config_discovery({}).resources[0].typed_config.config\
         .configuration: rules: expected ",
        file.display()
    );
    assert!(text.starts_with(&place), "{text}");
}

#[test]
fn a_file_that_cannot_be_looked_at_from_here_is_a_warning_and_no_missing_filter() {
    let (text, exit) = said_of(&discovering(Path::new("/no/such/rules.yaml")));
    assert_eq!(exit, Exit::Success);
    let place = PLACE.split(".typed_config.config").next().unwrap();
    let expected = "config_discovery: /no/such/rules.yaml cannot be read: No such file";
    assert!(
        text.starts_with(&format!("warning: {place}.{expected}")),
        "{text}"
    );
    assert!(
        text.ends_with("\nok, 0 configurations, 1 warning\n"),
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

/// The others are right, so nothing else tells of it.
#[test]
fn a_plugin_of_the_module_with_another_root_id_is_an_error() {
    let mut tree = shipped();
    let mut second = tree.pointer(MANAGER).unwrap()["http_filters"][0].clone();
    second["typed_config"]["config"]["root_id"] = json!("velocity");
    let filters = tree.pointer_mut(MANAGER).unwrap()["http_filters"].as_array_mut();
    filters.unwrap().insert(1, second);
    let (text, exit) = said_of(&tree);
    assert_eq!(exit, Exit::Usage, "{text}");
    let expected = ".http_filters[1].typed_config.config.root_id: expected \"velocitygate\", or \
                    \"velocitygate_redis\" for the bridge, found \"velocity\"\n";
    assert!(text.contains(expected), "{text}");
}

/// Such a filter is in no `http_filters`, and is an HTTP filter.
#[test]
fn a_filter_of_upgraded_requests_is_in_its_place() {
    let mut tree = shipped();
    let manager = tree.pointer_mut(MANAGER).unwrap();
    let filter = manager["http_filters"][0].clone();
    manager["upgrade_configs"] = json!([{ "upgrade_type": "websocket", "filters": [filter] }]);
    assert_eq!(said_of(&tree).0, "ok, 2 configurations\n");
}

/// Each starts on Envoy, and crashes on the first request or connection.
#[test]
fn a_role_in_the_place_of_the_other_is_an_error() {
    let bridge = "/static_resources/listeners/1/filter_chains/0/filters/0/typed_config/config";
    let mut swapped = shipped();
    swapped.pointer_mut(CONFIG).unwrap()["root_id"] = json!("velocitygate_redis");
    let mut same = shipped();
    let config = same.pointer(CONFIG).unwrap()["configuration"].clone();
    same.pointer_mut(bridge).unwrap()["configuration"] = config;
    same.pointer_mut(bridge).unwrap()["root_id"] = json!("velocitygate");
    let cases = [
        (
            swapped,
            "http_filters[0].typed_config.config.root_id: expected \"velocitygate\" for an HTTP \
             filter, found \"velocitygate_redis\"\n",
        ),
        (
            same,
            "error: static_resources.listeners[1].filter_chains[0].filters[0].typed_config.config\
             .root_id: expected \"velocitygate_redis\" for a network filter, found \"velocitygate\"\n",
        ),
    ];
    for (tree, expected) in cases {
        let (text, exit) = said_of(&tree);
        assert_eq!(exit, Exit::Usage, "{text}");
        assert!(text.contains(expected), "{text}");
    }
}
