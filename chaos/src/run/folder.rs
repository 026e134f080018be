//! A run's folder and number: `CHAOS-YYYYMMDD-NNN` (or `BENCH-…`), counted within the day, in UTC.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

/// Most runs of one day: the number has three digits.
const RUNS_MAX: u32 = 999;

/// Creates the next free folder in `out` for a run of this kind; gives its path and the run's number.
pub(crate) fn create(out: &Path, kind: &str) -> Result<(PathBuf, String)> {
    create_on(out, kind, &Timestamp::now().strftime("%Y%m%d").to_string())
}

fn create_on(out: &Path, kind: &str, day: &str) -> Result<(PathBuf, String)> {
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    for number in 1..=RUNS_MAX {
        let run_id = format!("{kind}-{day}-{number:03}");
        let folder = out.join(&run_id);
        // Creating is the test: two runs that start together get two numbers.
        match fs::create_dir(&folder) {
            Ok(()) => return Ok((folder, run_id)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot make {}", folder.display()));
            }
        }
    }
    bail!("{} holds {RUNS_MAX} runs of today already", out.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_within_a_day_and_end_after_three_digits() {
        let out = tempfile::tempdir().unwrap();
        for number in 1..=RUNS_MAX {
            let (folder, run_id) = create_on(out.path(), "CHAOS", "20260131").unwrap();
            assert_eq!(run_id, format!("CHAOS-20260131-{number:03}"));
            assert!(folder.is_dir());
        }
        assert!(create_on(out.path(), "CHAOS", "20260131").is_err());
        assert_eq!(
            create_on(out.path(), "CHAOS", "20260201").unwrap().1,
            "CHAOS-20260201-001"
        );
    }
}
