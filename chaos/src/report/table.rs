//! The table of verdicts that ends a run on the terminal.

use comfy_table::{Table, presets};

use super::Report;
use crate::judge::Verdict;
use crate::scenario::Source;

/// One line a scenario, then the reasons of those not upheld, then the sum.
#[must_use]
pub fn verdicts(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let head = [
        "scenario", "verdict", "plan", "targets", "success", "P99", "opened", "recovery",
    ];
    table.set_header(head);
    for it in &report.scenarios {
        let score = |source| {
            let (held, all) = it.score(source);
            format!("{held}/{all}")
        };
        table.add_row([
            format!("{} {}", it.id, it.name),
            it.verdict_text() + &nth_try(it.spoiled.len() + 1),
            score(Source::Plan),
            score(Source::Target),
            shown(it.fault.success.map(|share| share * 100.0), " %"),
            shown(it.fault.p99_ms, " ms"),
            shown(it.fault.opened_s, " s"),
            shown(it.recovery.full_s, " s"),
        ]);
    }
    let mut text = format!("{table}\n");
    for it in report.scenarios.iter().filter(|it| !it.reasons.is_empty()) {
        text += &format!("\n{} {}:\n", it.id, it.verdict_text());
        for reason in &it.reasons {
            text += &format!("  {reason}\n");
        }
    }
    if !report.not_run.is_empty() {
        text += &format!("\nnot run: {}\n", report.not_run.join(", "));
    }
    let count = |verdict| {
        report
            .scenarios
            .iter()
            .filter(|it| it.verdict == verdict)
            .count()
    };
    text + &format!(
        "\n{}: {} upheld, {} refuted, {} inconclusive\n",
        report.run_id,
        count(Verdict::Upheld),
        count(Verdict::Refuted),
        count(Verdict::Inconclusive),
    )
}

/// Nothing for the first: a try is told of when it was not the only one.
fn nth_try(number: usize) -> String {
    match number {
        0 | 1 => String::new(),
        2 => " (2nd try)".to_owned(),
        3 => " (3rd try)".to_owned(),
        later => format!(" ({later}th try)"),
    }
}

fn shown(value: Option<f64>, unit: &str) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}{unit}"))
}
