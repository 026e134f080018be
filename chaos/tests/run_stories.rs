//! Stories about whole runs: what did not run, or ran twice, must not pass for a success.

mod story;

use story::Story;
use velocitygate_chaos::judge::Verdict;
use velocitygate_chaos::record::Record;
use velocitygate_chaos::report::{self, Report};

const C_01: &str = "c-01-redis-unavailable.toml";

fn report(text: &str) -> Report {
    Report::of(&Record::parse(text).unwrap())
}

#[test]
fn a_run_that_lacks_a_planned_scenario_is_inconclusive_and_names_it() {
    let whole = Story::healthy(C_01).text();
    assert_eq!(report(&whole).verdict(), Verdict::Upheld);
    let planned = r#""planned":["C-01"]"#;
    assert!(whole.contains(planned));
    let cut = report(&whole.replacen(planned, r#""planned":["C-01","C-02","C-05"]"#, 1));
    assert_eq!(cut.verdict(), Verdict::Inconclusive);
    let table = report::verdicts(&cut);
    assert!(table.contains("not run: C-02, C-05"), "{table}");
    let markdown = report::markdown(&cut).unwrap();
    assert!(markdown.contains("| C-05 | not run | |"), "{markdown}");
}
