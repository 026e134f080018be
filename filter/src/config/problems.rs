//! All that is wrong with a document, each as `path: problem`.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

/// The most problems that are kept; the rest are counted. A log line must stay readable.
pub const PROBLEMS_MAX: usize = 200;

/// What is wrong with a document, in the order of reading. Shown in one line, joined by `; `.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    lines: Vec<String>,
    more: usize,
}

impl Problems {
    /// A document that cannot be read at all.
    pub(super) fn of_document(problem: String) -> Self {
        Self {
            lines: vec![format!("configuration: {problem}")],
            more: 0,
        }
    }

    /// How many problems there are.
    pub const fn count(&self) -> usize {
        self.lines.len().saturating_add(self.more)
    }

    /// Each problem as `path: problem`; the last line says how many more there were, if any.
    pub fn lines(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more).into());
        self.lines.iter().map(|line| line.into()).chain(more)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.count() == 0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().collect::<Vec<_>>().join("; "))
    }
}

impl std::error::Error for Problems {}

/// Where problems are noted while a document is read. Shared by every value of the document, so
/// that reading functions need not pass it along; hence the cell.
#[derive(Debug, Default)]
pub(super) struct Ledger(RefCell<Problems>);

impl Ledger {
    pub(super) fn note(&self, path: &str, problem: fmt::Arguments<'_>) {
        let mut problems = self.0.borrow_mut();
        if problems.lines.len() < PROBLEMS_MAX {
            let path = if path.is_empty() {
                "configuration"
            } else {
                path
            };
            problems.lines.push(format!("{path}: {problem}"));
        } else {
            problems.more = problems.more.saturating_add(1);
        }
    }

    pub(super) fn into_problems(self) -> Problems {
        self.0.into_inner()
    }
}
