//! `chaos explain`: what the filter makes of one request, without an Envoy. The filter's own engine
//! is asked, so that what is said here is what would happen.

mod request;
mod rules;
mod store;

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use velocitygate::config::{Config, Problems};
use velocitygate::matching::Request;

use crate::plugin::{ROOT_ID, Source, plugins};
pub use request::Arguments;

/// Explains a request, under each of the filter's configurations that the file holds.
///
/// # Errors
/// When the file cannot be read, holds no configuration or one that the filter refuses, or when the
/// request is none.
pub fn explain(arguments: &Arguments) -> Result<String> {
    let file = &arguments.file;
    let request = arguments.described()?;
    let mut text = format!("{request}\n");
    for document in documents(file).with_context(|| file.display().to_string())? {
        let config =
            Config::parse(&document.bytes).map_err(|problems| document.refused(file, &problems))?;
        text.push_str(&document.head());
        text.push_str(&under(Rc::new(config), &Request::new(&request)));
    }
    let hints = request.hints();
    if !hints.is_empty() {
        text.push_str("\nThe rules also look at what was not described:\n");
        let lines = hints.iter().map(|hint| format!("  {hint}\n"));
        text.extend(lines);
    }
    Ok(text)
}

/// One of the filter's configurations.
struct Document {
    /// Where in the file it is; empty when it is the file.
    place: String,
    disabled: bool,
    bytes: Vec<u8>,
}

impl Document {
    fn head(&self) -> String {
        let place = &self.place;
        match (place.is_empty(), self.disabled) {
            (true, _) => String::new(),
            (_, false) => format!("\n{place}\n"),
            (_, true) => {
                format!("\n{place}\noff (disabled: true) but where a route turns it on; there:\n")
            }
        }
    }

    /// Each problem in a line, as `chaos check` has them.
    fn refused(&self, file: &Path, problems: &Problems) -> anyhow::Error {
        let file = file.display();
        let place = match &*self.place {
            "" => String::new(),
            place => format!("{place}.configuration: "),
        };
        let mut text = format!("{file}: refused");
        for line in problems.lines() {
            text.push_str(&format!("\n{file}: error: {place}{line}"));
        }
        anyhow::Error::msg(text)
    }
}

/// Each configuration in a file.
fn documents(file: &Path) -> Result<Vec<Document>> {
    let tree = match Source::read(file)? {
        Source::Own(bytes) => {
            return Ok(vec![Document {
                place: String::new(),
                disabled: false,
                bytes,
            }]);
        }
        Source::Envoy(tree) => tree,
    };
    let plugins = plugins(&tree, ROOT_ID);
    if plugins.is_empty() {
        bail!("expected a plugin with root_id {ROOT_ID:?}, found none");
    }
    let documents = plugins.into_iter().map(|plugin| {
        let bytes = plugin.document().map_err(anyhow::Error::msg);
        Ok(Document {
            bytes: bytes.with_context(|| plugin.place.clone())?,
            place: plugin.place,
            disabled: plugin.disabled,
        })
    });
    documents.collect()
}

fn under(config: Rc<Config>, request: &Request<'_>) -> String {
    let mut text = String::new();
    for line in rules::explain(&config, request) {
        text.push_str(&format!("\n{line}\n"));
    }
    text.push_str(&format!("\n{}", store::explain(&config, request)));
    text
}

#[cfg(test)]
mod tests;
