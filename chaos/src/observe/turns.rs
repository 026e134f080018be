//! The kernel's scheduler: how long threads ran, and how long they were ready to run and got no
//! processor. On a busy machine the latter is part of every latency, whoever is measured.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

/// One look at the threads of some processes, each counting since its own start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turns {
    threads: BTreeMap<u32, Turn>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Turn {
    ran: Duration,
    waited: Duration,
}

impl Turns {
    /// Looks at processes in `/proc`, but for those that are gone.
    ///
    /// # Errors
    /// When all are, or the kernel keeps no such statistics.
    pub fn take(pids: &[u32]) -> Result<Self> {
        let mut threads = BTreeMap::new();
        for pid in pids {
            let path = format!("/proc/{pid}/task");
            // A process may end before the first look, a thread between the two.
            for entry in fs::read_dir(&path).into_iter().flatten() {
                let thread = entry?.file_name().to_string_lossy().parse()?;
                if let Ok(text) = fs::read_to_string(format!("{path}/{thread}/schedstat")) {
                    threads.insert(thread, Turn::parse(&text)?);
                }
            }
        }
        anyhow::ensure!(!threads.is_empty(), "no schedstat of {pids:?}");
        Ok(Self { threads })
    }

    /// How long all threads together ran since an earlier look.
    #[must_use]
    pub fn ran_since(&self, before: &Self) -> Duration {
        self.since(before, |turn| turn.ran).sum()
    }

    /// How long the one that waited longest waited since an earlier look.
    #[must_use]
    pub fn waited_since(&self, before: &Self) -> Duration {
        let waited = self.since(before, |turn| turn.waited);
        waited.max().unwrap_or_default()
    }

    fn since(&self, before: &Self, of: fn(&Turn) -> Duration) -> impl Iterator<Item = Duration> {
        self.threads.iter().map(move |(thread, turn)| {
            let earlier = before.threads.get(thread).map(of);
            of(turn).saturating_sub(earlier.unwrap_or_default())
        })
    }
}

impl Turn {
    /// Nanoseconds run, nanoseconds waited, and a count, as the kernel's sched-stats.rst has them.
    fn parse(schedstat: &str) -> Result<Self> {
        let mut fields = schedstat.split_whitespace().map(str::parse);
        let mut next = || anyhow::Ok(Duration::from_nanos(fields.next().context("cut short")??));
        Ok(Self {
            ran: next()?,
            waited: next()?,
        })
    }
}

/// One look at what the host of a virtual machine kept from each of its processors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stolen(Vec<Duration>);

impl Stolen {
    /// Looks at `/proc/stat`.
    ///
    /// # Errors
    /// When it is not as proc(5) has it.
    pub fn take() -> Result<Self> {
        let per_second = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")?;
        Self::parse(
            &fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?,
            u32::try_from(per_second)?,
        )
    }

    fn parse(stat: &str, ticks_per_second: u32) -> Result<Self> {
        let tick = Duration::from_secs(1) / ticks_per_second;
        // The line "cpu" is their sum; "steal" is the eighth number of each.
        let each = stat.lines().filter_map(|line| line.strip_prefix("cpu"));
        let each = each.filter(|rest| !rest.starts_with(' '));
        let stolen = each.map(|rest| {
            let ticks = rest.split_whitespace().nth(8).context("no steal")?;
            Ok(tick * ticks.parse::<u32>()?)
        });
        stolen.collect::<Result<_>>().map(Self)
    }

    /// What was kept since an earlier look from the processor that lost most.
    #[must_use]
    pub fn since(&self, before: &Self) -> Duration {
        let pairs = self.0.iter().zip(&before.0);
        let lost = pairs.map(|(now, then)| now.saturating_sub(*then));
        lost.max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn turns(threads: &[(u32, &str)]) -> Turns {
        let parsed = |(thread, text): &(u32, &str)| (*thread, Turn::parse(text).unwrap());
        Turns {
            threads: threads.iter().map(parsed).collect(),
        }
    }

    #[test]
    fn running_adds_up_and_the_longest_wait_counts() {
        let before = turns(&[(1, "1000 500 3\n"), (2, "2000 100 4\n"), (9, "7 7 7\n")]);
        let after = turns(&[(1, "1500 600 5\n"), (2, "2100 400 6\n"), (3, "50 20 1\n")]);
        assert_eq!(after.ran_since(&before), Duration::from_nanos(650));
        assert_eq!(after.waited_since(&before), Duration::from_nanos(300));
        assert!(Turn::parse("12\n").is_err());
    }

    #[test]
    fn the_processor_that_lost_most_counts() {
        let parse = |one, two| {
            let text = format!(
                "cpu  9 9 9 9 9 9 9 999 0 0\ncpu0 9 9 9 9 9 9 9 {one} 0 0\ncpu1 9 9 9 9 9 9 9 {two} 0 0\nintr 5\n"
            );
            Stolen::parse(&text, 100).unwrap()
        };
        let lost = parse(7, 12).since(&parse(6, 4));
        assert_eq!(lost, Duration::from_millis(80));
        assert!(Stolen::parse("cpu0 1 2 3\n", 100).is_err());
    }

    #[test]
    fn this_machine_keeps_both_counts() {
        let look = || Turns::take(&[std::process::id(), u32::MAX]).unwrap();
        let (before, start) = (look(), Instant::now());
        while look().ran_since(&before) < Duration::from_millis(1) {
            assert!(start.elapsed() < Duration::from_secs(60));
        }
        Stolen::take().unwrap();
        assert!(Turns::take(&[u32::MAX]).is_err());
    }
}
