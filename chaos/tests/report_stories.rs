//! Stories about the reports: what people and scripts read of a run is what was judged.

mod story;

use std::fs;
use std::path::Path;

use story::Story;
use velocitygate_chaos::judge::Verdict;
use velocitygate_chaos::record::{Outcome, Record};
use velocitygate_chaos::report::{self, Report, ScenarioReport};

const C_01: &str = "c-01-redis-unavailable.toml";
const C_02: &str = "c-02-redis-latency.toml";

fn only(report: &Report) -> &ScenarioReport {
    report.scenarios.first().unwrap()
}

/// The page that is written of a record.
fn page(record: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("record.jsonl"), record).unwrap();
    Report::make(folder.path()).unwrap();
    read(folder.path(), "report.html")
}

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn judging_twice_writes_the_same_reports() {
    let folder = tempfile::tempdir().unwrap();
    let record = Story::healthy(C_02).text();
    fs::write(folder.path().join("record.jsonl"), record).unwrap();
    let reports =
        || ["report.json", "report.md", "report.html"].map(|name| read(folder.path(), name));
    let first = Report::make(folder.path()).unwrap();
    let written = reports();
    assert_eq!(Report::make(folder.path()).unwrap(), first);
    assert_eq!(reports(), written);
    assert_eq!(Report::load(folder.path()).unwrap(), first);
}

#[test]
fn the_json_report_has_the_fields_of_the_contract() {
    let report = serde_json::to_value(Story::healthy(C_01).report()).unwrap();
    assert!(report["run_id"].is_string() && report["environment"].is_object());
    let scenario = &report["scenarios"][0];
    for field in [
        "id", "name", "verdict", "baseline", "fault", "recovery", "timeline", "checks",
    ] {
        assert!(!scenario[field].is_null(), "{field}");
    }
    assert_eq!(scenario["verdict"], "upheld");
    for field in ["name", "measured", "bound", "held"] {
        assert!(!scenario["checks"][0][field].is_null(), "{field}");
    }
    assert_eq!(scenario["timeline"][0]["at_s"], 7.0);
}

#[test]
fn the_reports_for_people_say_the_verdict_and_the_reasons() {
    let story = Story {
        fault: (Outcome::Unavailable, 900),
        ..Story::healthy(C_01)
    };
    let refuted = story.report();
    let markdown = report::markdown(&refuted).unwrap();
    assert!(
        markdown.starts_with("# CHAOS-20260131-001: refuted\n"),
        "{markdown}"
    );
    assert!(
        markdown.contains("| requests succeed while Redis is gone | plan | 0 | > 0.99 | **no** |")
    );
    assert!(report::verdicts(&refuted).contains("0 upheld, 1 refuted, 0 inconclusive"));
    let compared = report::compare(&Story::healthy(C_01).report(), &refuted);
    assert!(compared.contains("-1.0000 now missed"), "{compared}");
}

#[test]
fn a_report_counts_one_as_one() {
    let text = Story::healthy(C_01)
        .text()
        .replace(r#""cores":2"#, r#""cores":1"#);
    let report = Report::of(&Record::parse(&text).unwrap());
    assert_eq!(only(&report).fault.openings, Some(1.0));
    let markdown = report::markdown(&report).unwrap();
    assert!(markdown.contains(", 1 core,"), "{markdown}");
    assert!(markdown.contains("(1 time in all, "), "{markdown}");
}

#[test]
fn a_trial_that_the_machine_spoiled_is_told_of_and_the_next_one_decides() {
    let late = Story {
        late_us: 60_000,
        ..Story::healthy(C_01)
    };
    let good = Story::healthy(C_01).text();
    // A trial is all of its record but the header, the first line.
    let (_, trial) = good.split_once('\n').unwrap();
    let both = Record::parse(&(late.text() + trial)).unwrap();
    assert_eq!(both.trials.len(), 2);
    let report = Report::of(&both);
    assert_eq!(report.scenarios.len(), 1);
    assert_eq!(report.verdict(), Verdict::Upheld);
    let spoiled = &only(&report).spoiled;
    assert_eq!(spoiled.len(), 1);
    assert!(spoiled[0].contains("generator was late"), "{spoiled:?}");
    assert!(
        report::markdown(&report)
            .unwrap()
            .contains("an earlier trial proved nothing")
    );
}

/// What a chart holds of one colour, as the page's legend names it: `(name, "rgb(r g b)")`.
fn colour(page: &str, name: &str) -> String {
    let entry = format!("\"></i>{name}</span>");
    let (before, _) = page
        .split_once(&entry)
        .unwrap_or_else(|| panic!("no {name}"));
    let (_, css) = before.rsplit_once("rgb(").unwrap();
    let parts = css.trim_end_matches(')').split(' ');
    let hex: String = parts
        .map(|it| format!("{:02X}", it.parse::<u8>().unwrap()))
        .collect();
    format!("#{hex}")
}

#[test]
fn the_page_draws_each_scenario_and_needs_nothing_from_elsewhere() {
    let text = Story::healthy(C_01).text();
    let page = page(&text);
    assert!(page.contains("<h1>CHAOS-20260131-001: <span class=\"upheld\">upheld</span></h1>"));
    let charts: Vec<&str> = page.split("<svg").skip(1).collect();
    assert_eq!(charts.len(), 3);
    let axis = "seconds from the scenario";
    assert!(charts.iter().all(|it| it.contains(axis)), "{page}");
    // The fault is behind each chart, the breaker's strip below it.
    for name in ["fault in force", "breaker open", "breaker half-open"] {
        let fill = format!("fill=\"{}\"", colour(&page, name));
        assert!(charts.iter().all(|it| it.contains(&fill)), "{name}");
    }
    for (chart, names) in charts.iter().zip([
        ["admitted, counted", "refused by a limit"],
        ["P50", "P99"],
        ["commands that Redis ran", "calls that failed"],
    ]) {
        for name in names {
            let stroke = format!("stroke=\"{}\"", colour(&page, name));
            assert!(chart.contains(&stroke), "{name}");
        }
    }
    let rest = page.replace("http://www.w3.org/2000/svg", "");
    for loads in ["http", "src=", "<script", "url(", "@import"] {
        assert!(!rest.contains(loads), "{loads}");
    }
}

#[test]
fn the_page_shows_what_a_record_says_and_never_runs_it() {
    let text = Story {
        failure: Some("<script>alert(1)</script>".to_owned()),
        ..Story::healthy(C_01)
    }
    .text();
    let page = page(&text);
    assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    assert!(!page.contains("<script"));
    assert!(page.contains(r#"<td class="inconclusive">inconclusive</td>"#));
}

#[test]
fn the_page_draws_the_trial_that_decided() {
    let failed = Story {
        fault: (Outcome::Unavailable, 900),
        late_us: 60_000,
        ..Story::healthy(C_01)
    };
    let (good, bad) = (Story::healthy(C_01).text(), failed.text());
    let (_, trial) = good.split_once('\n').unwrap();
    let charts = |page: &str| -> Vec<String> {
        page.split("<svg")
            .skip(1)
            .map(|it| it.split("</svg>").next().unwrap().to_owned())
            .collect()
    };
    let both = page(&(bad.clone() + trial));
    assert!(both.contains("an earlier trial proved nothing"));
    assert_eq!(charts(&both), charts(&page(&good)));
    assert_ne!(charts(&both), charts(&page(&bad)));
}
