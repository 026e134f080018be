//! What a run runs on: versions as the tools say themselves, the commit, the machine.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::record::Environment;
use crate::tools::{Tools, repository};

/// Asks every tool; all of them must be there before anything is started.
pub(crate) fn discover(tools: &Tools) -> Result<Environment> {
    let versions = [
        ("Envoy", version_of(&tools.envoy()?, "--version")?),
        ("Redis", version_of(&tools.redis()?, "--version")?),
        ("Toxiproxy", version_of(&tools.toxiproxy()?, "-version")?),
    ];
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Environment {
        commit: commit(),
        stack: "native".to_owned(),
        cores: u64::try_from(cores)?,
        versions: versions
            .map(|(name, version)| (name.to_owned(), version))
            .into(),
    })
}

/// The version that a program tells.
pub(crate) fn version_of(program: &Path, question: &str) -> Result<String> {
    let output = Command::new(program).arg(question).output();
    let output = output.with_context(|| format!("cannot run {}", program.display()))?;
    let said = [output.stdout, output.stderr].concat();
    Ok(version_in(&String::from_utf8_lossy(&said)))
}

/// The first part of what a tool said that reads like `1.2.3`, else all of it.
fn version_in(said: &str) -> String {
    let parts = said.split(|it: char| !(it.is_ascii_alphanumeric() || it == '.'));
    let numbers = |part: &str| {
        let part = part.trim_start_matches('v');
        (part.split('.').count() == 3 && part.split('.').all(|it| it.parse::<u32>().is_ok()))
            .then(|| part.to_owned())
    };
    parts
        .filter_map(numbers)
        .next()
        .unwrap_or_else(|| said.trim().to_owned())
}

/// The commit, with `-dirty` when the tree has changes; `unknown` outside a repository.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .args(args)
            .current_dir(repository())
            .output()
            .ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    git(&["describe", "--always", "--dirty"]).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_each_tool_says() {
        let envoy = "envoy  version: 98fe34/1.40.0/Clean/RELEASE/BoringSSL";
        assert_eq!(version_in(envoy), "1.40.0");
        assert_eq!(
            version_in("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0"),
            "7.0.15"
        );
        assert_eq!(
            version_in("toxiproxy-server version git\n"),
            "toxiproxy-server version git"
        );
    }
}
