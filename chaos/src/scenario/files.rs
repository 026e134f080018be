//! Finds scenario files and picks the ones to run.

use std::fs;
use std::path::{Path, PathBuf};

use super::Scenario;

/// Why scenarios cannot be used. Always the caller's to mend; trying again changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A file or folder cannot be read.
    #[error("read {path}: {source}")]
    Read {
        /// What was read.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A file has problems; all of them are listed, one a line.
    #[error("understand {file}:\n  {}", problems.join("\n  "))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Each as `path: problem`.
        problems: Vec<String>,
    },
    /// Two files claim the same identifier or name.
    #[error("tell scenarios apart: {0} is used twice")]
    Duplicate(String),
    /// No scenario answers to what was asked for.
    #[error("find scenario {wanted}; there are {known}")]
    Unknown {
        /// As asked.
        wanted: String,
        /// What could have been asked.
        known: String,
    },
}

/// Reads every `.toml` file of a folder, ordered by identifier.
///
/// # Errors
/// The first file that cannot be read or understood, or two that cannot be told apart.
pub fn load_all(folder: &Path) -> Result<Vec<Scenario>, ScenarioError> {
    let read = |source| ScenarioError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    files.sort();
    let mut scenarios = files
        .iter()
        .map(|file| load(file))
        .collect::<Result<Vec<_>, _>>()?;
    scenarios.sort_by(|a, b| a.id.cmp(&b.id));
    for (index, scenario) in scenarios.iter().enumerate() {
        for other in scenarios.iter().skip(index + 1) {
            if scenario.id == other.id || scenario.name == other.name {
                let both = format!("{} {}", other.id, other.name);
                return Err(ScenarioError::Duplicate(both));
            }
        }
    }
    Ok(scenarios)
}

/// Picks by identifier or name, in the order asked for; the default set when nothing is asked.
///
/// # Errors
/// [`ScenarioError::Unknown`] for the first that does not exist.
pub fn select(all: Vec<Scenario>, wanted: &[String]) -> Result<Vec<Scenario>, ScenarioError> {
    if wanted.is_empty() {
        return Ok(all
            .into_iter()
            .filter(|scenario| scenario.default)
            .collect());
    }
    let mut chosen: Vec<Scenario> = Vec::with_capacity(wanted.len());
    for name in wanted {
        let found = all
            .iter()
            .find(|it| it.id.eq_ignore_ascii_case(name) || it.name == *name);
        let Some(found) = found else {
            let known: Vec<String> = all
                .iter()
                .map(|it| format!("{} {}", it.id, it.name))
                .collect();
            return Err(ScenarioError::Unknown {
                wanted: name.clone(),
                known: known.join(", "),
            });
        };
        if !chosen.contains(found) {
            chosen.push(found.clone());
        }
    }
    Ok(chosen)
}

fn load(file: &Path) -> Result<Scenario, ScenarioError> {
    let text = fs::read_to_string(file).map_err(|source| ScenarioError::Read {
        path: file.to_owned(),
        source,
    })?;
    Scenario::parse(&text).map_err(|problems| ScenarioError::Invalid {
        file: file.to_owned(),
        problems,
    })
}
