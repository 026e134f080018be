//! Writes a record, one line an event.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use super::Event;

/// Name of the record in a run's folder.
pub const RECORD_FILE: &str = "record.jsonl";

/// The one writer of a run's record.
#[derive(Debug)]
pub struct Recorder {
    file: BufWriter<File>,
}

impl Recorder {
    /// Creates the record in a run's folder.
    ///
    /// # Errors
    /// When it exists already, or cannot be created.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let file = File::create_new(folder.join(RECORD_FILE))?;
        Ok(Self {
            file: BufWriter::new(file),
        })
    }

    /// Adds one event.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, event)?;
        self.file.write_all(b"\n")
    }

    /// Hands everything written so far to the system.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
