//! The filter's configurations in an Envoy configuration, as the filter is given them.

use prost::Message as _;
use serde_json::Value;

/// The `root_id` of the HTTP filter.
pub const ROOT_ID: &str = "velocitygate";

/// A plugin configuration in an Envoy configuration.
#[derive(Clone, Debug)]
pub struct Plugin<'t> {
    /// Where it is, such as `static_resources.listeners[0].….config`.
    pub place: String,
    /// The message `envoy.extensions.wasm.v3.PluginConfig`.
    pub config: &'t Value,
    /// The settings of the connection manager that it is a filter of, when the file has them.
    pub manager: Option<Message<'t>>,
    /// The one of the manager's `http_filters` that it is in.
    pub filter: Option<Message<'t>>,
    /// The `config_discovery` of the filter, when it has one.
    pub discovery: Option<&'t Value>,
}

/// A message of an Envoy configuration.
#[derive(Clone, Debug)]
pub struct Message<'t> {
    /// Where it is.
    pub place: String,
    /// Its fields.
    pub fields: &'t Value,
}

/// All plugin configurations with this `root_id`, in the order of the tree.
pub fn plugins<'t>(tree: &'t Value, root_id: &str) -> Vec<Plugin<'t>> {
    plugins_of(tree, &|id| id == root_id)
}

/// All plugin configurations with such a `root_id`, in the order of the tree.
pub fn plugins_of<'t>(tree: &'t Value, is_wanted: &dyn Fn(&str) -> bool) -> Vec<Plugin<'t>> {
    let mut found = Vec::new();
    let root = Plugin {
        place: String::new(),
        config: tree,
        manager: None,
        filter: None,
        discovery: None,
    };
    collect(root, is_wanted, &mut found);
    found
}

/// Collects from `here`, which stands for any message on the way as if it were a plugin.
fn collect<'t>(
    mut here: Plugin<'t>,
    is_wanted: &dyn Fn(&str) -> bool,
    found: &mut Vec<Plugin<'t>>,
) {
    let tree = here.config;
    let message = || Message {
        place: here.place.clone(),
        fields: tree,
    };
    if field(tree, "http_filters").is_some() {
        here.manager = Some(message());
    } else if here.manager.as_ref().is_some_and(|it| it.has_filter(tree)) {
        here.filter = Some(message());
    }
    here.discovery = field(tree, "config_discovery").or(here.discovery);
    let inside = |place, config| Plugin {
        place,
        config,
        ..here.clone()
    };
    match tree {
        Value::Object(fields) => {
            for (name, inner) in fields {
                collect(inside(within(&here.place, name), inner), is_wanted, found);
            }
            if field(tree, "root_id")
                .and_then(Value::as_str)
                .is_some_and(is_wanted)
            {
                found.push(here);
            }
        }
        Value::Array(items) => {
            let place = &here.place;
            for (index, inner) in items.iter().enumerate() {
                collect(inside(format!("{place}[{index}]"), inner), is_wanted, found);
            }
        }
        _ => {}
    }
}

/// The place of a field of a message that is at a place.
pub fn within(place: &str, name: &str) -> String {
    let dot = if place.is_empty() { "" } else { "." };
    format!("{place}{dot}{name}")
}

/// Shows a tree that is at a place, and all that is in it, each with its own place, from the outside in.
pub fn each<'t>(place: &str, tree: &'t Value, see: &mut dyn FnMut(&str, &'t Value)) {
    see(place, tree);
    match tree {
        Value::Object(fields) => {
            for (name, inner) in fields {
                each(&within(place, name), inner, see);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                each(&format!("{place}[{index}]"), inner, see);
            }
        }
        _ => {}
    }
}

/// A field of a message by its name in the protobuf file. Envoy also takes `rootId` for `root_id`.
pub fn field<'t>(message: &'t Value, name: &str) -> Option<&'t Value> {
    message.get(name).or_else(|| message.get(camel_case(name)))
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        name + &initial.to_ascii_uppercase() + rest
    })
}

impl Message<'_> {
    /// Whether this is one of the `http_filters` of this connection manager.
    fn has_filter(&self, message: &Value) -> bool {
        let filters = field(self.fields, "http_filters").and_then(Value::as_array);
        let mut filters = filters.into_iter().flatten();
        filters.any(|it| std::ptr::eq(it, message))
    }
}

impl Plugin<'_> {
    /// Whether the filter is `disabled: true`: it runs only where a route turns it on.
    pub fn is_disabled(&self) -> bool {
        let disabled = self
            .filter
            .as_ref()
            .and_then(|it| field(it.fields, "disabled"));
        disabled.is_some_and(|it| it == true)
    }

    /// The bytes that Envoy hands to the filter; the filter says what is wrong with them.
    ///
    /// # Errors
    /// When Envoy would hand over nothing that the filter can read.
    pub fn document(&self) -> Result<Vec<u8>, String> {
        let configuration = field(self.config, "configuration");
        let Some(configuration) = configuration.filter(|it| !it.is_null()) else {
            return Ok(Vec::new());
        };
        let kind = configuration["@type"].as_str().unwrap_or_default();
        let value = &configuration["value"];
        match (kind.rsplit('/').next(), value) {
            (Some("google.protobuf.StringValue"), Value::String(text)) => Ok(text.clone().into()),
            (Some("google.protobuf.StringValue"), _) => {
                Err(format!("expected a string under \"value\", found {value}"))
            }
            (Some("google.protobuf.Struct"), Value::Object(fields)) => {
                Ok(struct_of(fields).encode_to_vec())
            }
            (Some("google.protobuf.Struct"), _) => {
                Err(format!("expected an object under \"value\", found {value}"))
            }
            _ => Err(format!(
                "expected \"@type\" to be google.protobuf.StringValue or google.protobuf.Struct, \
                 found {kind:?}"
            )),
        }
    }
}

fn struct_of(fields: &serde_json::Map<String, Value>) -> prost_types::Struct {
    let fields = fields.iter();
    prost_types::Struct {
        fields: fields
            .map(|(name, value)| (name.clone(), value_of(value)))
            .collect(),
    }
}

fn value_of(value: &Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => Kind::ListValue(prost_types::ListValue {
            values: items.iter().map(value_of).collect(),
        }),
        Value::Object(fields) => Kind::StructValue(struct_of(fields)),
    };
    prost_types::Value { kind: Some(kind) }
}
