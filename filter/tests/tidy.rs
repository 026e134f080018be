//! Source files and functions stay small.

mod tree;

use std::fs;

use tree::{files, root};

/// Longest source file: one idea each.
const FILE_LINES_MAX: usize = 400;
/// Longest function: it fits a screen.
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn no_source_file_and_no_function_grows_out_of_sight() {
    for path in ["filter/src", "chaos/src"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), ".rs"))
    {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.display();
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{path}: {lines} lines");
        for (name, lines) in functions(&text) {
            assert!(lines <= FUNCTION_LINES_MAX, "{path}: {name}: {lines} lines");
        }
    }
}

/// Name and lines of each function: from its `fn` to the brace below it, as rustfmt sets both.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let name = code.split("fn ").nth(1).and_then(|it| it.split('(').next());
        let (Some(name), false) = (name, code.starts_with("//") || code.ends_with(['}', ';']))
        else {
            continue;
        };
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        let length = lines[start..].iter().position(|it| *it == end);
        found.extend(length.map(|length| (name, length + 1)));
    }
    found
}

#[test]
fn the_length_of_a_function_is_counted_from_its_name_to_its_brace() {
    let text = "fn a() {\n    b();\n}\n\nimpl C {\n    pub fn d(\n    ) {\n    }\n}\n";
    assert_eq!(functions(text), [("a", 3), ("d", 3)]);
}
