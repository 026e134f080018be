//! The report of a benchmark: the targets first, then what each peer measured.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use comfy_table::{Table, presets};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment as Jinja, UndefinedBehavior, Value, context};
use serde::Serialize;

use super::Settings;
use super::measured::Measured;
use super::memory::Memory;
use super::peer::Peer;
use super::stats::Spread;
use super::target::{Bound, Judged, Target, Verdict};
use super::targets::{Sheet, TARGETS};
use crate::exit::Exit;
use crate::record::Environment;

/// The report for people.
pub(super) const MARKDOWN_FILE: &str = "bench.md";
/// The report for programs.
const JSON_FILE: &str = "bench.json";
const TEMPLATE: &str = include_str!("bench.md.jinja");

/// One peer's turn in one round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Turn {
    peer: Peer,
    round: u64,
    /// `None` when it was void.
    measured: Option<Measured>,
    /// Why it was.
    void: Option<String>,
}

/// A peer that could not be measured at all.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Lack {
    pub(super) peer: Peer,
    pub(super) reason: String,
}

/// What a run leaves to be judged.
pub(super) struct Ran {
    pub(super) run_id: String,
    pub(super) started: String,
    pub(super) environment: Environment,
    pub(super) settings: Settings,
    pub(super) wanted: BTreeSet<Peer>,
    pub(super) lacks: Vec<Lack>,
    pub(super) turns: Vec<Turn>,
    pub(super) memory: Result<Memory, String>,
    pub(super) module_bytes: Option<u64>,
    pub(super) interrupted: bool,
}

/// A peer's medians over its rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    peer: Peer,
    rounds: usize,
    medians: Measured,
    rps: Option<Spread>,
    /// CPU per request beyond that without a filter, where that was measured.
    added_us: Option<f64>,
}

/// The report.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    run_id: String,
    started: String,
    environment: Environment,
    settings: Settings,
    verdict: Verdict,
    interrupted: bool,
    targets: Vec<Judged>,
    peers: Vec<Row>,
    lacks: Vec<Lack>,
    memory: Option<Memory>,
    module_bytes: Option<u64>,
    turns: Vec<Turn>,
}

