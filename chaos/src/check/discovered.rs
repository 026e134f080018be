//! Mistakes for which Envoy refuses a file that it reads while it runs. Only its log tells of that,
//! and what was in force before stays.

use serde_json::Value;

use crate::plugin::{each, field, within};

/// The type of a resource that is an extension.
const EXTENSION: &str = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";

/// Resources that do not say what they are, each as `place: problem`.
pub(super) fn untyped(tree: &Value) -> Vec<String> {
    let mut found = Vec::new();
    each("", tree, &mut |place, message| {
        let is_file = place.is_empty() || place.ends_with(')');
        let resources = message.get("resources").filter(|_| is_file);
        let resources = resources.and_then(Value::as_array).into_iter().flatten();
        found.extend(resources.enumerate().filter_map(|(index, resource)| {
            problem(&within(place, &format!("resources[{index}]")), resource)
        }));
    });
    found
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
