//! Configurations in files: `tests/data/config/valid/*.json` must load, and each
//! `invalid/<mistake>.json` must be refused with exactly the line in `<mistake>.expected`.

use std::fs;
use std::path::{Path, PathBuf};

use velocitygate::config::Config;

/// Files of `tests/data/config/<folder>` with the extension, in the order of their names.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/config")
        .join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

fn outcome(path: &Path) -> String {
    match Config::parse(&fs::read(path).unwrap()) {
        Ok(_) => "valid".to_owned(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn every_valid_file_loads() {
    let files = files("valid", "json");
    assert!(files.len() >= 3, "found {}", files.len());
    for path in files {
        assert_eq!(outcome(&path), "valid", "{}", path.display());
    }
}

#[test]
fn every_mistake_is_refused_with_the_expected_line() {
    let mistakes = files("invalid", "json");
    assert!(mistakes.len() >= 40, "found {}", mistakes.len());
    let mut wrong = String::new();
    for path in mistakes {
        let expected = fs::read_to_string(path.with_extension("expected"))
            .unwrap_or_else(|_| "(no .expected file)".to_owned());
        let found = outcome(&path);
        if expected.trim_end() != found {
            let name = path.file_name().unwrap().display();
            wrong.push_str(&format!(
                "{name}\n  expected {}\n  found    {found}\n",
                expected.trim_end()
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_expectation_belongs_to_a_file() {
    for path in files("invalid", "expected") {
        assert!(path.with_extension("json").exists(), "{}", path.display());
    }
}
