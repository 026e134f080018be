//! The peers: what is measured side by side, and what each must answer to count as measured.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// One Envoy with what limits in it. All have one worker and the same upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// No filter.
    None,
    /// A wasm filter that does nothing: the price of V8.
    Empty,
    /// Envoy's own `local_ratelimit`.
    Local,
    /// VelocityGate, each decision by Redis.
    Strict,
    /// VelocityGate with leases, one hot key.
    Leased,
    /// VelocityGate, one key over its limit.
    Refused,
    /// VelocityGate, Redis gone and the breaker open, failing open.
    Open,
    /// Envoy's `ratelimit` filter and envoyproxy/ratelimit.
    Ratelimit,
    /// Envoy's `ratelimit` filter and Limitador.
    Limitador,
}

/// What every right answer of a peer looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answers {
    /// A field that an admitted request's answer has: the peer counted it.
    pub(super) field: Option<&'static str>,
    /// Whether requests are refused, but for the few for which a token came free.
    pub(super) refuses: bool,
}

/// How a right answer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It came from the upstream.
    Admitted,
    /// A limit refused it.
    Refused,
}

/// The field of VelocityGate's answers when the count is known.
pub(super) const OWN_FIELD: &str = "ratelimit";
/// The field of the others' answers.
const PEERS_FIELD: &str = "x-ratelimit-limit";

impl Peer {
    /// Its name on the command line and in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Empty => "empty",
            Self::Local => "local",
            Self::Strict => "strict",
            Self::Leased => "leased",
            Self::Refused => "refused",
            Self::Open => "open",
            Self::Ratelimit => "ratelimit",
            Self::Limitador => "limitador",
        }
    }

    /// How many keys the load carries, in turn.
    pub(super) fn keys(self) -> u64 {
        match self {
            Self::Leased | Self::Refused => 1,
            _ => 1000,
        }
    }

    pub(super) fn answers(self) -> Answers {
        Answers {
            field: match self {
                Self::None | Self::Empty | Self::Open => None,
                Self::Strict | Self::Leased | Self::Refused => Some(OWN_FIELD),
                Self::Local | Self::Ratelimit | Self::Limitador => Some(PEERS_FIELD),
            },
            refuses: self == Self::Refused,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Answers {
    /// Counts an answer; a wrong one shows that the peer did not limit, or did not proxy.
    pub(super) fn judge(self, status: u16, has: impl Fn(&str) -> bool) -> Result<Answer, String> {
        let counted = match self.field {
            Some(field) => has(field),
            None => !has(OWN_FIELD) && !has(PEERS_FIELD),
        };
        match status {
            200 if counted => Ok(Answer::Admitted),
            429 if counted && self.refuses => Ok(Answer::Refused),
            _ if counted => Err(format!("status {status}")),
            _ => Err(match self.field {
                Some(field) => format!("status {status} without {field}"),
                None => format!("status {status} with fields of a limit"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_was_not_counted_is_wrong_where_the_peer_counts() {
        let strict = Peer::Strict.answers();
        assert_eq!(
            strict.judge(200, |it| it == OWN_FIELD),
            Ok(Answer::Admitted)
        );
        assert!(strict.judge(200, |_| false).is_err());
        assert!(strict.judge(429, |_| true).is_err());
        assert!(strict.judge(503, |_| true).is_err());
    }

    #[test]
    fn an_answer_that_was_counted_is_wrong_where_nobody_counts() {
        let open = Peer::Open.answers();
        assert_eq!(open.judge(200, |_| false), Ok(Answer::Admitted));
        assert!(open.judge(200, |it| it == OWN_FIELD).is_err());
        assert!(open.judge(429, |_| false).is_err());
    }

    #[test]
    fn a_key_over_its_limit_is_refused_or_has_its_token() {
        let refused = Peer::Refused.answers();
        assert_eq!(refused.judge(429, |_| true), Ok(Answer::Refused));
        assert_eq!(refused.judge(200, |_| true), Ok(Answer::Admitted));
        assert!(refused.judge(429, |_| false).is_err());
    }

    #[test]
    fn a_peer_has_the_name_by_which_it_is_asked_for() {
        for peer in Peer::value_variants() {
            let asked = peer.to_possible_value().unwrap();
            assert_eq!(asked.get_name(), peer.name());
        }
    }
}
