//! Where the programs of a stack are: read from `.tools/env`, which `make tools` writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file that `make tools` writes, relative to the repository root.
const ENV_FILE: &str = ".tools/env";

/// Why a program cannot be named.
#[derive(Debug, thiserror::Error)]
pub enum ToolsError {
    /// `.tools/env` is not there or cannot be read.
    #[error("cannot read {path}: {source}; run `make tools`")]
    Unreadable {
        /// The file that was tried.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of `.tools/env` is not `KEY=path`.
    #[error("{path}:{line}: expected KEY=path; run `make tools`")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Its line, counted from one.
        line: usize,
    },
    /// `.tools/env` does not name a program that is needed.
    #[error("{path} names no {key}; run `make tools`")]
    Unnamed {
        /// The file.
        path: PathBuf,
        /// The key looked for.
        key: &'static str,
    },
    /// A named program is not on the disk.
    #[error("{key} should be {path}, which is not there; run `make tools`")]
    Missing {
        /// The key.
        key: &'static str,
        /// Where it should be.
        path: PathBuf,
    },
}

/// The programs that a native stack starts.
#[derive(Debug, Clone)]
pub struct Tools {
    root: PathBuf,
    named: BTreeMap<String, PathBuf>,
}

impl Tools {
    /// Reads the tools of this repository.
    ///
    /// # Errors
    /// When `.tools/env` cannot be read; every message says to run `make tools`.
    pub fn find() -> Result<Self, ToolsError> {
        Self::at(&repository())
    }

    /// Reads the tools of the repository at `root`.
    ///
    /// # Errors
    /// As [`Tools::find`].
    pub fn at(root: &Path) -> Result<Self, ToolsError> {
        let path = root.join(ENV_FILE);
        let text = std::fs::read_to_string(&path).map_err(|source| ToolsError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let named = parse(&text).map_err(|line| ToolsError::Malformed { path, line })?;
        Ok(Self {
            root: root.to_owned(),
            named,
        })
    }

    /// The newest supported Envoy.
    ///
    /// # Errors
    /// When it is not named or not there, as for every program below.
    pub fn envoy(&self) -> Result<PathBuf, ToolsError> {
        self.program("ENVOY")
    }

    /// The oldest supported Envoy.
    ///
    /// # Errors
    /// When it is not named or not there.
    pub fn envoy_oldest(&self) -> Result<PathBuf, ToolsError> {
        self.program("ENVOY_OLDEST")
    }

    /// The Toxiproxy server.
    ///
    /// # Errors
    /// When it is not named or not there.
    pub fn toxiproxy(&self) -> Result<PathBuf, ToolsError> {
        self.program("TOXIPROXY")
    }

    /// The Redis (or Valkey) server.
    ///
    /// # Errors
    /// When it is not named or not there.
    pub fn redis(&self) -> Result<PathBuf, ToolsError> {
        self.program("REDIS")
    }

    /// The oldest supported Redis.
    ///
    /// # Errors
    /// When it is not named or not there.
    pub fn redis_oldest(&self) -> Result<PathBuf, ToolsError> {
        self.program("REDIS_OLDEST")
    }

    /// The Valkey server.
    ///
    /// # Errors
    /// When it is not named or not there.
    pub fn valkey(&self) -> Result<PathBuf, ToolsError> {
        self.program("VALKEY")
    }

    /// The service envoyproxy/ratelimit, for the benchmark.
    ///
    /// # Errors
    /// When it is not named or not there.
    pub fn ratelimit(&self) -> Result<PathBuf, ToolsError> {
        self.program("RATELIMIT")
    }

    /// The service Limitador, for the benchmark.
    ///
    /// # Errors
    /// When it is not named or not there.
    pub fn limitador(&self) -> Result<PathBuf, ToolsError> {
        self.program("LIMITADOR")
    }

    fn program(&self, key: &'static str) -> Result<PathBuf, ToolsError> {
        let Some(path) = self.named.get(key) else {
            return Err(ToolsError::Unnamed {
                path: self.root.join(ENV_FILE),
                key,
            });
        };
        // An absolute path stays as it is when joined.
        let path = self.root.join(path);
        if path.is_file() {
            Ok(path)
        } else {
            Err(ToolsError::Missing { key, path })
        }
    }
}

/// The repository root: the working directory or the nearest of its parents that holds
/// `envoy/envoy.yaml`, else the folder this crate was built in.
pub fn repository() -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    here.ancestors()
        .find(|folder| folder.join("envoy/envoy.yaml").is_file())
        .or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).parent())
        .unwrap_or(&here)
        .to_owned()
}

/// `KEY=path` lines; empty lines and `#` comments are skipped. `Err` is the number of a bad line.
fn parse(text: &str) -> Result<BTreeMap<String, PathBuf>, usize> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| match line.split_once('=') {
            Some((key, path)) if !key.is_empty() && !path.is_empty() => {
                Ok((key.to_owned(), PathBuf::from(path)))
            }
            _ => Err(number),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository_with(env: Option<&str>) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(".tools")).unwrap();
        if let Some(env) = env {
            std::fs::write(root.path().join(ENV_FILE), env).unwrap();
        }
        root
    }

    #[test]
    fn a_relative_path_is_taken_from_the_repository_root() {
        let root = repository_with(Some("# pinned\n\nENVOY=.tools/envoy\n"));
        std::fs::write(root.path().join(".tools/envoy"), "").unwrap();
        let found = Tools::at(root.path()).unwrap().envoy().unwrap();
        assert_eq!(found, root.path().join(".tools/envoy"));
    }

    #[test]
    fn every_way_to_lack_a_tool_says_run_make_tools() {
        let without_file = repository_with(None);
        let messages = [
            Tools::at(without_file.path()).unwrap_err().to_string(),
            Tools::at(repository_with(Some("ENVOY\n")).path())
                .unwrap_err()
                .to_string(),
            Tools::at(repository_with(Some("")).path())
                .unwrap()
                .redis()
                .unwrap_err()
                .to_string(),
            Tools::at(repository_with(Some("REDIS=.tools/gone")).path())
                .unwrap()
                .redis()
                .unwrap_err()
                .to_string(),
        ];
        for message in messages {
            assert!(message.ends_with("run `make tools`"), "{message}");
        }
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        assert_eq!(parse("A=b\n\nC="), Err(3));
    }
}
