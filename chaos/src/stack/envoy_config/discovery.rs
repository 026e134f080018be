//! A filter that Envoy discovers from a file, and reads again when that file is replaced.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Settings, at, patch_plugin, set_plugin};
use crate::tools::repository;

/// The discovered filter's file in a run's folder.
pub const FILE: &str = "velocitygate.json";

/// Copies the file that `filter` is discovered from into the run's folder, with this run's module
/// and configuration, and points the filter there; gives its default this module, too.
pub(super) fn adapt(filter: &mut Value, module: &Path, settings: &Settings<'_>) -> Result<()> {
    if let Some(default) = filter.pointer_mut("/config_discovery/default_config") {
        // It takes this run's settings, and keeps the rules by which it is known.
        let mut plugin = settings.plugin.clone();
        plugin.as_object_mut().map(|fields| fields.remove("rules"));
        set_plugin(default, module, &plugin).context("in default_config")?;
    }
    let source = at(filter, "/config_discovery/config_source/path_config_source")?;
    let path = source["path"].as_str().context("path is no string")?;
    let path = repository().join(path);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let mut response: Value = serde_norway::from_str(&text)?;
    set_plugin(resource(&mut response)?, module, settings.plugin)
        .with_context(|| format!("in {}", path.display()))?;
    let file = settings.files.join(FILE);
    publish(&file, &response)?;
    source["path"] = json!(file);
    source["watched_directory"] = json!({ "path": settings.files });
    Ok(())
}

/// Patches the plugin's configuration in the run's folder `dir` (RFC 7396). Envoy takes it up some
/// time later, or refuses it.
///
/// # Errors
/// When the filter of this run is not a discovered one, or the disk fails.
pub fn update(dir: &Path, patch: &Value) -> Result<()> {
    let file = dir.join(FILE);
    let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut response: Value = serde_json::from_slice(&text)?;
    patch_plugin(resource(&mut response)?, patch)?;
    publish(&file, &response)
}

fn resource(response: &mut Value) -> Result<&mut Value> {
    at(response, "/resources/0/typed_config")
}

/// In one step, as Envoy would read a half-written file.
fn publish(file: &Path, response: &Value) -> Result<()> {
    let next = file.with_extension("next");
    std::fs::write(&next, response.to_string())
        .and_then(|()| std::fs::rename(&next, file))
        .with_context(|| format!("cannot write {}", file.display()))
}
