//! Fills the templates of the reports for people.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Value};

use crate::words::counted;

/// Fills a template; one whose `name` ends in `.html` has all values escaped.
///
/// # Errors
/// When the template does not fit the values: a mistake of ours.
pub(super) fn fill(name: &str, template: &str, values: Value) -> Result<String, minijinja::Error> {
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
    environment.render_named_str(name, template, values)
}

fn number(value: Option<f64>, unit: &str, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}{unit}"))
}
