//! Mistakes for which Envoy refuses a file that it reads while it runs. Only its log tells of that,
//! and what was in force before stays.

use serde_json::Value;

use crate::plugin::{field, within};

/// The type of a resource that is an extension.
const EXTENSION: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";

/// Resources that do not say what they are, each as `place: problem`.
pub(super) fn untyped(tree: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect("", tree, &mut found);
    found
}

fn collect(place: &str, tree: &Value, found: &mut Vec<String>) {
    match tree {
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                collect(&format!("{place}[{index}]"), inner, found);
            }
        }
        Value::Object(fields) => {
            let is_file = place.is_empty() || place.ends_with(')');
            let resources = fields.get("resources").filter(|_| is_file);
            let resources = resources.and_then(Value::as_array);
            for (index, resource) in resources.into_iter().flatten().enumerate() {
                let place = within(place, &format!("resources[{index}]"));
                found.extend(problem(&place, resource));
            }
            for (name, inner) in fields {
                collect(&within(place, name), inner, found);
            }
        }
        _ => {}
    }
}

fn problem(place: &str, resource: &Value) -> Option<String> {
    let extension = field(resource, "typed_config");
    let kind = &resource["@type"];
    if extension.is_some() && kind != EXTENSION {
        let found = kind.as_str().unwrap_or("nothing");
        return Some(format!(
            "{place}.@type: expected {EXTENSION}, found {found}"
        ));
    }
    let (place, kind) = match extension {
        Some(extension) => (within(place, "typed_config"), &extension["@type"]),
        None => (place.to_owned(), kind),
    };
    kind.is_null()
        .then(|| format!("{place}.@type: expected a type, found nothing"))
}
