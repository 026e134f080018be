//! What is said of each configuration in a file, and of the file.

use std::fs;

use super::tests::{explained, of_document};
use crate::tools::repository;

#[test]
fn an_envoy_configuration_is_explained_under_the_place_of_each_plugin() {
    let text = explained(
        &repository().join("envoy/envoy.yaml"),
        &["/", "--header", "x-api-key: a"],
    )
    .unwrap();
    let place = "\n\nstatic_resources.listeners[0].filter_chains[0].filters[0].typed_config.\
                 http_filters[0].typed_config.config\n\nper-key: counts it\n";
    assert!(text.contains(place), "{text}");
    assert!(
        text.contains(" vg:{per-key:a}:tb charge 1 tb 100 60000000 20 1\n"),
        "{text}"
    );
}

#[test]
fn a_filter_that_is_disabled_is_shown_as_off() {
    let file = repository().join("envoy/per-route.yaml");
    let text = explained(&file, &["/"]).unwrap();
    let off = "\noff (disabled: true) but where a route turns it on; there:\n\nlogin: counts it\n";
    assert!(text.contains(off), "{text}");
    let on = explained(&repository().join("envoy/minimal.yaml"), &["/"]).unwrap();
    assert!(!on.contains("off (disabled"), "{on}");
}

#[test]
fn the_problems_of_a_bad_file_are_those_of_check_each_in_a_line() {
    let file = repository().join("filter/tests/data/config/invalid/many_at_once.json");
    let error = format!("{:#}", explained(&file, &["/"]).unwrap_err());
    let (checked, _) = crate::check::check(std::slice::from_ref(&file), false);
    let errors: Vec<_> = checked
        .lines()
        .filter(|it| it.contains(": error: "))
        .collect();
    assert!(errors.len() > 5, "{checked}");
    let refused = format!("{}: refused\n{}", file.display(), errors.join("\n"));
    assert_eq!(error, refused);
}

/// The shipped configuration with its filter read from there.
fn discovering(path: &str) -> tempfile::NamedTempFile {
    let text = fs::read_to_string(repository().join("envoy/reload.yaml")).unwrap();
    let shipped = "path: envoy/reload/velocitygate.yaml";
    assert!(text.contains(shipped));
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    fs::write(file.path(), text.replace(shipped, &format!("path: {path}"))).unwrap();
    file
}

#[test]
fn a_filter_that_is_discovered_is_explained_from_its_file() {
    let path = repository().join("envoy/reload/velocitygate.yaml");
    let path = path.display().to_string();
    let file = discovering(&path);
    let text = explained(file.path(), &["/", "--header=x-api-key: a"]).unwrap();
    let place = format!(".config_discovery({path}).resources[0].typed_config.config\n\nper-key: ");
    assert!(text.contains(&place), "{text}");

    let missing = discovering("/no/such/file");
    let text = explained(missing.path(), &["/"]).unwrap();
    let default = ".config_discovery.default_config.config\n\nfallback: ";
    assert!(text.contains(default), "{text}");
    let read = ".config_discovery: /no/such/file cannot be read: No such file";
    let (_, beyond) = text
        .split_once("The configuration does not end here:\n")
        .unwrap();
    assert!(beyond.contains(read), "{text}");
}

#[test]
fn what_could_not_be_looked_at_is_told_after_what_could() {
    let text = fs::read_to_string(repository().join("envoy/envoy.yaml")).unwrap();
    let mut tree: serde_json::Value = serde_norway::from_str(&text).unwrap();
    tree["dynamic_resources"] = serde_json::json!({ "lds_config": { "ads": {} } });
    let text = of_document(&tree.to_string(), &["/", "--header=x-api-key: a"]);
    let told =
        "\n\nThe configuration does not end here:\n  dynamic_resources.lds_config: it comes from";
    assert!(
        text.contains("\nper-key: counts it\n") && text.contains(told),
        "{text}"
    );
}

#[test]
fn a_path_that_envoy_changes_first_is_noted_under_each_place() {
    let file = repository().join("envoy/envoy.yaml");
    let note = |settings: &str| {
        format!(
            "typed_config.config\nEnvoy changes this path by {settings} before the filter sees it: \
             try it as changed\n\nper-key: "
        )
    };
    let cases = [
        ("http://h//api/../login", "normalize_path and merge_slashes"),
        ("/x/../login?x=1", "normalize_path"),
        ("//login", "merge_slashes"),
    ];
    for (url, settings) in cases {
        let text = explained(&file, &[url]).unwrap();
        assert!(text.contains(&note(settings)), "{text}");
    }
    let text = explained(&file, &["/login?next=//x/../y"]).unwrap();
    assert!(!text.contains("Envoy changes"), "{text}");
}
