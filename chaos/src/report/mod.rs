//! The report: what people and scripts read of a judged run. Everything below only formats it.
//!
//! The names of `report.json` are a public contract.

mod blocks;
mod charts;
mod compare;
mod course;
mod html;
mod markdown;
mod table;
mod template;

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

pub use blocks::{Baseline, FaultBlock, Recovery};
pub use compare::compare;
pub use markdown::markdown;
pub use table::verdicts;

use html::html;

use crate::judge::{Cause, Evidence, Finding, Verdict, judge};
use crate::record::{Action, Environment, Record, Trial};
use crate::scenario::Source;

/// Name of the report for scripts in a run's folder.
pub const JSON_FILE: &str = "report.json";
/// Name of the report for people in a run's folder.
pub const MARKDOWN_FILE: &str = "report.md";
/// Name of the report with charts in a run's folder.
pub const HTML_FILE: &str = "report.html";

/// A judged run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// `CHAOS-YYYYMMDD-NNN`.
    pub run_id: String,
    /// What it ran on.
    pub environment: Environment,
    /// The planned scenarios of which there is nothing, by id.
    #[serde(default)]
    pub not_run: Vec<String>,
    /// In the order they ran.
    pub scenarios: Vec<ScenarioReport>,
}

/// One judged scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScenarioReport {
    /// For example `C-01`.
    pub id: String,
    /// For example `redis-unavailable`.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// What was put to the test.
    pub hypothesis: String,
    /// When it began, in UTC, as RFC 3339.
    pub started: String,
    /// A hash of the filter's configuration.
    pub config_hash: String,
    /// What the trial proves.
    pub verdict: Verdict,
    /// Why it is inconclusive; `null` when it is not.
    #[serde(default)]
    pub cause: Option<Cause>,
    /// The steady state failed before any fault.
    pub void: bool,
    /// Why it is not upheld.
    pub reasons: Vec<String>,
    /// Why each earlier trial of it proved nothing; most often there was none.
    #[serde(default)]
    pub spoiled: Vec<String>,
    /// The steady state.
    pub baseline: Baseline,
    /// Under fault.
    pub fault: FaultBlock,
    /// Afterwards.
    pub recovery: Recovery,
    /// Breaker changes and faults by time.
    pub timeline: Vec<Moment>,
    /// Every bound.
    pub checks: Vec<CheckReport>,
}

/// One entry of a timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Seconds from the scenario's start.
    pub at_s: f64,
    /// `fault` or `breaker`.
    pub kind: String,
    /// What happened.
    pub what: String,
}

/// One bound and how it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// A sentence.
    pub name: String,
    /// Whose bound it is.
    pub source: String,
    /// `null` when it was not measured, or never came to pass.
    pub measured: Option<f64>,
    /// The measured number as people read it, or why there is none.
    pub shown: String,
    /// For example `< 50 ms`.
    pub bound: String,
    /// `null` when it was not measured.
    pub held: Option<bool>,
}

