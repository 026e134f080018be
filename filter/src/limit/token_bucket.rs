//! Token bucket by the generic cell rate algorithm (GCRA, ITU-T Recommendation I.371, annex A):
//! the twin of `lua/token_bucket.lua`.
//!
//! A bucket is its theoretical arrival time: the instant at which it will be full again. One token
//! is worth `per / requests` microseconds, seldom a whole number, so all arithmetic is exact in
//! *ticks* of `1 / requests` microseconds: a token is `per` ticks, a microsecond `requests` ticks.
//! 128 bits hold every tick count: 10^9 requests x 2^64 microseconds is below 2^94.

use super::algorithm::State;
use super::charge;
use super::reply::Standing;
use crate::config::BUCKET_FILL_MAX;
use crate::units::Micros;

/// A bucket that holds `burst` tokens and gains `requests` of them every `per`.
///
/// In any interval of length `t` it admits at most `burst + requests x t / per` tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    /// Tokens gained in each `per`, 1 to 10^9.
    pub requests: u64,
    /// The window, a whole number of milliseconds, 1 ms to 366 days.
    pub per: Micros,
    /// Tokens the bucket holds when full, 1 to 10^9.
    pub burst: u64,
}

impl TokenBucket {
    /// The longest that a bucket may take to fill, and more than a change of its rate rounds that up
    /// by: 3.2e15 microseconds in doubles, at most 7 ([`Level::convert`]).
    pub(super) const LONGEST_RESET: Micros = Micros(BUCKET_FILL_MAX.0.saturating_add(8));

    /// The time in which this many tokens are gained, rounded down.
    pub fn refill_time(&self, tokens: u64) -> Micros {
        let ticks = u128::from(tokens).saturating_mul(self.per.0.into());
        let us = ticks.checked_div(self.requests.into()).unwrap_or_default();
        Micros(u64::try_from(us).unwrap_or(u64::MAX))
    }

    const fn rate(&self) -> Rate {
        Rate {
            requests: self.requests,
            per: self.per.0,
        }
    }

    /// What is taken of the bucket at `now_us`, on the clock of `tat`.
    pub(super) fn level(&self, tat: Tat, now_us: u64) -> Level {
        Level::at(now_us, *self, tat)
    }
}

/// Tokens gained in each span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rate {
    requests: u64,
    per: u64,
}

/// Theoretical arrival time: `us + fraction / rate.requests` microseconds on the clock that is used
/// with it. The default lies in the past of every clock: a full bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tat {
    us: u64,
    fraction: u64,
    /// The rate that it counts in.
    rate: Rate,
    /// Microseconds that it can at most lie ahead: what an empty bucket needs to fill.
    full: u64,
}

/// What is taken of one bucket at one instant, in ticks of the rate that it is kept in. It can be
/// more than the whole when the limit was lowered: the surplus has to come back first.
#[derive(Debug)]
pub(super) struct Level {
    bucket: TokenBucket,
    now_us: u64,
    /// That of the limit that charged it last. The tokens that are taken come back at this rate,
    /// until another limit charges: so while two limits are asked for one bucket, it admits no more
    /// than the wider would.
    rate: Rate,
    taken: u128,
    /// How far ahead of now the time that is kept may lie, in microseconds.
    ceiling: u64,
    /// Something was charged, or the time lay further ahead than it was ever written: the clock was
    /// set back. That cut is kept even when nothing is charged, or every later call would cut anew
    /// and never refill.
    changed: bool,
}

impl Rate {
    fn ticks(self, tokens: u64) -> u128 {
        u128::from(tokens).saturating_mul(self.per.into())
    }

    fn ticks_of_us(self, us: u64) -> u128 {
        u128::from(us).saturating_mul(self.requests.into())
    }

    fn micros_rounded_up(self, ticks: u128) -> Micros {
        let us = ticks.checked_add(self.requests.saturating_sub(1).into());
        let us = us.and_then(|ticks| ticks.checked_div(self.requests.into()));
        Micros(us.and_then(|us| u64::try_from(us).ok()).unwrap_or(u64::MAX))
    }

    /// Whole microseconds, and the rest in ticks.
    fn split(self, ticks: u128) -> (u64, u64) {
        let requests = u128::from(self.requests);
        let whole = |n: Option<u128>| n.and_then(|n| u64::try_from(n).ok());
        (
            whole(ticks.checked_div(requests)).unwrap_or(u64::MAX),
            whole(ticks.checked_rem(requests)).unwrap_or(0),
        )
    }
}

