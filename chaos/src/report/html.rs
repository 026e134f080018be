//! The report as one page: the verdicts, and the course of each scenario in charts. It loads nothing
//! from anywhere, so it can be sent and kept.

use anyhow::Result;
use minijinja::value::Serde;
use minijinja::{Value, context};

use super::charts::{background, charts};
use super::course::Course;
use super::{HTML_FILE, Report, template};
use crate::record::Trial;

const TEMPLATE: &str = include_str!("report.html.jinja");

/// Writes the report as HTML; `trials` are those that its scenarios tell of, in the same order.
///
/// # Errors
/// When the template does not fit the report, or a chart cannot be drawn: a mistake of ours.
pub(super) fn html(report: &Report, trials: &[&Trial]) -> Result<String> {
    let drawn = trials.iter().map(|trial| charts(&Course::of(trial)));
    let drawn = drawn.collect::<Result<Vec<_>>>()?;
    let values = context! {
        verdict => report.verdict().name(),
        background => Serde(background()),
        charts => Serde(drawn),
        ..Value::from(Serde(report))
    };
    Ok(template::fill(HTML_FILE, TEMPLATE, values)?)
}
