//! A process as the kernel sees it: CPU time, memory, threads.

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

/// One look at a process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProcessSample {
    /// CPU time used since its start, in seconds, user and system.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// Threads.
    pub threads: u64,
}

impl ProcessSample {
    /// Looks at the process `pid` in `/proc`.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn take(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Self::parse(&text, per_second()?, page_bytes()?).with_context(|| format!("in {path}"))
    }

    /// Fields as proc(5) numbers them; the command (field 2) may hold spaces and brackets.
    fn parse(stat: &str, ticks_per_second: f64, page_bytes: u64) -> Result<Self> {
        let (_, rest) = stat.rsplit_once(") ").context("no command")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| -> Result<u64> {
            let text = fields
                .get(number - 3)
                .with_context(|| format!("no field {number}"))?;
            Ok(text.parse()?)
        };
        Ok(Self {
            cpu_seconds: (field(14)? + field(15)?) as f64 / ticks_per_second,
            threads: field(20)?,
            rss_bytes: field(24)? * page_bytes,
        })
    }
}

fn per_second() -> Result<f64> {
    Ok(sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")? as f64)
}

fn page_bytes() -> Result<u64> {
    Ok(u64::try_from(
        sysconf(SysconfVar::PAGE_SIZE)?.context("no page size")?,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 150 50 0 0 20 0 9 0 5 4096 3 0";
        let sample = ProcessSample::parse(stat, 100.0, 4096).unwrap();
        let expected = ProcessSample {
            cpu_seconds: 2.0,
            rss_bytes: 3 * 4096,
            threads: 9,
        };
        assert_eq!(sample, expected);
    }

    #[test]
    fn this_process_has_memory_and_threads() {
        let sample = ProcessSample::take(std::process::id()).unwrap();
        assert!(sample.rss_bytes > 0 && sample.threads > 0);
    }
}
