//! The report for people: verdict first, then why, then the numbers, then how to repeat it.

use minijinja::value::Serde;
use minijinja::{Value, context};

use super::{MARKDOWN_FILE, Report, template};

const TEMPLATE: &str = include_str!("report.md.jinja");

/// Writes the report as Markdown.
///
/// # Errors
/// When the template does not fit the report: a mistake of ours.
pub fn markdown(report: &Report) -> Result<String, minijinja::Error> {
    let verdict = report.verdict().name();
    let values = context! { verdict, ..Value::from(Serde(report)) };
    template::fill(MARKDOWN_FILE, TEMPLATE, values)
}