impl Turn {
    pub(super) fn new(peer: Peer, round: u64, outcome: Result<Measured>) -> Self {
        let (measured, void) = match outcome {
            Ok(measured) => (Some(measured), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        Self {
            peer,
            round,
            measured,
            void,
        }
    }
}

impl Ran {
    fn measured(&self, peer: Peer) -> Vec<Measured> {
        let turns = self.turns.iter().filter(|it| it.peer == peer);
        turns.filter_map(|it| it.measured).collect()
    }

    fn sheet(&self, peers: impl IntoIterator<Item = (Peer, Measured)>) -> Sheet {
        Sheet {
            peers: peers.into_iter().collect(),
            memory: self.memory.as_ref().ok().copied(),
            module_bytes: self.module_bytes,
        }
    }

    fn medians(&self) -> Sheet {
        let median = |peer: Peer| Some((peer, Measured::median(&self.measured(peer))?));
        self.sheet(self.wanted.iter().filter_map(|peer| median(*peer)))
    }

    fn round(&self, round: u64) -> Sheet {
        let turns = self.turns.iter().filter(|it| it.round == round);
        self.sheet(turns.filter_map(|it| Some((it.peer, it.measured?))))
    }

    /// Why this target has no value.
    fn why(&self, target: &Target) -> String {
        if let (true, Err(reason)) = (target.memory, &self.memory) {
            return reason.clone();
        }
        let reasons = target.peers.iter().filter_map(|peer| {
            let lack = self.lacks.iter().find(|it| it.peer == *peer);
            let void = self.turns.iter().rfind(|it| it.peer == *peer);
            let reason = match (lack, void) {
                (Some(lack), _) => lack.reason.clone(),
                (None, Some(turn)) => turn.void.clone()?,
                (None, None) if self.wanted.contains(peer) => "interrupted".to_owned(),
                (None, None) => "not asked for".to_owned(),
            };
            Some(format!("{peer}: {reason}"))
        });
        let reasons: Vec<String> = reasons.collect();
        match reasons.is_empty() {
            true => "no ratio to what added no CPU time that shows".to_owned(),
            false => reasons.join("; "),
        }
    }
}

impl Report {
    pub(super) fn new(ran: Ran) -> Self {
        let medians = ran.medians();
        let rounds: Vec<Sheet> = (1..=ran.settings.rounds).map(|it| ran.round(it)).collect();
        let judge = |it: &Target| it.judge(&medians, &rounds, |target| ran.why(target));
        let targets: Vec<Judged> = TARGETS.iter().map(judge).collect();
        let row = |peer: Peer| {
            let turns = ran.measured(peer);
            Some(Row {
                peer,
                rounds: turns.len(),
                medians: Measured::median(&turns)?,
                rps: Spread::of(turns.iter().map(|it| it.rps)),
                added_us: medians.added_us(peer),
            })
        };
        Self {
            verdict: Verdict::of_all(targets.iter().map(|it| it.verdict)),
            targets,
            peers: ran.wanted.iter().filter_map(|peer| row(*peer)).collect(),
            run_id: ran.run_id,
            started: ran.started,
            environment: ran.environment,
            settings: ran.settings,
            interrupted: ran.interrupted,
            lacks: ran.lacks,
            memory: ran.memory.ok(),
            module_bytes: ran.module_bytes,
            turns: ran.turns,
        }
    }

    /// How the command ends.
    pub(super) fn exit(&self) -> Exit {
        match self.verdict {
            Verdict::Missed => Exit::Refuted,
            Verdict::Held if !self.interrupted => Exit::Success,
            Verdict::Held | Verdict::NotMeasured => Exit::Inconclusive,
        }
    }

    /// Writes `bench.md` and `bench.json` into `folder`.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(self)? + "\n";
        let files = [(JSON_FILE, json), (MARKDOWN_FILE, markdown(self)?)];
        for (name, text) in files {
            let path = folder.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

fn markdown(report: &Report) -> Result<String, minijinja::Error> {
    let mut jinja = Jinja::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    jinja.set_syntax(syntax);
    jinja.set_undefined_behavior(UndefinedBehavior::Strict);
    jinja.add_filter("digits", |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |it| format!("{it:.digits$}"))
    });
    jinja.add_template("bench", TEMPLATE)?;
    let rows: Vec<[String; 5]> = report.targets.iter().map(cells).collect();
    let verdict = report.verdict.name();
    jinja
        .get_template("bench")?
        .render(context! { verdict, rows, ..Value::from(Serde(report)) })
}

/// The table of targets that ends a run on the terminal.
#[must_use]
pub(super) fn table(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["target", "bound", "measured", "rounds", "verdict"]);
    let mut reasons = String::new();
    for target in &report.targets {
        table.add_row(cells(target));
        if let Some(reason) = &target.reason {
            reasons += &format!("\n{}: not measured: {reason}", target.name);
        }
    }
    let verdict = report.verdict.name();
    format!("{table}\n{reasons}\n\n{}: {verdict}\n", report.run_id)
}

/// Target, bound, value, least and greatest of the rounds, verdict.
fn cells(target: &Judged) -> [String; 5] {
    let dash = || "-".to_owned();
    [
        target.name.to_owned(),
        bound(target.bound, target.unit),
        target.value.map_or_else(dash, number),
        target.rounds.map_or_else(dash, |it| {
            format!("{} to {}", number(it.least), number(it.greatest))
        }),
        target.verdict_text(),
    ]
}

fn bound(bound: Bound, unit: &str) -> String {
    match bound {
        Bound::AtMost(most) => format!("≤ {most} {unit}"),
        Bound::AtLeast(least) => format!("≥ {least} {unit}"),
    }
}

/// Three digits that count are enough for what a machine repeats.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        big if big >= 100.0 => 0,
        some if some >= 10.0 => 1,
        few if few >= 1.0 => 2,
        small if small >= 0.1 => 3,
        _ => 4,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
