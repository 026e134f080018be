//! What the reader of configurations takes, found out by asking it. A problem says what was expected
//! where, so the problems of documents made to be wrong in one place describe that place.

use serde_json::{Map, Value as Json, json};
use velocitygate::config::{Breaker, Config};

/// A document with a rule in which every field may be put.
fn base() -> Json {
    let rule = json!({
        "name": "r", "limit": { "requests": 10, "per": "1s" }, "key": [{ "query": "a" }],
    });
    // The widest window, since fewer calls than it holds can be asked for.
    json!({ "breaker": { "window": Breaker::WINDOW_MAX }, "rules": [rule] })
}

/// A place in the document: field names, and 0 for the first item of a list.
#[derive(Clone, Default)]
struct Place(Vec<Step>);

#[derive(Clone)]
enum Step {
    Field(String),
    /// The first of so many equal items.
    Item(usize),
}

impl Place {
    fn below(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// As problems name it.
    fn path(&self) -> String {
        let mut path = String::new();
        for step in &self.0 {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => path.push_str(&format!(".{name}")),
                Step::Item(_) => path.push_str("[0]"),
            }
        }
        if path.is_empty() {
            "configuration".to_owned()
        } else {
            path
        }
    }

    /// The base document with `value` here.
    fn document(&self, value: Json) -> Json {
        fn put(tree: Json, steps: &[Step], value: Json) -> Json {
            let Some((step, rest)) = steps.split_first() else {
                return value;
            };
            match step {
                Step::Field(name) => {
                    let mut fields = tree.as_object().cloned().unwrap_or_default();
                    let inner = fields.remove(name).unwrap_or(Json::Null);
                    fields.insert(name.clone(), put(inner, rest, value));
                    Json::Object(fields)
                }
                Step::Item(count) => {
                    let first = tree.get(0).cloned().unwrap_or(Json::Null);
                    Json::Array(vec![put(first, rest, value); *count])
                }
            }
        }
        put(base(), &self.0, value)
    }

    /// The problems that the reader has with `value` here, by their path from here.
    fn problems(&self, value: &Json) -> Vec<(String, String)> {
        let document = self.document(value.clone()).to_string();
        let Err(problems) = Config::parse(document.as_bytes()) else {
            return Vec::new();
        };
        let here = self.path();
        let all = problems.to_string();
        let each = all.split("; ").filter_map(|line| line.split_once(": "));
        let mut found: Vec<(String, String)> = Vec::new();
        for (path, problem) in each {
            let rest = path
                .strip_prefix(&here)
                .filter(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with('['));
            let known = problem.strip_prefix("unknown field");
            match (rest, known, found.last_mut()) {
                // "unknown field; known: …" was cut in two.
                (None, _, Some((_, before))) if path == "known" => {
                    *before = problem.to_owned();
                }
                (Some(rest), ..) => found.push((rest.to_owned(), problem.to_owned())),
                (None, ..) if here == "configuration" => {
                    found.push((format!(".{path}"), problem.to_owned()));
                }
                _ => {}
            }
        }
        found
    }

    /// What the reader says of `value` here itself.
    fn problem(&self, value: &Json) -> String {
        let problems = self.problems(value);
        let own = problems.into_iter().find(|(path, _)| path.is_empty());
        own.map_or_else(String::new, |(_, problem)| problem)
    }
}

/// The schema of the whole configuration.
pub(crate) fn schema() -> Json {
    let mut schema = explore(&Place::default());
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "VelocityGate",
        "description": "Configuration of the HTTP filter. Generated from its reader, which also \
                        checks what a schema cannot say, such as that a cost fits its limit.",
    });
    schema
        .as_object_mut()
        .unwrap()
        .extend(head.as_object().unwrap().clone());
    schema
}

fn explore(place: &Place) -> Json {
    let scalar = scalar(&place.problem(&Json::Null), place);
    let stranger = place.problems(&json!({ "?": 0 }));
    let known = stranger.iter().find(|(path, _)| path == ".?");
    let mut kinds: Vec<Json> = scalar.into_iter().collect();
    if let Some((_, known)) = known {
        kinds.push(object(place, known, &stranger));
    } else if place.problem(&Json::Null).contains("expected a list") {
        kinds.push(list(place));
    }
    match kinds.len() {
        1 => kinds.remove(0),
        0 => panic!("{}: {:?}", place.path(), place.problems(&Json::Null)),
        _ => json!({ "anyOf": kinds }),
    }
}

/// What stands between backquotes, or rather quotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}

