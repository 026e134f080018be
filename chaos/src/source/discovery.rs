//! Files from which Envoy reads more of its configuration while it runs.

use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{Envoy, envoy, text};
use crate::plugin::{field, within};

/// Where a filter comes from, and where listeners do.
const FIELDS: [&str; 2] = [FILTER, "lds_config"];
const FILTER: &str = "config_discovery";
/// Most files that lead to each other: one of listeners, that of a filter of theirs, and that of one
/// which this is made of.
const STEPS_MAX: usize = 3;

/// A file that Envoy may read and that is not looked at.
#[derive(Debug)]
struct Unread(String);

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unread {}

/// Puts the files that a tree reads into it, each beside the field that names it.
pub(super) fn follow(mut tree: Value, bytes_left: u64) -> Envoy {
    let mut reader = Reader {
        bytes_left,
        unread: Vec::new(),
        refused: Vec::new(),
    };
    reader.follow(&mut tree, "", STEPS_MAX);
    Envoy {
        tree,
        unread: reader.unread,
        refused: reader.refused,
    }
}

struct Reader {
    bytes_left: u64,
    unread: Vec<String>,
    refused: Vec<String>,
}

impl Reader {
    fn follow(&mut self, tree: &mut Value, place: &str, steps: usize) {
        match tree {
            Value::Array(items) => {
                for (index, inner) in items.iter_mut().enumerate() {
                    self.follow(inner, &format!("{place}[{index}]"), steps);
                }
            }
            Value::Object(fields) => {
                for (name, inner) in fields.iter_mut() {
                    self.follow(inner, &within(place, name), steps);
                }
                for name in FIELDS {
                    self.insert(tree, name, &within(place, name), steps);
                }
            }
            _ => {}
        }
    }

    fn insert(&mut self, message: &mut Value, name: &str, place: &str, steps: usize) {
        let Some(source) = field(message, name).filter(|it| may_be_wasm(it)) else {
            return;
        };
        let Some(path) = path(source).map(str::to_owned) else {
            self.unread.push(format!(
                "{place}: it comes from a server, so it was not looked at: check what that sends"
            ));
            return;
        };
        match self.read(&path, &format!("{place}({path})"), steps) {
            Ok(found) => {
                let filter = &message["name"];
                if name == FILTER && !is_one_named(&found, filter) {
                    self.refused.push(format!(
                        "{place}: expected {path} to hold one resource, of the filter's name: \
                         {filter}"
                    ));
                }
                message[format!("{name}({path})")] = found;
            }
            Err(error) if error.is::<io::Error>() => self.unread.push(format!(
                "{place}: {path} {error:#}, so it was not looked at: paths go from where Envoy \
                 starts, so run this there, or on that file"
            )),
            Err(error) if error.is::<Unread>() => self
                .unread
                .push(format!("{place}({path}): {error}, so it was not looked at")),
            Err(error) => self.refused.push(format!("{place}({path}): {error:#}")),
        }
    }

    fn read(&mut self, path: &str, place: &str, steps: usize) -> Result<Value> {
        let Some(steps) = steps.checked_sub(1) else {
            bail!(Unread(format!("{STEPS_MAX} files lead to it already")));
        };
        let path = Path::new(path);
        if path
            .extension()
            .is_some_and(|it| it == "pb" || it == "pb_text")
        {
            bail!(Unread(
                "it is a protobuf message, not JSON or YAML".to_owned()
            ));
        }
        let text = text(path, &mut self.bytes_left)?;
        let Some(mut tree) = envoy(path, &text)? else {
            serde_json::from_str::<IgnoredAny>(&text).context("expected JSON, found an error")?;
            bail!("expected a file of resources, found none in it");
        };
        self.follow(&mut tree, place, steps);
        Ok(tree)
    }
}

/// Whether what comes from there may be a wasm filter: Envoy asks for types by name.
fn may_be_wasm(source: &Value) -> bool {
    let types = field(source, "type_urls").and_then(Value::as_array);
    types.is_none_or(|types| {
        let mut names = types.iter().filter_map(Value::as_str);
        names.any(|name| name.ends_with(".wasm.v3.Wasm"))
    })
}

/// The file that a source names; `None` when it is a server.
fn path(source: &Value) -> Option<&str> {
    let source = field(source, "config_source").unwrap_or(source);
    let file = field(source, "path_config_source").unwrap_or(source);
    field(file, "path")?.as_str()
}

fn is_one_named(tree: &Value, name: &Value) -> bool {
    let resources = field(tree, "resources").and_then(Value::as_array);
    matches!(resources.map(Vec::as_slice), Some([one]) if one["name"] == *name)
}
