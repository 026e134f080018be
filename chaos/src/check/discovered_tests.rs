//! Files that Envoy would refuse while it runs.

use serde_json::{Value, json};

use super::tests::{CONFIG, resource, said_of, shipped};
use crate::exit::Exit;

/// Envoy says so in its log alone, and `--mode validate` does not look there.
#[test]
fn a_resource_that_does_not_say_what_it_is_is_an_error() {
    let extension = "@type: expected type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
    let cases: [(&str, Value, String); 3] = [
        (
            "/resources/0",
            json!(null),
            format!("error: resources[0].{extension}, found nothing\n"),
        ),
        (
            "/resources/0",
            json!("type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"),
            format!("error: resources[0].{extension}, found type.googleapis.com/envoy.ext"),
        ),
        (
            "/resources/0/typed_config",
            json!(null),
            "error: resources[0].typed_config.@type: expected a type, found nothing\n".to_owned(),
        ),
    ];
    let plugin = shipped().pointer(CONFIG).unwrap().clone();
    for (place, kind, expected) in cases {
        let mut tree = resource(plugin.clone());
        tree.pointer_mut(place).unwrap()["@type"] = kind;
        let (text, exit) = said_of(&tree);
        assert_eq!(exit, Exit::Usage, "{text}");
        assert!(text.starts_with(&expected), "{text}");
    }
    let mut tree = shipped();
    tree["node"] = json!({ "metadata": { "resources": [{ "cpu": 1 }] } });
    assert_eq!(said_of(&tree).0, "ok, 1 configuration\n");
    let listener = json!({ "name": "front", "address": {} });
    let (text, _) = said_of(&json!({ "resources": [listener] }));
    let expected = "resources[0].@type: expected a type, found nothing\n";
    assert!(text.contains(expected), "{text}");
}
