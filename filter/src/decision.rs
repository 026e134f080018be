//! What the filter may decide about a request.

use std::fmt;

/// The decision of one rule about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Within the limit.
    Allowed,
    /// Over the limit, refused.
    Denied,
    /// Over the limit of a shadow rule, let through.
    ShadowDenied,
    /// Count unknown, let through (fail open).
    DegradedAllow,
    /// Count unknown, refused (fail closed).
    DegradedDeny,
    /// Count unknown, within the local bucket.
    DegradedLocalAllow,
    /// Count unknown, over the local bucket.
    DegradedLocalDeny,
}

impl Decision {
    /// All decisions.
    pub const ALL: [Self; 7] = [
        Self::Allowed,
        Self::Denied,
        Self::ShadowDenied,
        Self::DegradedAllow,
        Self::DegradedDeny,
        Self::DegradedLocalAllow,
        Self::DegradedLocalDeny,
    ];

    /// The word that metrics and access logs carry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::ShadowDenied => "shadow_denied",
            Self::DegradedAllow => "degraded_allow",
            Self::DegradedDeny => "degraded_deny",
            Self::DegradedLocalAllow => "degraded_local_allow",
            Self::DegradedLocalDeny => "degraded_local_deny",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
