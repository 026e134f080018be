//! `chaos check`: what is wrong with configurations, without an Envoy. The filter's own parser
//! judges its part; `wiring` knows the mistakes around it that a file can show.

mod counters;
mod discovered;
mod inside;
mod login;
mod names;
mod routes;
mod sharded;
mod store;
mod wiring;

use std::path::{Path, PathBuf};

use serde_json::Value;
use velocitygate::config::Config;

use crate::exit::Exit;
use crate::plugin::{Plugin, ROOT_ID, plugins};
use crate::source::Source;
use crate::words::counted;

/// What was found in one file.
#[derive(Debug, Default)]
struct Findings {
    /// Each as `place: problem`: Envoy or the filter would refuse the configuration, or crash on it.
    errors: Vec<String>,
    /// Each as `place: mistake: fix`: it would run, but not as it should.
    warnings: Vec<String>,
    /// Filter configurations that were looked at.
    checked: usize,
}

/// Checks files. The text has a line for each problem and one for each file; any error in any file
/// makes it [`Exit::Usage`], and so does any warning when it is `strict`.
pub fn check(files: &[PathBuf], strict: bool) -> (String, Exit) {
    let mut text = String::new();
    let mut exit = Exit::Success;
    for file in files {
        let findings = Findings::of(file);
        let refused = !findings.errors.is_empty() || strict && !findings.warnings.is_empty();
        if refused {
            exit = Exit::Usage;
        }
        let file = file.display();
        for error in &findings.errors {
            text.push_str(&format!("{file}: error: {error}\n"));
        }
        for warning in &findings.warnings {
            text.push_str(&format!("{file}: warning: {warning}\n"));
        }
        text.push_str(&format!("{file}: {}\n", findings.summary(refused)));
    }
    (text, exit)
}

impl Findings {
    fn of(file: &Path) -> Self {
        let mut findings = Self::default();
        match Source::read(file) {
            Err(error) => findings.errors.push(format!("{error:#}")),
            Ok(Source::Own(document)) => {
                findings.judge("", &document);
            }
            Ok(Source::Envoy(envoy)) => {
                findings.warnings = envoy.unread;
                findings.errors = envoy.refused;
                findings.look_through(&envoy.tree);
            }
        }
        findings
    }

    /// The verdict and the counts, in one line.
    fn summary(&self, refused: bool) -> String {
        let verdict = if refused {
            "refused".to_owned()
        } else {
            format!("ok, {}", counted(self.checked, "configuration"))
        };
        let counts = [
            (self.errors.len(), "error"),
            (self.warnings.len(), "warning"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        counts.fold(verdict, |text, (count, noun)| {
            format!("{text}, {}", counted(count, noun))
        })
    }

    fn look_through(&mut self, tree: &Value) {
        let plugins = plugins(tree, ROOT_ID);
        // What was not looked at, and is told of already, may hold one.
        if plugins.is_empty() && self.warnings.is_empty() && self.errors.is_empty() {
            self.errors.push(format!(
                "expected a plugin with root_id {ROOT_ID:?}, found none"
            ));
        }
        self.errors.extend(wiring::strangers(tree));
        self.errors.extend(wiring::misplaced(tree));
        self.errors.extend(discovered::untyped(tree));
        let mut judged = Vec::new();
        for plugin in &plugins {
            let config = self.judge_plugin(plugin);
            for warning in wiring::warnings(tree, plugin, config.as_ref()) {
                if !self.warnings.contains(&warning) {
                    self.warnings.push(warning);
                }
            }
            judged.extend(config.map(|config| (plugin, config)));
        }
        self.warnings.extend(names::shared(&judged));
    }

    fn judge_plugin(&mut self, plugin: &Plugin<'_>) -> Option<Config> {
        let place = format!("{}.configuration: ", plugin.place);
        match plugin.document() {
            Ok(document) => self.judge(&place, &document),
            Err(problem) => {
                self.errors.push(format!("{place}{problem}"));
                None
            }
        }
    }

    fn judge(&mut self, place: &str, document: &[u8]) -> Option<Config> {
        self.checked += 1;
        match Config::parse(document) {
            Ok(config) => {
                if config.rules.is_empty() {
                    let warning =
                        format!("{place}rules: there are none, so nothing is limited: add one");
                    self.warnings.push(warning);
                }
                Some(config)
            }
            Err(problems) => {
                let lines = problems.lines().map(|line| format!("{place}{line}"));
                self.errors.extend(lines);
                None
            }
        }
    }
}

#[cfg(test)]
mod counters_tests;
#[cfg(test)]
mod discovered_tests;
#[cfg(test)]
mod login_tests;
#[cfg(test)]
mod names_tests;
#[cfg(test)]
mod routes_tests;
#[cfg(test)]
mod sharded_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wiring_tests;
