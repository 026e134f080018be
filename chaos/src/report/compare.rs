//! Two runs side by side: what each check measured, and by how much it moved.

use comfy_table::{Table, presets};

use super::{CheckReport, Report};

/// A table of every check that both reports have, matched by scenario and name, and a line for
/// each that only one has.
#[must_use]
pub fn compare(before: &Report, after: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "scenario",
        "check",
        &before.run_id,
        &after.run_id,
        "change",
        "bound",
    ]);
    let mut alone = String::new();
    for scenario in &after.scenarios {
        let earlier = before.scenarios.iter().find(|it| it.id == scenario.id);
        for check in &scenario.checks {
            let was = earlier.and_then(|it| it.checks.iter().find(|it| it.name == check.name));
            let Some(was) = was else {
                alone += &format!("only in {}: {} {}\n", after.run_id, scenario.id, check.name);
                continue;
            };
            let row = [&scenario.id, &check.name, &was.shown, &check.shown];
            let change = change(was, check);
            table.add_row(row.into_iter().chain([&change, &check.bound]));
        }
    }
    for scenario in &before.scenarios {
        let later = after.scenarios.iter().find(|it| it.id == scenario.id);
        for check in &scenario.checks {
            if !later.is_some_and(|it| it.checks.iter().any(|it| it.name == check.name)) {
                alone += &format!(
                    "only in {}: {} {}\n",
                    before.run_id, scenario.id, check.name
                );
            }
        }
    }
    format!("{table}\n{alone}")
}

fn change(was: &CheckReport, is: &CheckReport) -> String {
    let moved = was
        .measured
        .zip(is.measured)
        .map(|(was, is)| format!("{:+.4}", is - was));
    let verdict = match (was.held, is.held) {
        (Some(true), Some(false)) => " now missed",
        (Some(false), Some(true)) => " now held",
        _ => "",
    };
    moved.unwrap_or_else(|| "-".to_owned()) + verdict
}
