//! The command line: `run`, `list`, `judge`, `compare`, `demo`, `bench`, `check`, `explain`.

use std::io::{self, ErrorKind, Write as _};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};

use crate::bench::{self, Peer};
use crate::exit::Exit;
use crate::report::{self, Report};
use crate::scenario::{self, Scenario};
use crate::tools::repository;
use crate::{check, demo, explain, run};

const SCENARIOS: &str = "chaos/scenarios";
const REPORTS: &str = "chaos/reports";

/// Chaos runs for VelocityGate: a real stack, real faults, judged from the record.
#[derive(Debug, Parser)]
#[command(name = "chaos", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios, the default set unless some are named, and judge them.
    Run {
        /// Identifier or name; more than one by repeating it or with commas.
        #[arg(long, value_name = "ID|NAME", value_delimiter = ',')]
        scenario: Vec<String>,
        /// What to run them on.
        #[arg(long, value_enum, default_value_t = StackKind::Native)]
        stack: StackKind,
        /// Folder of scenario files; chaos/scenarios unless given.
        #[arg(long, value_name = "DIR")]
        scenarios: Option<PathBuf>,
        /// Folder for the run's own folder; chaos/reports unless given.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// List the scenarios.
    List {
        /// Folder of scenario files; chaos/scenarios unless given.
        #[arg(long, value_name = "DIR")]
        scenarios: Option<PathBuf>,
    },
    /// Judge a run again, from its record.
    Judge {
        /// The run's folder.
        run_dir: PathBuf,
    },
    /// Compare what two runs measured.
    Compare {
        /// The earlier run's folder.
        before: PathBuf,
        /// The later run's folder.
        after: PathBuf,
    },
    /// Start the stack to try by hand; Ctrl-C stops it.
    Demo,
    /// Measure the filter beside its peers, and judge the ratios by their targets.
    ///
    /// Ends with 1 when a target is missed, with 3 when one was not measured.
    Bench {
        /// Who takes part, all unless given; more than one by repeating it or with commas.
        #[arg(long, value_enum, value_name = "NAME", value_delimiter = ',')]
        peer: Vec<Peer>,
        /// Turns of each peer.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=ROUNDS_MAX))]
        rounds: u64,
        /// Seconds of full load in a turn, and of the fixed rate.
        #[arg(long, default_value_t = 5.0, value_parser = seconds)]
        seconds: f64,
        /// Folder for the run's own folder; chaos/reports unless given.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Check configurations: the filter's JSON, or Envoy configurations that hold it.
    ///
    /// Ends with 2 when the filter or Envoy would refuse one, else with 0.
    Check {
        /// Let warnings count, too: end with 2 when there is one.
        #[arg(long)]
        strict: bool,
        /// A file; YAML or JSON.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Explain what a configuration makes of a request: rules, counters, what Redis is asked.
    Explain(explain::Arguments),
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StackKind {
    /// Processes of this machine.
    Native,
    /// Docker Compose.
    Compose,
}

impl Cli {
    /// Does what was asked and says how it went.
    ///
    /// # Errors
    /// When the request, a scenario or the machine's set-up is wrong; a run that merely went
    /// badly is no error but a verdict.
    pub async fn execute(self) -> Result<Exit> {
        match self.command {
            Command::Run {
                scenario,
                stack,
                scenarios,
                out,
            } => {
                let chosen = scenario::select(load(scenarios)?, &scenario)?;
                run_scenarios(&chosen, stack, out).await
            }
            Command::List { scenarios } => {
                show(&list(&load(scenarios)?))?;
                Ok(Exit::Success)
            }
            Command::Judge { run_dir } => {
                let report = Report::make(&run_dir)?;
                show(&report::verdicts(&report))?;
                Ok(report.verdict().into())
            }
            Command::Compare { before, after } => {
                let (before, after) = (Report::load(&before)?, Report::load(&after)?);
                show(&report::compare(&before, &after))?;
                Ok(Exit::Success)
            }
            Command::Bench {
                peer,
                rounds,
                seconds,
                out,
            } => {
                let out = out.unwrap_or_else(|| repository().join(REPORTS));
                let settings = bench::Settings::new(rounds, seconds);
                let (exit, report, table) = bench::run(&peer, &settings, &out).await?;
                show(&format!("\n{table}{}\n", report.display()))?;
                Ok(exit)
            }
            Command::Check { strict, files } => {
                let (text, exit) = check::check(&files, strict);
                show(&text)?;
                Ok(exit)
            }
            Command::Explain(arguments) => {
                show(&explain::explain(&arguments)?)?;
                Ok(Exit::Success)
            }
            Command::Demo => {
                let folder = tempfile::Builder::new()
                    .prefix("velocitygate-demo-")
                    .tempdir()?;
                demo::run(folder.path().to_owned()).await?;
                Ok(Exit::Success)
            }
        }
    }
}

/// Most rounds of a benchmark.
const ROUNDS_MAX: u64 = 100;
/// Bounds of a turn's load, seconds.
const SECONDS: RangeInclusive<f64> = 0.1..=60.0;

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|it| SECONDS.contains(it));
    seconds.ok_or_else(|| {
        format!(
            "expected a number from {} to {}",
            SECONDS.start(),
            SECONDS.end()
        )
    })
}

async fn run_scenarios(
    scenarios: &[Scenario],
    stack: StackKind,
    out: Option<PathBuf>,
) -> Result<Exit> {
    if matches!(stack, StackKind::Compose) {
        bail!("stack compose is not supported yet; stack native needs no Docker");
    }
    let out = out.unwrap_or_else(|| repository().join(REPORTS));
    let ran = run::run(scenarios, &out).await?;
    let report = Report::make(&ran.folder)?;
    let markdown = ran.folder.join(report::MARKDOWN_FILE);
    let verdicts = report::verdicts(&report);
    show(&format!("\n{verdicts}{}\n", markdown.display()))?;
    Ok(Exit::after(report.verdict(), ran.is_interrupted()))
}

/// Prints. A reader that has seen enough and is gone, such as `head`, is no failure.
fn show(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot print"),
    }
}

fn list(scenarios: &[Scenario]) -> String {
    let line = |scenario: &Scenario| {
        let length = scenario.phases.end_at_s();
        let note = if scenario.default {
            ""
        } else {
            " (only when named)"
        };
        format!(
            "{:5} {:22} {length:3.0} s  {}{note}\n",
            scenario.id, scenario.name, scenario.title
        )
    };
    scenarios.iter().map(line).collect()
}

fn load(folder: Option<PathBuf>) -> Result<Vec<Scenario>> {
    let folder = folder.unwrap_or_else(|| repository().join(SCENARIOS));
    let scenarios = scenario::load_all(&folder)?;
    ensure!(
        !scenarios.is_empty(),
        "no scenario (*.toml) in {}",
        folder.display()
    );
    Ok(scenarios)
}
