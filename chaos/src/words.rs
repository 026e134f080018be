//! Words in what people read.

use std::fmt::Display;

/// A count and what is counted, in the number that fits: `1 scenario`, `2 scenarios`.
pub(crate) fn counted(count: impl Display, noun: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular_and_all_else_is_plural() {
        assert_eq!(counted(0, "error"), "0 errors");
        assert_eq!(counted(1, "error"), "1 error");
        assert_eq!(counted(1.0, "time"), "1 time");
        assert_eq!(counted(11, "error"), "11 errors");
    }
}