fn numbers(text: &str) -> Vec<u64> {
    text.split(|byte: char| !byte.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// The schema of a value without parts, from what is said of `null`.
fn scalar(problem: &str, place: &Place) -> Option<Json> {
    let what = problem.strip_prefix("expected ")?;
    let what = what.strip_suffix(", found null").unwrap_or(what);
    let text = |min: u64, max: u64| {
        let mut text =
            json!({ "type": "string", "minLength": min, "maxLength": max, "description": what });
        // What has a grammar of its own is more than a set of characters.
        if !what.contains("such as") && !what.contains("expression") {
            text.as_object_mut().unwrap().extend(characters(place));
        }
        text
    };
    Some(if what == "true" {
        json!({ "const": true })
    } else if what == "true or false" {
        json!({ "type": "boolean" })
    } else if what.starts_with("a whole number from ") {
        let range = numbers(what);
        json!({ "type": "integer", "minimum": range[0], "maximum": range[1] })
    } else if what.starts_with("a number above 0, at most 1") {
        json!({ "type": "number", "exclusiveMinimum": 0, "maximum": 1 })
    } else if what.starts_with("a duration such as ") {
        json!({ "type": "string", "pattern": "^[0-9]+(us|ms|s|m|h|d)$" })
    } else if what.starts_with("one of ") {
        json!({ "enum": quoted(what) })
    } else if let Some(max) = what.strip_prefix("a text of at most ") {
        text(0, numbers(max)[0])
    } else if what.ends_with(" bytes") {
        let range = numbers(what.rsplit(", ").next().unwrap());
        text(range[0], range[1])
    } else if what.contains("\"off\"") {
        json!({ "const": "off" })
    } else if what.starts_with("a list") || what.starts_with("an object") {
        return None;
    } else {
        panic!("{}: {problem}", place.path())
    })
}

/// A pattern of the characters that a text may begin and go on with, unless it may with any.
fn characters(place: &Place) -> Option<(String, Json)> {
    let takes = |text: String| place.problem(&Json::String(text)).is_empty();
    let all = || (0..128_u8).map(char::from).chain(['\u{80}']);
    let first: Vec<char> = all().filter(|it| takes(it.to_string())).collect();
    let begin = *first
        .iter()
        .find(|it| it.is_ascii_punctuation() || it.is_ascii_lowercase())?;
    let then: Vec<char> = all().filter(|it| takes(format!("{begin}{it}"))).collect();
    if first.len() == all().count() && then == first {
        return None;
    }
    let (first, then) = (class(&first), class(&then));
    let pattern = if first == then {
        format!("^{then}*$")
    } else {
        format!("^({first}{then}*)?$")
    };
    Some(("pattern".to_owned(), pattern.into()))
}

/// A character class; U+0080 stands for all that is not ASCII.
fn class(members: &[char]) -> String {
    let all_others = members.contains(&'\u{80}');
    let listed = (0..128_u8).filter(|it| members.contains(&char::from(*it)) != all_others);
    let mut ranges: Vec<(u8, u8)> = Vec::new();
    for member in listed {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == member => *last = member,
            _ => ranges.push((member, member)),
        }
    }
    let shown = |byte: u8| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("\\u{byte:04x}"),
    };
    let ranges = ranges.into_iter().map(|(first, last)| match first == last {
        true => shown(first),
        false => format!("{}-{}", shown(first), shown(last)),
    });
    let not = if all_others { "^" } else { "" };
    format!("[{not}{}]", ranges.collect::<String>())
}

fn list(place: &Place) -> Json {
    let too_many = json!(vec![Json::Null; 100_000]);
    let range = numbers(&place.problem(&too_many));
    let (min, max) = (range[0], range[1]);
    let count = usize::try_from(min.max(1)).unwrap();
    let items = explore(&place.below(Step::Item(count)));
    json!({ "type": "array", "minItems": min, "maxItems": max, "items": items })
}

/// An object, from what is said of one with an unknown field.
fn object(place: &Place, known: &str, problems: &[(String, String)]) -> Json {
    let field = |name: &str| explore(&place.below(Step::Field(name.to_owned())));
    if !known.starts_with('"') {
        // Its names are the document's to choose.
        let range = numbers(&place.problem(&json!({})));
        let value = explore(&place.below(Step::Field("x".to_owned())));
        return json!({
            "type": "object", "minProperties": range[0], "maxProperties": range[1],
            "additionalProperties": value,
        });
    }
    let names = quoted(known).into_iter();
    let properties: Map<String, Json> = names.map(|name| (name.to_owned(), field(name))).collect();
    let missing = problems
        .iter()
        .filter(|(_, problem)| problem == "required, but missing");
    let required: Vec<&str> = missing
        .map(|(path, _)| path.trim_start_matches('.'))
        .collect();
    let mut schema = json!({
        "type": "object", "properties": properties, "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    // What is said of no field at all.
    let own = place.problem(&json!({}));
    if let Some(choices) = own.strip_prefix("expected one of ") {
        let choices = quoted(choices).into_iter();
        schema["oneOf"] = choices.map(|name| json!({ "required": [name] })).collect();
    }
    schema
}