impl Level {
    fn at(now_us: u64, bucket: TokenBucket, tat: Tat) -> Self {
        let is_full = tat.us < now_us || tat.rate.requests == 0;
        let Tat {
            us,
            fraction,
            rate,
            full: ceiling,
        } = if is_full {
            Tat {
                us: now_us,
                rate: bucket.rate(),
                ..Tat::default()
            }
        } else {
            tat
        };
        let ahead = us.saturating_sub(now_us);
        let cut = ahead > ceiling;
        let taken = if cut {
            rate.ticks_of_us(ceiling)
        } else {
            rate.ticks_of_us(ahead).saturating_add(fraction.into())
        };
        let mut level = Self {
            bucket,
            now_us,
            rate,
            taken,
            ceiling,
            changed: cut,
        };
        // At another limit's rate the whole bucket could take longer to fill than any may.
        let longest = rate.ticks_of_us(BUCKET_FILL_MAX.0);
        if rate != bucket.rate() && level.full() >= longest {
            level.convert();
        }
        level
    }

    fn full(&self) -> u128 {
        self.rate.ticks(self.bucket.burst)
    }

    fn room(&self) -> u128 {
        self.full().saturating_sub(self.taken)
    }

    /// Counts what is taken at the limit's own rate. Doubles do, as in the script, since it happens
    /// once a change: rounded up, with a little more than they may be off by.
    #[expect(clippy::cast_precision_loss, reason = "all are below 2^53")]
    fn convert(&mut self) {
        let (from, to) = (self.rate, self.bucket.rate());
        let (us, fraction) = from.split(self.taken);
        let us = us as f64 + fraction as f64 / from.requests as f64;
        let tokens = us * from.requests as f64 / from.per as f64;
        let us = tokens * to.per as f64 / to.requests as f64 * 1.000_000_000_000_001;
        self.rate = to;
        self.taken = to.ticks_of_us(us.ceil() as u64);
        self.ceiling = self.rate.micros_rounded_up(self.full()).0;
        self.changed = true;
    }

    /// What is to be remembered.
    pub(super) fn tat(&self) -> Tat {
        let (us, fraction) = self.rate.split(self.taken);
        Tat {
            us: self.now_us.saturating_add(us),
            fraction,
            rate: self.rate,
            full: self.ceiling,
        }
    }
}

impl charge::Level for Level {
    fn lots(&self, size: u64, most: u64) -> u64 {
        let fit = self
            .room()
            .checked_div(self.rate.ticks(size))
            .unwrap_or_else(|| most.into());
        most.min(u64::try_from(fit).unwrap_or(most))
    }

    fn charge(&mut self, tokens: u64) {
        if self.rate != self.bucket.rate() {
            self.convert();
        }
        self.taken = self.taken.saturating_add(self.rate.ticks(tokens));
        self.ceiling = self.rate.micros_rounded_up(self.full()).0;
        self.changed = true;
    }

    fn refund(&mut self, tokens: u64, taken_at: u64) -> u64 {
        // Since the charge the bucket may have been full, and would then have gained nothing. So
        // what it has gained since is kept; at another limit's rate nobody knows how much that is.
        if self.rate != self.bucket.rate() {
            return 0;
        }
        let gained = self.rate.ticks_of_us(self.now_us.saturating_sub(taken_at));
        let ticks = self.rate.ticks(tokens.min(self.bucket.burst));
        let ticks = ticks.saturating_sub(gained).min(self.taken);
        self.taken = self.taken.saturating_sub(ticks);
        self.changed |= ticks > 0;
        let token = self.rate.ticks(1).max(1);
        u64::try_from(ticks.div_ceil(token)).unwrap_or(u64::MAX)
    }

    fn standing(&self, cost: u64) -> Standing {
        let wanted = self.rate.ticks(cost).saturating_add(self.taken);
        Standing {
            remaining: self.lots(1, self.bucket.burst),
            retry: self
                .rate
                .micros_rounded_up(wanted.saturating_sub(self.full())),
            reset: self.rate.micros_rounded_up(self.taken),
        }
    }

    fn changed(&self) -> Option<State> {
        self.changed.then(|| State::TokenBucket(self.tat()))
    }
}

impl Tat {
    /// How the script stores it.
    pub fn stored(self) -> String {
        let Self {
            us,
            fraction,
            rate: Rate { requests, per },
            full,
        } = self;
        format!("{us}:{fraction}:{requests}:{per}:{full}")
    }

    /// True once the bucket is full again, when there is nothing left to remember.
    pub const fn is_past(self, now_us: u64) -> bool {
        self.us < now_us
    }
}

#[cfg(test)]
#[path = "token_bucket_tests.rs"]
mod tests;
