//! What the documents of this repository say is true: names, defaults, links, targets, tests.

mod tree;

use std::collections::BTreeSet;
use std::fs;

use tree::{files, root};
use velocitygate::config::Config;
use velocitygate::metrics::Metric;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The part of a Markdown text below a heading of the second level.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let start = text.find(&format!("\n## {heading}\n"));
    let section = &text[start.unwrap_or_else(|| panic!("no section {heading}"))..];
    section[1..]
        .find("\n## ")
        .map_or(section, |end| &section[..end + 1])
}

/// A column of the tables in a text, without header and rule.
fn column(text: &str, index: usize) -> Vec<&str> {
    text.lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.split('|').nth(index + 1).unwrap().trim())
        .collect()
}

/// What stands between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// Every Rust source of the workspace as one text.
fn sources(folders: &[&str]) -> String {
    folders
        .iter()
        .flat_map(|folder| files(&root().join(folder), ".rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

#[test]
fn the_readme_lists_the_metrics_that_there_are() {
    let readme = read("README.md");
    let told: BTreeSet<_> = column(section(&readme, "Metrics"), 0)
        .into_iter()
        .map(|cell| cell.trim_matches('`').to_owned())
        .collect();
    let exported: BTreeSet<_> = Metric::all(1)
        .into_iter()
        .map(|metric| {
            let name = metric.name(|_| "rule");
            name.split('.').next().unwrap().to_owned()
        })
        .collect();
    assert_eq!(told, exported);
}

/// The document's JSON blocks.
fn examples(document: &str) -> Vec<&str> {
    let blocks = document.split("```json\n").skip(1);
    blocks
        .map(|rest| rest.split_once("```").unwrap().0)
        .collect()
}

#[test]
fn each_configuration_that_the_readme_shows_is_valid() {
    let readme = read("README.md");
    let examples = examples(&readme);
    assert_eq!(examples.len(), 2);
    for example in examples {
        Config::parse(example.as_bytes()).unwrap();
    }
}

#[test]
fn the_readme_shows_a_valid_configuration_made_of_the_defaults() {
    let readme = read("README.md");
    let shown = Config::parse(examples(&readme)[0].as_bytes()).unwrap();
    let rules = br#"{"rules": [{"name": "r", "limit":
        {"algorithm": "token_bucket", "requests": 100, "per": "1m", "burst": 20}}]}"#;
    let default = Config::parse(rules).unwrap();
    assert_eq!(shown.redis, default.redis);
    assert_eq!(shown.breaker, default.breaker);
    assert_eq!(shown.headers, default.headers);
    let (shown, default) = (&shown.rules[0], &default.rules[0]);
    assert_eq!(shown.missing_key, default.missing_key);
    assert_eq!(shown.cost, default.cost);
    assert_eq!(shown.on_failure, default.on_failure);
    assert_eq!(shown.shadow, default.shadow);
}

#[test]
fn the_readmes_table_of_fields_gives_the_defaults() {
    let readme = read("README.md");
    let rules = br#"{"rules": [{"name": "r", "limit":
        {"algorithm": "token_bucket", "requests": 1, "per": "1s"}}]}"#;
    let redis = Config::parse(rules).unwrap().redis;
    let defaults = [
        ("redis.cluster", redis.cluster),
        ("redis.timeout", redis.timeout.to_string()),
        ("redis.key_prefix", redis.key_prefix),
        ("redis.max_waiting", redis.max_waiting.to_string()),
    ];
    let fields = section(&readme, "Use it in your Envoy");
    for (field, default) in defaults {
        let told = column(fields, 0)
            .into_iter()
            .zip(column(fields, 2))
            .find(|(name, _)| name.trim_matches('`') == field);
        let told = told.map(|(_, default)| default.trim_matches('`'));
        assert_eq!(told, Some(&*default), "{field}");
    }
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut links = 0;
    for path in files(&root(), ".md") {
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let there = path.parent().unwrap().join(target);
            assert!(there.exists(), "{}: {target}", path.display());
            links += 1;
        }
    }
    assert!(links >= 4, "found {links}");
}

