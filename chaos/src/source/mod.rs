//! Files that hold the filter's configuration: its own JSON, or an Envoy configuration (a bootstrap,
//! or a file of discovered resources) with the files that this reads in turn.

mod discovery;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::plugin::{ROOT_ID, field, plugins};

/// Most bytes of a file, together with all files that it reads.
pub const BYTES_MAX: u64 = 8 << 20;

/// Fields of which an Envoy configuration has at least one, and the filter's own has none.
const ENVOY_FIELDS: [&str; 7] = [
    "static_resources",
    "dynamic_resources",
    "bootstrap_extensions",
    "stats_config",
    "admin",
    "node",
    "resources",
];

/// What a file is.
#[derive(Debug)]
pub enum Source {
    /// The filter's configuration itself, or something that only the filter can say why it is none.
    Own(Vec<u8>),
    /// An Envoy configuration.
    Envoy(Envoy),
}

/// An Envoy configuration with the files that it reads.
#[derive(Debug)]
pub struct Envoy {
    /// What `config_discovery` reads is beside it, under `config_discovery(path)`.
    pub tree: Value,
    /// What it reads that cannot be looked at from here, each as `place: why: fix`.
    pub unread: Vec<String>,
    /// What it reads that Envoy would refuse, each as `place: why: fix`.
    pub refused: Vec<String>,
}

impl Source {
    /// Reads a file, and the files that it reads.
    ///
    /// # Errors
    /// When it cannot be read, is too long, no text, or meant to be YAML and none that Envoy reads.
    pub fn read(path: &Path) -> Result<Self> {
        let mut left = BYTES_MAX;
        let text = text(path, &mut left)?;
        Ok(match envoy(path, &text)? {
            Some(tree) => Self::Envoy(discovery::follow(tree, left)),
            None => Self::Own(text.into()),
        })
    }
}

/// A file's text, of which at most so many bytes are `left` to read.
fn text(path: &Path, left: &mut u64) -> Result<String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(*left + 1).read_to_end(&mut bytes))
        .context("cannot be read")?;
    let after = left.checked_sub(bytes.len() as u64);
    *left = after.with_context(|| {
        format!("expected at most {BYTES_MAX} bytes, together with all files that it reads")
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let (valid, rest) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        let byte = rest.first().copied().unwrap_or_default();
        anyhow::anyhow!(
            "expected text in UTF-8, found the byte {byte:#04x} in line {line}: save it as UTF-8"
        )
    })
}

/// An Envoy configuration; `None` when the text is for the filter to judge.
fn envoy(path: &Path, text: &str) -> Result<Option<Value>> {
    let is_yaml = is_yaml(path);
    let looks_like_json = text.trim_start().starts_with(['{', '[']);
    ensure!(
        is_yaml || !text.starts_with('\u{feff}'),
        "expected JSON, found a byte order mark before it: save it without one"
    );
    // YAML's reader knows no pairs of surrogates.
    let json = if looks_like_json {
        serde_json::from_str(text).ok()
    } else {
        None
    };
    let tree = json.map_or_else(|| serde_norway::from_str(text), Ok);
    let is_envoy = match &tree {
        Ok(tree) => is_envoy(tree),
        Err(_) => !looks_like_json && has_envoy_lines(text),
    };
    ensure!(
        is_yaml || looks_like_json || !is_envoy,
        "expected JSON, found YAML, which Envoy reads only from *.yaml and *.yml: rename it"
    );
    match tree {
        Ok(tree) if is_envoy => Ok(Some(tree)),
        Ok(tree) if is_yaml && !looks_like_json => bail!(
            "expected an Envoy configuration, or the filter's own as JSON, found {}",
            kind(&tree)
        ),
        Err(error) if is_yaml && !looks_like_json => {
            Err(error).context("expected a YAML document, found an error")
        }
        _ => Ok(None),
    }
}

/// Whether Envoy takes it for YAML, by its ending. What is piped here has none.
fn is_yaml(path: &Path) -> bool {
    let extension = path.extension().map(|it| it.to_ascii_lowercase());
    let is_named = extension.is_some_and(|it| it == "yaml" || it == "yml");
    is_named || path.starts_with("/dev")
}

/// Whether a text that cannot be read as YAML is meant to be an Envoy configuration in it.
fn has_envoy_lines(text: &str) -> bool {
    let mut names = text.lines().filter_map(|line| line.split_once(':'));
    names.any(|(name, _)| ENVOY_FIELDS.contains(&name))
}

fn is_envoy(tree: &Value) -> bool {
    let mut names = ENVOY_FIELDS.iter();
    names.any(|name| field(tree, name).is_some()) || !plugins(tree, ROOT_ID).is_empty()
}

/// What YAML holds, in words.
fn kind(tree: &Value) -> String {
    match tree {
        Value::Null => "nothing".to_owned(),
        Value::Object(fields) => {
            let names: Vec<_> = fields.keys().map(|name| format!("{name:?}")).collect();
            format!("YAML with {}", names.join(", "))
        }
        _ => "YAML that is no mapping".to_owned(),
    }
}
