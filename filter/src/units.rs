//! Quantities with their units in the type. All arithmetic saturates: a wait that does not fit in
//! 64 bits of microseconds (584,000 years) is as good as the longest one that does.

use std::fmt;
use std::ops::{Add, Sub};

/// A span of time in whole microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

impl Micros {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `n` milliseconds.
    pub const fn from_millis(n: u64) -> Self {
        Self(n.saturating_mul(1_000))
    }

    /// `n` seconds.
    pub const fn from_secs(n: u64) -> Self {
        Self(n.saturating_mul(1_000_000))
    }

    /// The whole milliseconds in this span, the rest dropped.
    pub const fn whole_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// The milliseconds in this span, a started one counted as a whole one.
    pub const fn millis_rounded_up(self) -> u64 {
        self.0.div_ceil(1_000)
    }

    /// The seconds in this span, a started second counted as a whole one, so that a client that
    /// is told to wait this long never comes back early.
    pub const fn secs_rounded_up(self) -> u64 {
        self.0.div_ceil(1_000_000)
    }

    /// This span `factor` times, at most `Micros(u64::MAX)`.
    pub const fn saturating_mul(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl Add for Micros {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Micros {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Micros {
    /// The largest unit that divides the span: `250us`, `50ms`, `1s`, `366d`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 5] = [
            (86_400_000_000, "d"),
            (3_600_000_000, "h"),
            (60_000_000, "m"),
            (1_000_000, "s"),
            (1_000, "ms"),
        ];
        let mut units = UNITS.iter();
        let unit = units.find(|(unit, _)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        let (unit, name) = unit.unwrap_or(&(1, "us"));
        write!(f, "{}{name}", self.0.checked_div(*unit).unwrap_or_default())
    }
}

/// A point in time on one clock of a worker, in microseconds since 1970 as that clock has it. Never
/// compared with Redis's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// How long ago `earlier` was; zero when it lies ahead.
    pub const fn since(self, earlier: Self) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Micros> for Instant {
    type Output = Self;
    fn add(self, span: Micros) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// A point in time on Redis's clock, in microseconds since the epoch. Never compared with an
/// [`Instant`]: it is kept to be handed back to Redis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RedisTime(pub u64);

/// The number that a header holds, of digits alone; one that is too large to hold is the largest.
#[inline(never)]
pub(crate) fn whole_number(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = |sum: u64, digit: &u8| {
        let digit = digit.saturating_sub(b'0');
        sum.saturating_mul(10).saturating_add(digit.into())
    };
    Some(digits.iter().fold(0, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(Micros(1) - Micros(2), Micros::ZERO);
        assert_eq!(Micros(u64::MAX) + Micros(1), Micros(u64::MAX));
        assert_eq!(Micros::from_secs(u64::MAX), Micros(u64::MAX));
        assert_eq!(Instant(5).since(Instant(9)), Micros::ZERO);
    }

    #[test]
    fn seconds_round_up_so_that_nobody_comes_back_early() {
        assert_eq!(Micros(0).secs_rounded_up(), 0);
        assert_eq!(Micros(1).secs_rounded_up(), 1);
        assert_eq!(Micros(1_000_000).secs_rounded_up(), 1);
        assert_eq!(Micros(1_000_001).secs_rounded_up(), 2);
    }

    #[test]
    fn display_picks_the_largest_exact_unit() {
        assert_eq!(Micros(250).to_string(), "250us");
        assert_eq!(Micros(50_000).to_string(), "50ms");
        assert_eq!(Micros(61_000_000).to_string(), "61s");
        assert_eq!(Micros(60_000_000).to_string(), "1m");
        assert_eq!(Micros::from_secs(7_200).to_string(), "2h");
        assert_eq!(Micros::from_secs(366 * 86_400).to_string(), "366d");
        assert_eq!(Micros(0).to_string(), "0us");
    }
}
