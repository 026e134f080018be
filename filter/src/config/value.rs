//! Reading a tree whose problems are noted with their path.
//!
//! The convention of every reading function: `Some` is a valid value, `None` means that a problem
//! **has been noted**. So a section first reads all its fields into variables, and only then uses
//! `?` to build its type: no problem hides another.

use std::fmt;

use super::document::{Node, shortened};
use super::examples;
use super::problems::Ledger;

/// A value of the document and its path from the root, such as `rules[2].limit.per`.
pub(super) struct Value<'d> {
    node: &'d Node,
    path: String,
    ledger: &'d Ledger,
}

/// Stands for a section that is absent: reading it gives the section's defaults.
static EMPTY: Node = Node::Object(Vec::new());

/// One of several fields of which an object holds exactly one: its name and how it is read.
pub(super) type Variant<T> = (&'static str, fn(&Value<'_>) -> Option<T>);

impl<'d> Value<'d> {
    pub(super) const fn root(node: &'d Node, ledger: &'d Ledger) -> Self {
        Self {
            node,
            path: String::new(),
            ledger,
        }
    }

    pub(super) const fn node(&self) -> &'d Node {
        self.node
    }

    /// Notes a problem of this value. Returns `None` for the caller to return.
    pub(super) fn refuse<T>(&self, problem: impl fmt::Display) -> Option<T> {
        self.note(&problem);
        None
    }

    /// Notes that this value is not what it should be.
    pub(super) fn expected<T>(&self, what: impl fmt::Display) -> Option<T> {
        self.note_other_than(&what);
        None
    }

    // Never inlined, as some others here and in `scalar`: a configuration is read once, and copies
    // of this in each of its readers would be a tenth of the module.
    #[inline(never)]
    fn note(&self, problem: &dyn fmt::Display) {
        self.ledger.note(&self.path, format_args!("{problem}"));
    }

    #[inline(never)]
    fn note_other_than(&self, what: &dyn fmt::Display) {
        self.note(&format_args!("expected {what}, found {}", self.node));
    }

    /// Notes that this value should be a list or an object, and shows one.
    #[inline(never)]
    fn other_kind<T>(&self, kind: &str) -> Option<T> {
        match examples::of(&self.path) {
            Some(example) => self.expected(format_args!("{kind} such as {example}")),
            None => self.expected(kind),
        }
    }

    /// Reads an object. Fields that `read` did not ask for are unknown, and noted.
    pub(super) fn object<T>(
        &self,
        read: impl FnOnce(&mut Fields<'_, 'd>) -> Option<T>,
    ) -> Option<T> {
        let mut fields = Fields {
            object: self,
            members: self.its_members()?,
            known: Vec::new(),
        };
        let result = read(&mut fields);
        fields.note_strangers();
        result
    }

    /// Reads an object of `min` to `max` members whose names are the document's to choose. Those that
    /// differ in case alone are the same.
    pub(super) fn members<T>(
        &self,
        range: (usize, usize),
        read: fn(&str, &Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let members = self.its_members()?;
        self.check_count(members.len(), range, "fields")?;
        let mut seen: Vec<&str> = Vec::new();
        let read_member = |(name, node): &'d (String, Node)| {
            let (path, ledger) = (joined(&self.path, name), self.ledger);
            let value = Self { node, path, ledger };
            if seen
                .iter()
                .any(|earlier| earlier.eq_ignore_ascii_case(name))
            {
                return value.refuse("given more than once");
            }
            seen.push(name);
            read(name, &value)
        };
        let members: Vec<Option<T>> = members.iter().map(read_member).collect();
        members.into_iter().collect()
    }

    /// Reads a list of `min` to `max` items. Every item is read, whatever became of the others.
    pub(super) fn list<T>(
        &self,
        range: (usize, usize),
        mut read: impl FnMut(&Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.its_items()?;
        self.check_count(items.len(), range, "items")?;
        let read_item = |(index, node)| read(&self.item(index, node));
        // Collected twice: an Option would stop at the first None and leave the rest unread.
        let items: Vec<Option<T>> = items.iter().enumerate().map(read_item).collect();
        items.into_iter().collect()
    }

    #[inline(never)]
    fn its_members(&self) -> Option<&'d [(String, Node)]> {
        match self.node {
            Node::Object(members) => Some(members),
            _ => self.other_kind("an object"),
        }
    }

    #[inline(never)]
    fn its_items(&self) -> Option<&'d [Node]> {
        match self.node {
            Node::List(items) => Some(items),
            _ => self.other_kind("a list"),
        }
    }

    #[inline(never)]
    fn item(&self, index: usize, node: &'d Node) -> Self {
        Self {
            node,
            path: format!("{}[{index}]", self.path),
            ledger: self.ledger,
        }
    }

    #[inline(never)]
    fn check_count(&self, found: usize, (min, max): (usize, usize), what: &str) -> Option<()> {
        if (min..=max).contains(&found) {
            return Some(());
        }
        self.refuse(format_args!(
            "expected {min} to {max} {what}, found {found}"
        ))
    }
}

