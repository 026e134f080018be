//! Draws the course of a trial: three charts over the same seconds, as SVG that needs nothing else.

use std::ops::Range;

use anyhow::Result;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use serde::Serialize;

use super::course::{Course, Curve, Kind};
use crate::record::BreakerState;

/// Pixels; a page may show it at any width.
const SIZE: (u32, u32) = (960, 212);

/// How much of a chart's height the strip of the breaker's state takes, at the bottom.
const STRIP_SHARE: f64 = 0.05;

/// Labels of the upright axis at most: from 10 on a single power of ten gets ten of them, too close
/// to be read.
const LABELS_MAX: usize = 9;

const FAULT: RGBColor = RGBColor(226, 230, 235);
const OPEN: RGBColor = RGBColor(200, 40, 40);
const HALF_OPEN: RGBColor = RGBColor(240, 180, 40);

/// Colours that people with any colour vision tell apart (Okabe and Ito, 2008).
const GREEN: RGBColor = RGBColor(0, 158, 115);
const BLUE: RGBColor = RGBColor(0, 114, 178);
const PINK: RGBColor = RGBColor(204, 121, 167);
const VERMILION: RGBColor = RGBColor(213, 94, 0);

/// A chart and what its colours mean.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    /// What it shows, with the unit.
    title: &'static str,
    svg: String,
    legend: Vec<Entry>,
}

/// What a colour stands for.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    name: &'static str,
    /// As CSS has it.
    colour: String,
}

/// A curve, its name and its colour.
type Line<'c> = (&'c Curve, &'static str, RGBColor);

/// What lies behind the curves of every chart.
pub(super) fn background() -> Vec<Entry> {
    let meanings = [
        ("fault in force", FAULT),
        ("breaker open", OPEN),
        ("breaker half-open", HALF_OPEN),
    ];
    meanings.map(|(name, colour)| entry(name, colour)).into()
}

/// Draws a course: what was answered, how fast, and what became of the calls to Redis.
///
/// # Errors
/// When the drawing fails: a mistake of ours.
pub(super) fn charts(course: &Course) -> Result<Vec<Chart>> {
    let colours = [GREEN, BLUE, PINK, VERMILION];
    let kinds = course.answers.iter().zip(Kind::ALL).zip(colours);
    let answers: Vec<Line<'_>> = kinds
        .map(|((curve, kind), colour)| (curve, kind.name(), colour))
        .collect();
    let latencies = [
        (&course.p50_ms, "P50", BLUE),
        (&course.p99_ms, "P99", VERMILION),
    ];
    let calls = [
        (&course.commands, "commands that Redis ran", GREEN),
        (&course.failures, "calls that failed", VERMILION),
    ];
    Ok(vec![
        chart(
            "answers, per second",
            &answers,
            from_zero(course, &answers)?,
        ),
        chart(
            "latency, milliseconds (powers of ten)",
            &latencies,
            by_powers(course, &latencies)?,
        ),
        chart("Redis, per second", &calls, from_zero(course, &calls)?),
    ])
}

fn chart(title: &'static str, lines: &[Line<'_>], svg: String) -> Chart {
    let legend = lines
        .iter()
        .map(|(_, name, colour)| entry(name, *colour))
        .collect();
    Chart { title, svg, legend }
}

fn entry(name: &'static str, RGBColor(red, green, blue): RGBColor) -> Entry {
    let colour = format!("rgb({red} {green} {blue})");
    Entry { name, colour }
}

/// On a scale that begins with 0.
fn from_zero(course: &Course, lines: &[Line<'_>]) -> Result<String> {
    let span = 0.0..values(lines).fold(1.0, f64::max) * 1.1;
    let strip_top = span.end * STRIP_SHARE;
    draw(course, lines, span.clone(), &span, strip_top)
}

/// On a scale of powers of ten: a fault turns one millisecond into thousands.
fn by_powers(course: &Course, lines: &[Line<'_>]) -> Result<String> {
    let lowest = values(lines).fold(1.0, f64::min);
    let span = lowest / 2.0..values(lines).fold(10.0, f64::max) * 2.0;
    let strip_top = span.start * (span.end / span.start).powf(STRIP_SHARE);
    draw(course, lines, span.clone().log_scale(), &span, strip_top)
}

fn values<'c>(lines: &[Line<'c>]) -> impl Iterator<Item = f64> {
    lines
        .iter()
        .flat_map(|(curve, ..)| curve.iter().flatten().map(|(_, value)| *value))
}

/// Draws the faults and the breaker's state, and the lines over them; the upright axis is `y`, which
/// shows `span`.
fn draw<Y>(
    course: &Course,
    lines: &[Line<'_>],
    y: Y,
    span: &Range<f64>,
    strip_top: f64,
) -> Result<String>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..course.end_s, y)?;
        let boxed = |from_s, until_s, top, colour: RGBColor| {
            Rectangle::new([(from_s, span.start), (until_s, top)], colour.filled())
        };
        let faults = course.faults.iter();
        chart.draw_series(
            faults.map(|(from_s, until_s)| boxed(*from_s, *until_s, span.end, FAULT)),
        )?;
        chart
            .configure_mesh()
            .disable_mesh()
            .y_labels(LABELS_MAX)
            .x_desc("seconds from the scenario's start")
            .draw()?;
        let states = course.breaker.iter().map(|(from_s, until_s, state)| {
            let colour = if *state == BreakerState::Open {
                OPEN
            } else {
                HALF_OPEN
            };
            boxed(*from_s, *until_s, strip_top, colour)
        });
        chart.draw_series(states)?;
        for (curve, _, colour) in lines {
            for run in *curve {
                // A line through one point is none.
                let dot = u32::from(run.len() == 1) * 2;
                let line = LineSeries::new(run.iter().copied(), colour.stroke_width(2));
                chart.draw_series(line.point_size(dot))?;
            }
        }
        area.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Outcome;
    use crate::record::made::{request, trial};

    #[test]
    fn labels_of_powers_of_ten_do_not_overlap() {
        let mut trial = trial();
        trial.requests = [0.0, 1.0]
            .map(|due_s| request(due_s, 5_000, Outcome::Counted))
            .into();
        let latency = &charts(&Course::of(&trial)).unwrap()[1].svg;
        let upright = latency.split("text-anchor=\"end\"").skip(1);
        let labels: Vec<&str> = upright.filter_map(|it| it.lines().nth(1)).collect();
        assert_eq!(labels, ["1.0", "10.0"]);
    }

    #[test]
    fn no_line_leads_over_what_is_unknown_and_a_point_alone_is_seen() {
        let mut trial = trial();
        // Nobody asked in the second bucket.
        trial.requests = [0.0, 0.5, 0.75, 1.0]
            .map(|due_s| request(due_s, 1_000, Outcome::Counted))
            .into();
        let drawn = charts(&Course::of(&trial)).unwrap();
        let latency = &drawn[1].svg;
        let elements = |name: &str| -> Vec<&str> {
            let all = latency.lines().filter(|it| it.starts_with(name));
            all.filter(|it| it.contains("\"#0072B2\"")).collect()
        };
        assert_eq!(elements("<circle").len(), 1, "{latency}");
        let lines = elements("<polyline").into_iter();
        let lines = lines.filter(|it| it.matches(',').count() > 1);
        assert_eq!(lines.count(), 1, "{latency}");
    }
}