#[test]
fn every_make_target_that_a_document_names_exists() {
    let makefile = read("Makefile");
    let mut named = BTreeSet::new();
    for document in [
        "README.md",
        "CONTRIBUTING.md",
        "ARCHITECTURE.md",
        "docs/COMPARISON.md",
        "docs/BENCH.md",
    ] {
        let text = read(document);
        let lines = text.lines().filter(|line| line.starts_with("make "));
        for command in lines.chain(quoted(&text.replace("```", ""))) {
            let words = command.split('#').next().unwrap().split_whitespace();
            if words.clone().next() == Some("make") {
                // Variables come last, and their values may hold anything.
                let targets = words.skip(1).take_while(|word| !word.contains('='));
                named.extend(targets.map(str::to_owned));
            }
        }
    }
    assert!(named.len() >= 5, "found {named:?}");
    for target in named {
        let rule = format!("\n{target}:");
        assert!(makefile.contains(&rule), "make {target}");
    }
}

#[test]
fn every_constant_that_the_architecture_names_exists() {
    let architecture = read("ARCHITECTURE.md");
    let sources = sources(&["filter/src"]);
    let mut named = 0;
    for word in quoted(section(&architecture, "Bounds")) {
        let name = word.rsplit("::").next().unwrap();
        let is_constant = |byte: u8| byte.is_ascii_uppercase() || b"_*".contains(&byte);
        if !name.bytes().all(is_constant) {
            continue;
        }
        named += 1;
        let declared = sources
            .split("const ")
            .skip(1)
            .map(|rest| rest.split(':').next().unwrap());
        let (first, last) = name.split_once('*').unwrap_or((name, ""));
        let mut found = declared.filter(|it| match name.contains('*') {
            true => it.starts_with(first) && it.ends_with(last),
            false => *it == name,
        });
        assert!(found.next().is_some(), "{word}");
    }
    assert!(named >= 5, "found {named}");
}

#[test]
fn the_architecture_names_every_module_and_no_other() {
    let architecture = read("ARCHITECTURE.md");
    let told: BTreeSet<_> = column(section(&architecture, "Core and shell"), 0)
        .into_iter()
        .flat_map(quoted)
        .map(str::to_owned)
        .collect();
    let there: BTreeSet<_> = fs::read_dir(root().join("filter/src"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            match entry.path().is_dir() {
                true => name + "/",
                false => name,
            }
        })
        .filter(|name| name != "lib.rs" && name != "testing.rs")
        .collect();
    assert_eq!(told, there);
}

#[test]
fn every_invariant_has_a_test_of_its_name() {
    let architecture = read("ARCHITECTURE.md");
    let told: Vec<_> = column(section(&architecture, "Invariants"), 0);
    let expected: Vec<_> = (1..=10).map(|number| format!("I{number}")).collect();
    assert_eq!(told, expected);
    let sources = sources(&["filter", "chaos"]);
    for invariant in told {
        let name = format!("fn {}_", invariant.to_lowercase());
        assert!(sources.contains(&name), "no test {name}…");
    }
}

#[test]
fn every_capability_of_the_comparison_has_tests_that_exist() {
    let comparison = read("docs/COMPARISON.md");
    let held = section(&comparison, "What holds the column of VelocityGate");
    let capabilities = column(held, 0);
    for claimed in column(section(&comparison, "Capabilities"), 0) {
        assert!(capabilities.contains(&claimed), "{claimed}: no tests");
    }
    for (capability, cell) in capabilities.into_iter().zip(column(held, 1)) {
        // Each file is followed by the tests in it.
        let (mut file, mut tests) = (String::new(), 0);
        for word in quoted(cell) {
            if word.contains('/') {
                file = read(word);
                continue;
            }
            let mut declared = ["fn", "func"].map(|it| format!("{it} {word}(")).into_iter();
            assert!(
                declared.any(|it| file.contains(&it)),
                "{capability}: no test {word}"
            );
            tests += 1;
        }
        assert!(tests > 0, "{capability}: no test");
    }
}

#[test]
fn every_cell_of_a_peer_names_what_was_read() {
    let comparison = read("docs/COMPARISON.md");
    let sources = column(section(&comparison, "What was read of the peers"), 0);
    for index in 2..8 {
        for cell in column(section(&comparison, "Capabilities"), index) {
            let groups = cell.split('(').skip(1);
            let codes = groups.map(|group| group.split(')').next().unwrap());
            let codes: Vec<_> = codes.flat_map(|group| group.split(", ")).collect();
            assert!(!codes.is_empty(), "{cell}: no source");
            for code in codes {
                assert!(sources.contains(&code), "{cell}: no source {code}");
            }
        }
    }
}

#[test]
fn the_comparison_holds_no_absolute_path() {
    let comparison = read("docs/COMPARISON.md");
    let apart = |letter: char| letter.is_whitespace() || "`([<\"'|".contains(letter);
    let absolute = comparison.split(apart).find(|word| word.starts_with('/'));
    assert_eq!(absolute, None);
}
