//! `chaos explain`: what the filter makes of one request, without an Envoy. The filter's own engine
//! is asked, so that what is said here is what would happen.

mod request;
mod rules;
mod store;
mod untried;

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use velocitygate::config::{Config, Problems};
use velocitygate::matching::Request;

use crate::paths;
use crate::plugin::{ROOT_ID, plugins};
use crate::source::Source;
pub use request::Arguments;

const UNREAD: &str = "The configuration does not end here:";

/// Explains a request, under each of the filter's configurations that the file holds.
///
/// # Errors
/// When the file cannot be read, holds no configuration or one that the filter refuses, or when the
/// request is none.
pub fn explain(arguments: &Arguments) -> Result<String> {
    let file = &arguments.file;
    let request = arguments.described()?;
    let mut text = format!("{request}\n");
    let (documents, unread) = documents(file, &request.target())?;
    for document in documents {
        let config =
            Config::parse(&document.bytes).map_err(|it| refused(file, document.problems(&it)))?;
        text.push_str(&document.head());
        text.push_str(&under(Rc::new(config), &Request::new(&request)));
    }
    text.push_str(&list(UNREAD, &unread));
    let hints = request.hints();
    text.push_str(&list(
        "The rules also look at what was not described:",
        &hints,
    ));
    let unread = request.unread();
    if !unread.is_empty() {
        text.push_str(&format!("\nNo rule looked at {}.\n", unread.join(", ")));
    }
    Ok(text)
}

/// Nothing, or a paragraph with a line for each.
fn list(head: &str, items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    format!("\n{head}\n  {}\n", items.join("\n  "))
}

/// One of the filter's configurations.
struct Document {
    /// Where in the file it is; empty when it is the file.
    place: String,
    disabled: bool,
    /// The settings of Envoy that change the path of the request.
    changing: Vec<&'static str>,
    bytes: Vec<u8>,
}

impl Document {
    fn head(&self) -> String {
        if self.place.is_empty() {
            return String::new();
        }
        let mut head = format!("\n{}\n", self.place);
        if self.disabled {
            head.push_str("off (disabled: true) but where a route turns it on; there:\n");
        }
        if !self.changing.is_empty() {
            let settings = self.changing.join(" and ");
            head.push_str(&format!(
                "Envoy changes this path by {settings} before the filter sees it: try it as changed\n"
            ));
        }
        head
    }

    fn problems(&self, problems: &Problems) -> Vec<String> {
        let place = match &*self.place {
            "" => String::new(),
            place => format!("{place}.configuration: "),
        };
        let lines = problems.lines().map(|line| format!("{place}{line}"));
        lines.collect()
    }
}

/// Each problem in a line, as `chaos check` has them.
fn refused(file: &Path, problems: Vec<String>) -> anyhow::Error {
    let file = file.display();
    let lines = problems.into_iter();
    let lines: String = lines.map(|it| format!("\n{file}: error: {it}")).collect();
    anyhow::Error::msg(format!("{file}: refused{lines}"))
}

/// Each configuration in a file, and what of the file could not be looked at.
fn documents(file: &Path, target: &str) -> Result<(Vec<Document>, Vec<String>)> {
    let source = Source::read(file).with_context(|| file.display().to_string())?;
    let envoy = match source {
        Source::Own(bytes) => {
            let own = Document {
                place: String::new(),
                disabled: false,
                changing: Vec::new(),
                bytes,
            };
            return Ok((vec![own], Vec::new()));
        }
        Source::Envoy(envoy) => envoy,
    };
    if !envoy.refused.is_empty() {
        return Err(refused(file, envoy.refused));
    }
    let plugins = plugins(&envoy.tree, ROOT_ID);
    if plugins.is_empty() {
        let (file, unread) = (file.display(), list(UNREAD, &envoy.unread));
        let expected = format!("expected a plugin with root_id {ROOT_ID:?}, found none");
        bail!("{file}: {expected}{}", unread.trim_end());
    }
    let documents = plugins.into_iter().map(|plugin| {
        let place = format!("{}.configuration", plugin.place);
        let bytes = plugin.document();
        let manager = plugin.manager.as_ref();
        let changing = manager.map(|it| paths::changing(it.fields, target));
        Ok(Document {
            bytes: bytes.map_err(|it| refused(file, vec![format!("{place}: {it}")]))?,
            disabled: plugin.is_disabled(),
            place: plugin.place,
            changing: changing.unwrap_or_default(),
        })
    });
    Ok((documents.collect::<Result<_>>()?, envoy.unread))
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
mod file_tests;
#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod tests;
