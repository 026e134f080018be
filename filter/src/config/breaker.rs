//! `breaker`: when to stop asking Redis, and for how long.

use super::document::Node;
use super::scalar::Ratio;
use super::value::Value;
use crate::units::Micros;

/// The settings of the circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Calls the sliding window remembers, 1 to [`Breaker::WINDOW_MAX`].
    pub window: u16,
    /// Calls in the window before it may open; at most `window`.
    pub minimum_calls: u16,
    /// Share of failed calls that opens it.
    pub failure_rate: Ratio,
    /// A call that takes at least this long is slow; at most `redis.timeout`.
    pub slow_call: Micros,
    /// Share of slow calls that opens it.
    pub slow_call_rate: Ratio,
    /// How long it stays open the first time, [`Breaker::OPEN_MIN`] to [`Breaker::OPEN_MAX`].
    pub open: Micros,
    /// The longest it stays open, however often probes fail; `open` to [`Breaker::OPEN_MAX`].
    pub max_open: Micros,
    /// Successful probes that close it, 1 to [`Breaker::PROBES_MAX`].
    pub probes: u16,
}

impl Breaker {
    /// The largest window: the record of a breaker is copied on every call.
    pub const WINDOW_MAX: u16 = 1_000;
    /// The shortest time to stay open.
    pub const OPEN_MIN: Micros = Micros::from_millis(1);
    /// The longest time to stay open: healing must be noticed some day.
    pub const OPEN_MAX: Micros = Micros::from_secs(3_600);
    /// The most probes that may be asked for.
    pub const PROBES_MAX: u16 = 100;

    /// The settings when the document names none. A shorter `redis.timeout` shortens
    /// `slow_call` to 80 % of it, a smaller `window` lowers `minimum_calls` to it, and a longer
    /// `open` raises `max_open` to it, so that changing one field is never impossible alone.
    pub const DEFAULT: Self = Self {
        window: 100,
        minimum_calls: 10,
        failure_rate: Ratio(500_000),
        slow_call: Micros::from_millis(40),
        slow_call_rate: Ratio(800_000),
        open: Micros::from_millis(250),
        max_open: Micros::from_secs(1),
        probes: 3,
    };

    /// `Some(None)` when it is turned off. `timeout` is `redis.timeout`, unless that was refused.
    pub(super) fn read(value: &Value<'_>, timeout: Option<Micros>) -> Option<Option<Self>> {
        match value.node() {
            Node::Text(off) if off == "off" => Some(None),
            Node::Object(_) => Self::read_object(value, timeout).map(Some),
            _ => value.expected("\"off\" or an object such as {\"open\": \"250ms\"}"),
        }
    }

    fn read_object(value: &Value<'_>, timeout: Option<Micros>) -> Option<Self> {
        const D: Breaker = Breaker::DEFAULT;
        value.object(|fields| {
            let window = fields.or("window", D.window, |value| count(value, Self::WINDOW_MAX));
            let calls_max = window.unwrap_or(Self::WINDOW_MAX);
            let minimum_calls =
                fields.or("minimum_calls", D.minimum_calls.min(calls_max), |value| {
                    count(value, calls_max)
                });
            let failure_rate = fields.or("failure_rate", D.failure_rate, Value::share);
            let slow_max = timeout.unwrap_or(super::TIMEOUT_MAX);
            let slow_call = fields.or("slow_call", default_slow_call(slow_max), |value| {
                slow_call(value, slow_max)
            });
            let slow_call_rate = fields.or("slow_call_rate", D.slow_call_rate, Value::share);
            let open = fields.or("open", D.open, |value| {
                value.duration(Self::OPEN_MIN..=Self::OPEN_MAX)
            });
            let open_min = open.unwrap_or(Self::OPEN_MIN);
            let max_open = fields.or("max_open", D.max_open.max(open_min), |value| {
                max_open(value, open_min)
            });
            let probes = fields.or("probes", D.probes, |value| count(value, Self::PROBES_MAX));
            Some(Self {
                window: window?,
                minimum_calls: minimum_calls?,
                failure_rate: failure_rate?,
                slow_call: slow_call?,
                slow_call_rate: slow_call_rate?,
                open: open?,
                max_open: max_open?,
                probes: probes?,
            })
        })
    }
}

fn count(value: &Value<'_>, max: u16) -> Option<u16> {
    value
        .whole(1..=u64::from(max))
        .and_then(|n| u16::try_from(n).ok())
}

const fn default_slow_call(timeout: Micros) -> Micros {
    if timeout.0 < Breaker::DEFAULT.slow_call.0 {
        Micros(timeout.saturating_mul(4).0 / 5)
    } else {
        Breaker::DEFAULT.slow_call
    }
}

/// A call is given up after `redis.timeout`, so none could be slower than that.
fn slow_call(value: &Value<'_>, timeout: Micros) -> Option<Micros> {
    let span = value.duration(Micros(1)..=super::TIMEOUT_MAX)?;
    if span > timeout {
        return value.expected(format_args!("at most redis.timeout, {timeout}"));
    }
    Some(span)
}

fn max_open(value: &Value<'_>, open: Micros) -> Option<Micros> {
    let span = value.duration(Breaker::OPEN_MIN..=Breaker::OPEN_MAX)?;
    if span < open {
        return value.expected(format_args!("at least breaker.open, {open}"));
    }
    Some(span)
}
