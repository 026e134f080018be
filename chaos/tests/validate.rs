//! `envoy --mode validate`: the cheapest way to try a configuration is the real configure step of
//! the real module in the real Envoy. What it refuses it names, and exits with 1.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use velocitygate_chaos::stack::envoy_config::{self, Settings, discovery, http_filter};
use velocitygate_chaos::stack::{MODULE, Ports, Wiring, ports};
use velocitygate_chaos::tools::{Tools, repository};

/// Where the filter's own tests keep good and bad configurations.
const FILES: &str = "filter/tests/data/config";

/// The shipped configuration, with this module.
fn shipped() -> Value {
    adapted("envoy/envoy.yaml", Path::new(""))
}

/// An example with this module, whose discovered filter is in the folder `files`.
fn adapted(example: &str, files: &Path) -> Value {
    let port = || ports::free().unwrap();
    let settings = Settings {
        ports: Ports {
            front: port(),
            metrics: port(),
            admin: port(),
        },
        store: &[port()],
        upstream: port(),
        module: Some(&repository().join(MODULE)),
        plugin: &json!({}),
        wiring: Wiring::RedisProxy,
        files,
    };
    let source = repository().join(example);
    envoy_config::adapt(&source, &settings).unwrap().0
}

/// The shipped configuration with another plugin configuration, of any protobuf type.
fn with_configuration(configuration: Value) -> Value {
    let mut tree = shipped();
    let filter = http_filter(&mut tree).unwrap();
    filter["typed_config"]["config"]["configuration"] = configuration;
    tree
}

fn string_value(text: &str) -> Value {
    json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": text })
}

fn a_struct(value: Value) -> Value {
    json!({ "@type": "type.googleapis.com/google.protobuf.Struct", "value": value })
}

/// Exit code, and everything Envoy said.
fn validate(envoy: &Path, tree: &Value) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("envoy.json");
    std::fs::write(&path, tree.to_string()).unwrap();
    let output = Command::new(envoy)
        .args(["--mode", "validate", "--config-path"])
        .arg(&path)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn newest() -> PathBuf {
    Tools::find().unwrap().envoy().unwrap()
}

fn assert_valid(envoy: &Path, tree: &Value, what: &str) {
    let (code, said) = validate(envoy, tree);
    assert_eq!(code, Some(0), "{what}: {said}");
}

fn assert_refused(tree: &Value, line: &str) {
    let (code, said) = validate(&newest(), tree);
    assert_eq!(code, Some(1), "{line}: {said}");
    assert!(said.contains(line), "expected {line} in {said}");
}

#[test]
fn the_shipped_configuration_is_valid_on_both_ends_of_envoy() {
    let tools = Tools::find().unwrap();
    for envoy in [tools.envoy().unwrap(), tools.envoy_oldest().unwrap()] {
        assert_valid(&envoy, &shipped(), "the shipped configuration");
    }
}

#[test]
fn the_examples_that_need_nothing_else_are_valid_as_they_are_on_both_ends_of_envoy() {
    let tools = Tools::find().unwrap();
    for envoy in [tools.envoy().unwrap(), tools.envoy_oldest().unwrap()] {
        for name in ["envoy", "minimal", "per-route", "reload"] {
            let example = format!("envoy/{name}.yaml");
            let output = Command::new(&envoy)
                .args(["--mode", "validate", "--config-path", &example])
                .current_dir(repository())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{example}: {said}");
        }
    }
}

/// So a discovered file needs a look of its own, and a default to fall back on.
#[test]
fn the_default_of_a_discovered_filter_is_looked_at_and_its_file_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let mut tree = adapted("envoy/reload.yaml", folder.path());
    std::fs::write(folder.path().join(discovery::FILE), "}{").unwrap();
    let tools = Tools::find().unwrap();
    for envoy in [tools.envoy().unwrap(), tools.envoy_oldest().unwrap()] {
        assert_valid(&envoy, &tree, "a bad file");
    }
    let manager = envoy_config::connection_manager(&mut tree).unwrap();
    let default = &mut manager["http_filters"][0]["config_discovery"]["default_config"];
    default["config"]["configuration"] = string_value("{}");
    assert_refused(&tree, "configuration refused: rules: ");
}

#[test]
fn every_valid_plugin_configuration_is_accepted() {
    let folder = repository().join(FILES).join("valid");
    let files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.len() >= 3);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let tree = with_configuration(string_value(&text));
        assert_valid(&newest(), &tree, &path.display().to_string());
    }
}

#[test]
fn every_problem_of_a_refused_plugin_configuration_is_in_one_line() {
    for mistake in [
        "many_at_once",
        "per_fortnight",
        "unknown_top_level",
        "truncated",
    ] {
        let path = repository().join(FILES).join("invalid").join(mistake);
        let text = std::fs::read_to_string(path.with_extension("json")).unwrap();
        let problems = std::fs::read_to_string(path.with_extension("expected")).unwrap();
        let line = format!("configuration refused: {}", problems.trim_end());
        assert_refused(&with_configuration(string_value(&text)), &line);
    }
}

#[test]
fn an_empty_or_absent_plugin_configuration_is_refused() {
    let line = "configuration refused: configuration: expected JSON in a \
                google.protobuf.StringValue, or a google.protobuf.Struct, found nothing";
    assert_refused(&with_configuration(string_value("")), line);
    assert_refused(&with_configuration(Value::Null), line);
}

#[test]
fn a_struct_as_envoy_serialises_it_is_accepted() {
    // The filter's own tests read all of the files as Structs.
    for name in ["contract_example", "every_match", "overrides"] {
        let path = repository().join(FILES).join("valid").join(name);
        let text = std::fs::read_to_string(path.with_extension("json")).unwrap();
        let tree = with_configuration(a_struct(serde_json::from_str(&text).unwrap()));
        assert_valid(&newest(), &tree, name);
    }
}

#[test]
fn the_problems_of_a_struct_have_the_paths_of_json() {
    let rule = json!({ "name": "r", "limit": { "requests": 1.5, "per": "1 fortnight" } });
    assert_refused(
        &with_configuration(a_struct(json!({ "rules": [rule] }))),
        "configuration refused: rules[0].limit.requests: expected a whole number from 1 to \
         1000000000, found 1.5; rules[0].limit.per: expected a duration such as \"1s\", found \
         \"1 fortnight\"",
    );
}

#[test]
fn a_root_id_that_means_nothing_is_refused_with_those_that_do() {
    for root_id in ["velocity_gate", ""] {
        let mut tree = shipped();
        http_filter(&mut tree).unwrap()["typed_config"]["config"]["root_id"] = json!(root_id);
        assert_refused(
            &tree,
            &format!(
                "root_id: expected \"velocitygate\" (HTTP filter) or \"velocitygate_redis\" \
                 (network filter in front of Redis), found {root_id:?}"
            ),
        );
    }
}

#[test]
fn i9_no_configuration_makes_the_module_trap() {
    let deep = "[".repeat(100_000);
    let configurations = [
        string_value(&deep),
        string_value("{\"rules\":[{\"name\":\"\\ud800\"}]}"),
        string_value("\u{0}\u{1}\u{2}"),
        string_value("{\"rules\": 1e999}"),
        json!({ "@type": "type.googleapis.com/google.protobuf.BytesValue", "value": "/////w==" }),
    ];
    for configuration in configurations {
        let (code, said) = validate(&newest(), &with_configuration(configuration));
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("configuration refused: "), "{said}");
        assert!(!said.contains("RuntimeError"), "{said}");
    }
}
