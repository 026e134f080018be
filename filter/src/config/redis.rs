//! `redis`: how to reach the store, and how long to wait for it.

use super::value::Value;
use crate::units::Micros;

/// The longest name of a cluster, in bytes.
pub const CLUSTER_BYTES_MAX: usize = 255;
/// The longest key prefix, in bytes.
pub const KEY_PREFIX_BYTES_MAX: usize = 64;
/// The shortest wait: Envoy counts the timeouts of calls in milliseconds.
pub const TIMEOUT_MIN: Micros = Micros::from_millis(1);
/// The longest wait. Whoever waits longer than this for a counter has an outage, not a limit.
pub const TIMEOUT_MAX: Micros = Micros::from_secs(10);
/// The most requests of one worker that may be allowed to wait at once.
pub const MAX_WAITING_MAX: usize = 65_536;

/// How to reach Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// The Envoy cluster that leads to the bridge; 1 to [`CLUSTER_BYTES_MAX`] printable bytes.
    pub cluster: String,
    /// The longest a request waits for Redis; whole milliseconds, [`TIMEOUT_MIN`] to
    /// [`TIMEOUT_MAX`].
    pub timeout: Micros,
    /// First part of every key: `[A-Za-z0-9_.-]{1,64}`, so it can hold no hash tag.
    pub key_prefix: String,
    /// Requests of one worker that may wait at once, 1 to [`MAX_WAITING_MAX`].
    pub max_waiting: usize,
}

impl Redis {
    /// The cluster when the document names none.
    pub const CLUSTER: &str = "velocitygate_redis";
    /// The wait when the document names none.
    pub const TIMEOUT: Micros = Micros::from_millis(50);
    /// The prefix when the document names none.
    pub const KEY_PREFIX: &str = "vg";
    /// The waiting requests when the document names no number.
    pub const MAX_WAITING: usize = 1_024;

    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        value.object(|fields| {
            let cluster = fields.or("cluster", Self::CLUSTER, |value| {
                value.text("the name of a cluster", CLUSTER_BYTES_MAX, |byte| {
                    byte.is_ascii_graphic()
                })
            });
            let timeout = fields.or("timeout", Self::TIMEOUT, |value| {
                value.whole_millis(TIMEOUT_MIN..=TIMEOUT_MAX)
            });
            let key_prefix = fields.or("key_prefix", Self::KEY_PREFIX, |value| {
                value.text(
                    "letters, digits, \"_\", \".\" or \"-\"",
                    KEY_PREFIX_BYTES_MAX,
                    |byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte),
                )
            });
            let max_waiting = fields.or("max_waiting", Self::MAX_WAITING, |value| {
                value
                    .whole(1..=MAX_WAITING_MAX as u64)
                    .and_then(|n| usize::try_from(n).ok())
            });
            Some(Self {
                cluster: cluster?.to_owned(),
                timeout: timeout?,
                key_prefix: key_prefix?.to_owned(),
                max_waiting: max_waiting?,
            })
        })
    }
}
