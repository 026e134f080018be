//! `chaos explain`: what the filter makes of one request, without an Envoy. The filter's own engine
//! is asked, so that what is said here is what would happen.

mod request;
mod rules;
mod store;

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use velocitygate::config::Config;
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
    for (place, document) in documents(file).with_context(|| file.display().to_string())? {
        let config = Config::parse(&document).with_context(|| match &*place {
            "" => file.display().to_string(),
            place => format!("{}: {place}", file.display()),
        })?;
        if !place.is_empty() {
            text.push_str(&format!("\n{place}\n"));
        }
        text.push_str(&under(Rc::new(config), &Request::new(&request)));
    }
    Ok(text)
}

/// Place and bytes of each configuration in a file.
fn documents(file: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let tree = match Source::read(file)? {
        Source::Own(document) => return Ok(vec![(String::new(), document)]),
        Source::Envoy(tree) => tree,
    };
    let plugins = plugins(&tree, ROOT_ID);
    if plugins.is_empty() {
        bail!("expected a plugin with root_id {ROOT_ID:?}, found none");
    }
    let documents = plugins.into_iter().map(|plugin| {
        let document = plugin.document().map_err(anyhow::Error::msg);
        let document = document.with_context(|| plugin.place.clone())?;
        Ok((plugin.place, document))
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
