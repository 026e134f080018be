//! Reads the breaker's changes from Envoy's log, pure.
//!
//! A line is Envoy's prefix, then the filter's text:
//! `[2026-01-31 12:00:00.123][17][warning][wasm] […] wasm log …: breaker closed -> open: reason`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::event::{BreakerMove, BreakerState};

/// The breaker's change that a line of Envoy's log tells, if it tells one.
///
/// `started` is the scenario's start, `zone` the time zone in which Envoy logs. A line whose time cannot be read
/// tells nothing: a change without its time would mislead.
#[must_use]
pub fn parse_breaker_line(line: &str, started: Timestamp, zone: &TimeZone) -> Option<BreakerMove> {
    let (_, change) = line.split_once("breaker ")?;
    let (moved, reason) = change.split_once(": ")?;
    let (from, to) = moved.split_once(" -> ")?;
    let (from, to) = (BreakerState::parse(from)?, BreakerState::parse(to)?);
    let time = line.strip_prefix('[')?.split_once(']')?.0;
    let time = DateTime::strptime("%Y-%m-%d %H:%M:%S%.f", time).ok()?;
    let time = zone.to_timestamp(time).ok()?;
    let at_s = time.duration_since(started).as_secs_f64();
    Some(BreakerMove {
        at_s,
        from,
        to,
        reason: reason.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTED: &str = "2026-01-31T12:00:00Z";

    fn parse(line: &str) -> Option<BreakerMove> {
        parse_breaker_line(line, STARTED.parse().unwrap(), &TimeZone::UTC)
    }

    #[test]
    fn a_change_is_read_with_its_time_and_reason() {
        let line = "[2026-01-31 12:00:01.250][17][warning][wasm] [source/wasm.cc:1] wasm log \
                    velocitygate: breaker closed -> open: 10 of 10 calls failed (last: timeout)";
        let moved = parse(line).unwrap();
        assert_eq!(
            (moved.from, moved.to),
            (BreakerState::Closed, BreakerState::Open)
        );
        assert!((moved.at_s - 1.25).abs() < 1e-9);
        assert_eq!(moved.reason, "10 of 10 calls failed (last: timeout)");
    }

    #[test]
    fn other_lines_and_lines_without_a_time_tell_nothing() {
        assert_eq!(
            parse("[2026-01-31 12:00:01.250][17][info][main] starting"),
            None
        );
        assert_eq!(parse("breaker closed -> open: no time"), None);
        assert_eq!(
            parse("[2026-01-31 12:00:01.250][1][warn] breaker shut -> open: x"),
            None
        );
    }
}