/// The fields of one object. Asking for a field makes its name known.
pub(super) struct Fields<'v, 'd> {
    object: &'v Value<'d>,
    members: &'d [(String, Node)],
    known: Vec<&'static str>,
}

impl<'d> Fields<'_, 'd> {
    /// A field that must be there.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value<'d>) -> Option<T>,
    ) -> Option<T> {
        match self.take(name) {
            Some(value) => read(&value),
            None => self.at(name, &EMPTY).refuse("required, but missing"),
        }
    }

    /// A field with a default. The default may itself be `None`, where it depends on a value whose
    /// problem has been noted.
    pub(super) fn or<T>(
        &mut self,
        name: &'static str,
        default: impl Into<Option<T>>,
        read: impl FnOnce(&Value<'d>) -> Option<T>,
    ) -> Option<T> {
        self.take(name)
            .map_or_else(|| default.into(), |value| read(&value))
    }

    /// A field whose default is what `read` makes of an empty object.
    pub(super) fn or_read_empty<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Value<'d>) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(name).unwrap_or_else(|| self.at(name, &EMPTY));
        read(&value)
    }

    /// Exactly one of `variants`. Read last: a field that is unknown by then is what was meant to be
    /// one of them, and is noted for itself.
    pub(super) fn one_of<T>(&mut self, variants: &[Variant<T>]) -> Option<T> {
        let mut found = Vec::new();
        for (name, read) in variants {
            if let Some(value) = self.take(name) {
                found.push(read(&value));
            }
        }
        let names = || quoted(variants.iter().map(|(name, _)| *name));
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => only,
            (None, _) if self.has_strangers() => None,
            (None, _) => self
                .object
                .refuse(format_args!("expected one of {}", names())),
            _ => self
                .object
                .refuse(format_args!("expected only one of {}", names())),
        }
    }

    /// Whether any of these fields is there.
    pub(super) fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.get(name).is_some())
    }

    /// Whether there are fields that nobody asked for until now.
    pub(super) fn has_strangers(&self) -> bool {
        let mut names = self.members.iter().map(|(name, _)| name);
        names.any(|name| !self.known.contains(&name.as_str()))
    }

    #[inline(never)]
    fn get(&self, name: &str) -> Option<&'d Node> {
        self.members
            .iter()
            .find(|(member, _)| member == name)
            .map(|(_, node)| node)
    }

    #[inline(never)]
    fn take(&mut self, name: &'static str) -> Option<Value<'d>> {
        self.known.push(name);
        self.get(name).map(|node| self.at(name, node))
    }

    #[inline(never)]
    fn at(&self, name: &str, node: &'d Node) -> Value<'d> {
        Value {
            node,
            path: joined(&self.object.path, name),
            ledger: self.object.ledger,
        }
    }

    #[inline(never)]
    fn note_strangers(&self) {
        let mut seen: Vec<&str> = Vec::new();
        for (name, node) in self.members {
            if !self.known.contains(&name.as_str()) {
                let known = quoted(self.known.iter().copied());
                self.at(name, node)
                    .refuse::<()>(format_args!("unknown field; known: {known}"));
            } else if seen.contains(&name.as_str()) {
                self.at(name, node).refuse::<()>("given more than once");
            } else {
                seen.push(name);
            }
        }
    }
}

/// The path of a member. Names are escaped: a configuration must not be able to forge log lines.
fn joined(path: &str, name: &str) -> String {
    let name = shortened(name);
    let name = name.escape_debug();
    if path.is_empty() {
        name.to_string()
    } else {
        format!("{path}.{name}")
    }
}

/// `"a", "b", "c"`.
pub(super) fn quoted<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names
        .map(|name| format!("{name:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}
