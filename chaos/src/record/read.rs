//! Reads a record back. Nothing is tolerated silently: a line that is cut, unknown or out of
//! place is an error that names it.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::RECORD_FILE;
use super::event::{BreakerMove, Event, FaultAction, Header, Phase, Request, Sample, VERSION};
use crate::scenario::Scenario;

/// A whole run, read back.
#[derive(Debug)]
pub struct Record {
    /// Its first line.
    pub header: Header,
    /// Its scenarios, in the order they ran.
    pub trials: Vec<Trial>,
}

/// One scenario as it went.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The scenario, from the record itself.
    pub scenario: Scenario,
    /// When it began, in UTC, as RFC 3339.
    pub started: String,
    /// A hash of the filter's configuration.
    pub config_hash: String,
    /// When each phase began, in order.
    pub phases: Vec<(f64, Phase)>,
    /// The client's log, ordered by planned send time.
    pub requests: Vec<Request>,
    /// Readings of all observers, ordered by time.
    pub samples: Vec<Sample>,
    /// How many readings failed.
    pub missed: u64,
    /// What was done, ordered by time.
    pub faults: Vec<FaultAction>,
    /// Changes of the breaker, ordered by time.
    pub moves: Vec<BreakerMove>,
    /// The end: its time, and what broke in the suite. `None` when the record stops before it.
    pub end: Option<(f64, Option<String>)>,
}

/// Why a record cannot be judged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("read line {line} of the record: {why}")]
pub struct RecordError {
    /// Counts from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl Record {
    /// Reads the record in a run's folder.
    ///
    /// # Errors
    /// When it cannot be read, or is damaged.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(RECORD_FILE);
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self::parse(&text)?)
    }

    /// Reads a record's text.
    ///
    /// # Errors
    /// The first line that is wrong. The last line must end in a line feed, or it was cut.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        let mut record: Option<Self> = None;
        for (index, line) in text.split_inclusive('\n').enumerate() {
            let fail = |why: String| RecordError {
                line: index + 1,
                why,
            };
            let line = line
                .strip_suffix('\n')
                .ok_or_else(|| fail("it is cut".to_owned()))?;
            let event = serde_json::from_str(line).map_err(|error| fail(error.to_string()))?;
            match (&mut record, event) {
                (None, Event::Header(header)) if header.version == VERSION => {
                    record = Some(Self {
                        header,
                        trials: Vec::new(),
                    });
                }
                (None, Event::Header(header)) => {
                    return Err(fail(format!("version {}, not {VERSION}", header.version)));
                }
                (None, _) => return Err(fail("expected the header".to_owned())),
                (Some(record), event) => record.add(event).map_err(fail)?,
            }
        }
        let mut record = record.ok_or_else(|| RecordError {
            line: 1,
            why: "it is empty".to_owned(),
        })?;
        record.trials.iter_mut().for_each(Trial::sort);
        Ok(record)
    }

    fn add(&mut self, event: Event) -> Result<(), String> {
        if let Event::Scenario {
            text,
            started,
            config_hash,
        } = event
        {
            let scenario = Scenario::parse(&text)
                .map_err(|problems| format!("its scenario is invalid: {}", problems.join("; ")))?;
            self.trials.push(Trial::new(scenario, started, config_hash));
            return Ok(());
        }
        let Some(trial) = self.trials.last_mut().filter(|trial| trial.end.is_none()) else {
            return Err("it belongs to no scenario".to_owned());
        };
        trial.add(event)
    }
}

impl Trial {
    /// A scenario of which nothing has happened yet.
    #[must_use]
    pub fn new(scenario: Scenario, started: String, config_hash: String) -> Self {
        Self {
            scenario,
            started,
            config_hash,
            phases: Vec::new(),
            requests: Vec::new(),
            samples: Vec::new(),
            missed: 0,
            faults: Vec::new(),
            moves: Vec::new(),
            end: None,
        }
    }

    /// When it ended, seconds; where its end is not on the record, its last observation's time.
    #[must_use]
    pub fn last_s(&self) -> f64 {
        let observed = self.samples.iter().map(|it| it.at_s);
        match self.end {
            Some((at_s, _)) => at_s,
            None => observed.fold(0.0, f64::max),
        }
    }

    fn add(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Phase { at_s, phase } => self.phases.push((at_s, phase)),
            Event::Request(request) => self.requests.push(request),
            Event::Sample(sample) => self.samples.push(sample),
            Event::Missed { .. } => self.missed += 1,
            Event::Fault(action) => self.faults.push(action),
            Event::Breaker(moved) => self.moves.push(moved),
            Event::End { at_s, failure } => self.end = Some((at_s, failure)),
            Event::Header(_) | Event::Scenario { .. } => return Err("it is out of place".into()),
        }
        Ok(())
    }

    /// Observers write when they are done, so lines may be out of order by a little.
    fn sort(&mut self) {
        self.requests.sort_by(|a, b| a.due_s.total_cmp(&b.due_s));
        self.samples.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        self.faults.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        self.moves.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    }
}