impl Report {
    /// Judges a record. Pure: the same record gives the same report.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self::told(record).0
    }

    /// The report, and for each of its scenarios the trial that it tells of.
    fn told(record: &Record) -> (Self, Vec<&Trial>) {
        let environment = record.header.environment.clone();
        let mut scenarios: Vec<ScenarioReport> = Vec::new();
        let mut trials = Vec::new();
        for trial in &record.trials {
            let mut report = ScenarioReport::of(trial, &environment);
            // Only a trial that proved nothing gives way to the next: what is refuted stays so.
            let gives_way = |before: &mut ScenarioReport| {
                before.id == report.id && before.verdict == Verdict::Inconclusive
            };
            if let Some(spoiled) = scenarios.pop_if(gives_way) {
                report.spoiled = [spoiled.spoiled, vec![spoiled.reasons.join("; ")]].concat();
                trials.pop();
            }
            scenarios.push(report);
            trials.push(trial);
        }
        let ran = |id: &String| scenarios.iter().any(|it| it.id == *id);
        let planned = record.header.planned.iter();
        let not_run = planned.filter(|id| !ran(id)).cloned().collect();
        let report = Self {
            run_id: record.header.run_id.clone(),
            environment,
            not_run,
            scenarios,
        };
        (report, trials)
    }

    /// Judges the record in a run's folder and writes the reports beside it.
    ///
    /// # Errors
    /// When the record cannot be read or is damaged, or a report cannot be written.
    pub fn make(folder: &Path) -> anyhow::Result<Self> {
        let record = Record::load(folder)?;
        let (report, trials) = Self::told(&record);
        let json = serde_json::to_string_pretty(&report)? + "\n";
        let save = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        save(JSON_FILE, json)?;
        save(MARKDOWN_FILE, markdown(&report)?)?;
        save(HTML_FILE, html(&report, &trials)?)?;
        Ok(report)
    }

    /// Reads a run's `report.json`.
    ///
    /// # Errors
    /// When it is not there, or not a report.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(JSON_FILE);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))
    }

    /// The verdict on the whole run: refuted when any scenario is, else inconclusive when any is,
    /// or when a planned one is not there, or none is.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let any = |verdict| self.scenarios.iter().any(|it| it.verdict == verdict);
        if any(Verdict::Refuted) {
            Verdict::Refuted
        } else if any(Verdict::Inconclusive)
            || !self.not_run.is_empty()
            || self.scenarios.is_empty()
        {
            Verdict::Inconclusive
        } else {
            Verdict::Upheld
        }
    }
}

impl ScenarioReport {
    fn of(trial: &Trial, environment: &Environment) -> Self {
        let evidence = Evidence::new(trial, environment);
        let judgement = judge(trial, environment);
        Self {
            id: trial.scenario.id.clone(),
            name: trial.scenario.name.clone(),
            title: trial.scenario.title.clone(),
            hypothesis: trial.scenario.hypothesis.clone(),
            started: trial.started.clone(),
            config_hash: trial.config_hash.clone(),
            verdict: judgement.verdict,
            cause: judgement.cause,
            void: judgement.void,
            reasons: judgement.reasons,
            spoiled: Vec::new(),
            baseline: Baseline::of(&evidence),
            fault: FaultBlock::of(&evidence),
            recovery: Recovery::of(&evidence),
            timeline: timeline(trial),
            checks: judgement.findings.iter().map(CheckReport::of).collect(),
        }
    }

    /// The verdict with the word void where it applies.
    #[must_use]
    pub fn verdict_text(&self) -> String {
        let void = if self.void { " (void)" } else { "" };
        format!("{}{void}", self.verdict.name())
    }

    /// How many of a source's bounds held, and how many there are.
    #[must_use]
    pub fn score(&self, source: Source) -> (usize, usize) {
        let name = source_name(source);
        let all = self.checks.iter().filter(|it| it.source == name);
        (
            all.clone().filter(|it| it.held == Some(true)).count(),
            all.count(),
        )
    }
}

impl CheckReport {
    fn of(finding: &Finding) -> Self {
        let Finding { check, measured } = finding;
        Self {
            name: check.name.clone(),
            source: source_name(check.source).to_owned(),
            measured: measured.as_ref().ok().copied().filter(|it| it.is_finite()),
            shown: match measured {
                Ok(measured) => check.measure.show(*measured),
                Err(unmeasured) => format!("not measured: {unmeasured}"),
            },
            bound: check.bound_text(),
            held: finding.held(),
        }
    }
}

fn source_name(source: Source) -> &'static str {
    match source {
        Source::Plan => "plan",
        Source::Target => "target",
    }
}

fn timeline(trial: &Trial) -> Vec<Moment> {
    let faults = trial.faults.iter().map(|it| Moment {
        at_s: it.at_s,
        kind: "fault".to_owned(),
        what: match it.action {
            Action::Inject => format!("{} injected", it.fault),
            Action::Heal if it.read_back["toxiproxy_restarted"] == true => {
                format!("{} healed; toxiproxy restarted", it.fault)
            }
            Action::Heal => format!("{} healed", it.fault),
        },
    });
    let moves = trial.moves.iter().map(|it| Moment {
        at_s: it.at_s,
        kind: "breaker".to_owned(),
        what: format!("{} -> {}: {}", it.from.name(), it.to.name(), it.reason),
    });
    let mut timeline: Vec<Moment> = faults.chain(moves).collect();
    timeline.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    timeline
}
