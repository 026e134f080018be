//! Redis as it counts itself: `INFO` and `DBSIZE`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::stack::Redis;

/// One look at Redis. Counters begin at its start, so a restart sets them back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisSample {
    /// `EVALSHA` calls, refused ones (NOSCRIPT) included.
    pub evalsha_calls: u64,
    /// `EVAL` calls.
    pub eval_calls: u64,
    /// Commands of any kind, observers' own included.
    pub commands: u64,
    /// Bytes of memory in use.
    pub used_memory: u64,
    /// Connections accepted, observers' own included.
    pub connections: u64,
    /// Keys.
    pub keys: u64,
}

impl RedisSample {
    /// Asks Redis.
    ///
    /// # Errors
    /// When it does not answer within 10 s.
    pub async fn take(redis: &Redis) -> Result<Self> {
        let mut sample = Self::parse(&redis.info().await?)?;
        sample.keys = redis.dbsize().await?;
        Ok(sample)
    }

    fn parse(info: &str) -> Result<Self> {
        let fields: BTreeMap<&str, &str> = info
            .lines()
            .filter_map(|line| line.trim_end().split_once(':'))
            .collect();
        let number = |name: &str| -> Result<u64> {
            let text = fields
                .get(name)
                .with_context(|| format!("INFO has no {name}"))?;
            text.parse().with_context(|| format!("INFO {name}"))
        };
        let calls = |command: &str| -> u64 {
            let stats = fields.get(format!("cmdstat_{command}").as_str());
            let calls = stats.and_then(|stats| stats.strip_prefix("calls=")?.split(',').next());
            // A command that was never called has no line.
            calls.and_then(|calls| calls.parse().ok()).unwrap_or(0)
        };
        Ok(Self {
            evalsha_calls: calls("evalsha"),
            eval_calls: calls("eval"),
            commands: number("total_commands_processed")?,
            used_memory: number("used_memory")?,
            connections: number("total_connections_received")?,
            keys: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Memory\r\nused_memory:1000\r\ntotal_connections_received:3\r\n\
        total_commands_processed:9\r\ncmdstat_evalsha:calls=5,usec=7,failed_calls=1\r\n";

    #[test]
    fn a_command_never_called_counts_zero() {
        let sample = RedisSample::parse(INFO).unwrap();
        assert_eq!((sample.evalsha_calls, sample.eval_calls), (5, 0));
        assert_eq!(
            (sample.commands, sample.used_memory, sample.connections),
            (9, 1000, 3)
        );
    }

    #[test]
    fn a_missing_field_is_named() {
        let error = RedisSample::parse("used_memory:1\r\n").unwrap_err();
        assert!(
            error.to_string().contains("total_commands_processed"),
            "{error}"
        );
    }
}
