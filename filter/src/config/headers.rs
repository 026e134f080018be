//! `headers`: which families of headers answers carry.

use super::value::Value;

/// Which header families answers carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// `RateLimit` and `RateLimit-Policy`.
    pub ratelimit: bool,
    /// `X-RateLimit-Limit`, `-Remaining`, `-Reset`.
    pub x_ratelimit: bool,
    /// `Retry-After`.
    pub retry_after: bool,
}

impl Headers {
    /// The families when the document names none.
    pub const DEFAULT: Self = Self {
        ratelimit: true,
        x_ratelimit: false,
        retry_after: true,
    };

    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        const NONE: Headers = Headers {
            ratelimit: false,
            x_ratelimit: false,
            retry_after: false,
        };
        const FAMILIES: [(&str, Headers); 3] = [
            (
                "ratelimit",
                Headers {
                    ratelimit: true,
                    ..NONE
                },
            ),
            (
                "x-ratelimit",
                Headers {
                    x_ratelimit: true,
                    ..NONE
                },
            ),
            (
                "retry-after",
                Headers {
                    retry_after: true,
                    ..NONE
                },
            ),
        ];
        let families = value.list((0, FAMILIES.len()), |name| name.choice(&FAMILIES))?;
        Some(families.into_iter().fold(NONE, Self::and))
    }

    const fn and(self, other: Self) -> Self {
        Self {
            ratelimit: self.ratelimit || other.ratelimit,
            x_ratelimit: self.x_ratelimit || other.x_ratelimit,
            retry_after: self.retry_after || other.retry_after,
        }
    }
}
