//! The report for people: verdict first, then why, then the numbers, then how to repeat it.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};

use super::Report;
use crate::words::counted;

const TEMPLATE: &str = include_str!("report.md.jinja");

/// Writes the report as Markdown.
///
/// # Errors
/// When the template does not fit the report: a mistake of ours.
pub fn markdown(report: &Report) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.add_filter("ms", |value: Option<f64>| number(value, " ms", 2));
    environment.add_filter("s", |value: Option<f64>| number(value, " s", 3));
    environment.add_filter("count", |value: Option<f64>| number(value, "", 0));
    environment.add_filter("counted", |count: Value, noun: String| {
        counted(count, &noun)
    });
    environment.add_filter("percent", |value: Option<f64>| {
        number(value.map(|it| it * 100.0), " %", 2)
    });
    environment.add_template("report", TEMPLATE)?;
    let verdict = report.verdict().name();
    environment
        .get_template("report")?
        .render(context! { verdict, ..Value::from(Serde(report)) })
}

fn number(value: Option<f64>, unit: &str, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}{unit}"))
}
