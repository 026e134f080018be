//! Reads TOML tables field by field and keeps every problem, so that a person who wrote a
//! scenario sees all mistakes at once. serde stops at the first one, hence this reader.
//!
//! A field that is wrong yields its type's default, which never leaves the parser: a scenario
//! with problems is refused as a whole.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use toml::{Table, Value};

/// All problems of one document, each as `path: problem`, in the order found.
#[derive(Debug, Default)]
pub(super) struct Problems(RefCell<Vec<String>>);

impl Problems {
    /// Adds the problem found at `path`.
    pub(super) fn add(&self, path: &str, problem: impl AsRef<str>) {
        self.0
            .borrow_mut()
            .push(format!("{path}: {}", problem.as_ref()));
    }

    /// Everything found.
    #[must_use]
    pub(super) fn into_vec(self) -> Vec<String> {
        self.0.into_inner()
    }
}

/// One table while its fields are taken out of it.
#[derive(Debug)]
pub(super) struct Fields<'p> {
    path: String,
    table: Table,
    problems: &'p Problems,
}

impl<'p> Fields<'p> {
    /// The root table of a document.
    #[must_use]
    pub(super) fn root(table: Table, problems: &'p Problems) -> Self {
        Self {
            path: String::new(),
            table,
            problems,
        }
    }

    /// The path of a field of this table, as problems name it.
    #[must_use]
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Notes a problem with a field of this table.
    pub(super) fn problem(&self, name: &str, problem: impl AsRef<str>) {
        self.problems.add(&self.path_of(name), problem);
    }

    /// Takes a text that is not empty.
    pub(super) fn text(&mut self, name: &str) -> String {
        match self.required(name) {
            Some(Value::String(text)) if !text.trim().is_empty() => text,
            found => self.wrong(name, "a text that is not empty", found.as_ref()),
        }
    }

    /// Takes a number, whole or not, within `range`.
    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<f64>) -> f64 {
        let found = self.required(name);
        let number = match &found {
            Some(Value::Float(number)) => Some(*number),
            #[expect(
                clippy::cast_precision_loss,
                reason = "scenario numbers are far below 2^53"
            )]
            Some(Value::Integer(number)) => Some(*number as f64),
            _ => None,
        };
        match number.filter(|number| range.contains(number)) {
            Some(number) => number,
            None => {
                let wanted = format!("a number from {} to {}", range.start(), range.end());
                self.wrong(name, &wanted, found.as_ref())
            }
        }
    }

    /// Takes a whole number within `range`.
    pub(super) fn whole(&mut self, name: &str, range: RangeInclusive<u64>) -> u64 {
        let found = self.required(name);
        let number = found.as_ref().and_then(Value::as_integer);
        let number = number.and_then(|number| u64::try_from(number).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => number,
            None => {
                let wanted = format!("a whole number from {} to {}", range.start(), range.end());
                self.wrong(name, &wanted, found.as_ref())
            }
        }
    }

    /// Takes `true` or `false`; `default` when it is left out.
    pub(super) fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.table.remove(name) {
            None => default,
            Some(Value::Boolean(flag)) => flag,
            found => self.wrong(name, "true or false", found.as_ref()),
        }
    }

    /// Takes one of the named choices; a wrong one yields the first.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let found = self.required(name);
        let text = found.as_ref().and_then(Value::as_str);
        let chosen = choices.iter().find(|(choice, _)| Some(*choice) == text);
        if chosen.is_none() {
            let names: Vec<&str> = choices.iter().map(|(choice, _)| *choice).collect();
            self.wrong::<()>(
                name,
                &format!("one of {}", names.join(", ")),
                found.as_ref(),
            );
        }
        chosen.map(|(_, value)| *value)
    }

    /// Takes a table; a missing one reads as empty, so its fields are reported too.
    pub(super) fn table(&mut self, name: &str) -> Self {
        let table = match self.required(name) {
            Some(Value::Table(table)) => table,
            found => self.wrong(name, "a table", found.as_ref()),
        };
        Self {
            path: self.path_of(name),
            table,
            problems: self.problems,
        }
    }

    /// Takes a table that may be left out.
    pub(super) fn optional_table(&mut self, name: &str) -> Option<Self> {
        self.table.contains_key(name).then(|| self.table(name))
    }

    /// Takes a list of tables; none when it is left out.
    pub(super) fn tables(&mut self, name: &str) -> Vec<Self> {
        let list = match self.table.remove(name) {
            None => Vec::new(),
            Some(Value::Array(list)) => list,
            found => self.wrong(name, "a list of tables", found.as_ref()),
        };
        let mut tables = Vec::with_capacity(list.len());
        for (index, item) in list.into_iter().enumerate() {
            let name = format!("{name}[{index}]");
            match item {
                Value::Table(table) => {
                    let path = self.path_of(&name);
                    tables.push(Self {
                        path,
                        table,
                        problems: self.problems,
                    });
                }
                other => self.wrong(&name, "a table", Some(&other)),
            }
        }
        tables
    }

    /// Notes the problem with a field that must not be there, if it is.
    pub(super) fn refuse(&mut self, name: &str, problem: impl AsRef<str>) {
        if self.table.remove(name).is_some() {
            self.problem(name, problem);
        }
    }

    /// Takes whatever is there, as JSON: for parts that somebody else checks.
    pub(super) fn json(&mut self, name: &str) -> serde_json::Value {
        let Some(value) = self.required(name) else {
            return self.wrong(name, "a table", None);
        };
        serde_json::to_value(value).unwrap_or_else(|error| {
            self.problem(name, format!("cannot be written as JSON: {error}"));
            serde_json::Value::Null
        })
    }

    /// Ends the reading: what was not taken is unknown.
    pub(super) fn finish(self) {
        for name in self.table.keys() {
            self.problem(name, "unknown field");
        }
    }

    fn required(&mut self, name: &str) -> Option<Value> {
        self.table.remove(name)
    }

    fn wrong<T: Default>(&self, name: &str, expected: &str, found: Option<&Value>) -> T {
        let found = found.map_or_else(|| "nothing".to_owned(), short);
        self.problem(name, format!("expected {expected}, found {found}"));
        T::default()
    }
}

/// A value in one short line, for a message.
fn short(value: &Value) -> String {
    match value {
        Value::Table(_) => "a table".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    }
}
