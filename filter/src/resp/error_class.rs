//! What a `-` reply means for the breaker and for the metrics.

/// The kinds of error reply, told apart by what they ask of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// `OOM`: over `maxmemory`, with nothing to evict.
    Oom,
    /// `READONLY`: a replica, as after a failover.
    Readonly,
    /// `LOADING`: reading its data set after a start.
    Loading,
    /// `BUSY`: inside a script that does not end.
    Busy,
    /// `MISCONF`, `NOREPLICAS`, `MASTERDOWN`: persistence or replication is in a state in which
    /// its configuration forbids to serve.
    Misconf,
    /// `NOAUTH`, `WRONGPASS`, `NOPERM`: not with these credentials.
    Auth,
    /// `CLUSTERDOWN`, `TRYAGAIN`, `MOVED`, `ASK`: the slot is not served here now. Not
    /// `CROSSSLOT`, which says something about the keys of one command only.
    Cluster,
    /// `ERR max number of clients reached`.
    MaxClients,
    /// `NOSCRIPT`: the script is not loaded; send its text.
    Noscript,
    /// `WRONGTYPE`: somebody else's value lies under this key.
    Wrongtype,
    /// What `redis_proxy` itself says when it gets no reply for us: `upstream failure`,
    /// `no upstream host`, `upstream protocol error` (Envoy 1.40,
    /// `redis_proxy/command_splitter_impl.h`, `Response`).
    Unreachable,
    /// Anything else, and an error without text.
    Other,
}

impl ErrorClass {
    /// Every class.
    pub const ALL: [Self; 12] = [
        Self::Oom,
        Self::Readonly,
        Self::Loading,
        Self::Busy,
        Self::Misconf,
        Self::Auth,
        Self::Cluster,
        Self::MaxClients,
        Self::Noscript,
        Self::Wrongtype,
        Self::Unreachable,
        Self::Other,
    ];

    /// The class of an error reply, given without its `-` and CR LF.
    ///
    /// The first word decides, in the case Redis writes it; scripts append text of their own to
    /// what they pass on, and before Redis 7 also put some in front, which is left out of account.
    /// Errors without a code word are known by their whole opening.
    pub fn of(error: &[u8]) -> Self {
        let text = error.utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let text = without_script_prefix(text);
        match text.split(' ').next().unwrap_or_default() {
            "OOM" => Self::Oom,
            "READONLY" => Self::Readonly,
            "LOADING" => Self::Loading,
            "BUSY" => Self::Busy,
            "MISCONF" | "NOREPLICAS" | "MASTERDOWN" => Self::Misconf,
            "NOAUTH" | "WRONGPASS" | "NOPERM" => Self::Auth,
            "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK" => Self::Cluster,
            "NOSCRIPT" => Self::Noscript,
            "WRONGTYPE" => Self::Wrongtype,
            _ if text.starts_with("ERR max number of clients reached") => Self::MaxClients,
            _ if PROXY_ERRORS.iter().any(|error| text.starts_with(error)) => Self::Unreachable,
            _ => Self::Other,
        }
    }

    /// True when the error says something about the store and not about one key or script: only
    /// these feed the breaker.
    pub const fn is_store_wide(self) -> bool {
        match self {
            Self::Oom
            | Self::Readonly
            | Self::Loading
            | Self::Busy
            | Self::Misconf
            | Self::Auth
            | Self::Cluster
            | Self::MaxClients
            | Self::Unreachable => true,
            Self::Noscript | Self::Wrongtype | Self::Other => false,
        }
    }

    /// The `class` label of `velocitygate_redis_errors_total`.
    pub const fn metric(self) -> &'static str {
        match self {
            Self::Oom => "oom",
            Self::Readonly => "readonly",
            Self::Loading => "loading",
            Self::Busy => "busy",
            Self::Auth => "auth",
            Self::Cluster => "cluster",
            Self::Noscript => "noscript",
            Self::Wrongtype => "wrongtype",
            Self::Misconf | Self::MaxClients | Self::Unreachable | Self::Other => "other",
        }
    }
}

const PROXY_ERRORS: [&str; 3] = [
    "upstream failure",
    "no upstream host",
    "upstream protocol error",
];

/// The error that a script met, without what Redis 6 puts before it:
/// `ERR Error running script (call to f_<sha>): @user_script:3: @user_script: 3: -OOM …`, of which
/// `redis.pcall` leaves out the first part.
fn without_script_prefix(error: &str) -> &str {
    let mut text = error
        .strip_prefix("ERR Error running script (call to ")
        .and_then(|rest| rest.split_once("): "))
        .map_or(error, |(_, rest)| rest);
    while let Some((_, rest)) = text
        .strip_prefix("@user_script:")
        .and_then(|rest| rest.split_once(": "))
    {
        text = rest;
    }
    text.strip_prefix('-').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_class_its_label_and_its_scope() {
        use ErrorClass as C;
        let rows: &[(C, &str, bool, &[&str])] = &[
            (C::Oom, "oom", true, &["OOM command not allowed"]),
            (C::Readonly, "readonly", true, &["READONLY You can't write"]),
            (
                C::Loading,
                "loading",
                true,
                &["LOADING", "LOADING Redis is loading"],
            ),
            (
                C::Busy,
                "busy",
                true,
                &["BUSY Redis is busy running a script."],
            ),
            (
                C::Misconf,
                "other",
                true,
                &["MISCONF x", "NOREPLICAS x", "MASTERDOWN x"],
            ),
            (
                C::Auth,
                "auth",
                true,
                &["NOAUTH x", "WRONGPASS x", "NOPERM x"],
            ),
            (
                C::Cluster,
                "cluster",
                true,
                &["CLUSTERDOWN x", "TRYAGAIN x"],
            ),
            (
                C::Cluster,
                "cluster",
                true,
                &["MOVED 3999 [::1]:1", "ASK 3999 [::1]:1"],
            ),
            (
                C::MaxClients,
                "other",
                true,
                &["ERR max number of clients reached"],
            ),
            (
                C::Unreachable,
                "other",
                true,
                &["upstream failure", "no upstream host"],
            ),
            (C::Unreachable, "other", true, &["upstream protocol error"]),
            (
                C::Noscript,
                "noscript",
                false,
                &["NOSCRIPT No matching script."],
            ),
            (
                C::Wrongtype,
                "wrongtype",
                false,
                &["WRONGTYPE Operation against a key"],
            ),
            (
                C::Other,
                "other",
                false,
                &["", "ERR syntax error", "CROSSSLOT Keys in request"],
            ),
        ];
        for &(class, metric, store_wide, texts) in rows {
            for text in texts {
                assert_eq!(ErrorClass::of(text.as_bytes()), class, "{text}");
            }
            assert_eq!(class.metric(), metric, "{class:?}");
            assert_eq!(class.is_store_wide(), store_wide, "{class:?}");
        }
    }

    #[test]
    fn text_that_a_script_appends_changes_nothing() {
        let text = b"OOM command not allowed. script: 1f2e, on @user_script:12.";
        assert_eq!(ErrorClass::of(text), ErrorClass::Oom);
    }

    #[test]
    fn text_that_redis_6_puts_before_an_error_in_a_script_changes_nothing() {
        let call = "ERR Error running script (call to f_1f2e): @user_script:3:";
        for (text, class) in [
            (
                format!("{call} WRONGTYPE Operation against a key"),
                ErrorClass::Wrongtype,
            ),
            (
                format!("{call} @user_script: 3: -OOM command not allowed"),
                ErrorClass::Oom,
            ),
            (
                "@user_script: 3: -READONLY replica".to_owned(),
                ErrorClass::Readonly,
            ),
            (
                format!("{call} user_script:3: attempt to index nil"),
                ErrorClass::Other,
            ),
            (
                "ERR Error running script (call to ".to_owned(),
                ErrorClass::Other,
            ),
        ] {
            assert_eq!(ErrorClass::of(text.as_bytes()), class, "{text}");
        }
    }

    #[test]
    fn text_that_is_no_utf_8_does_not_hide_the_first_word() {
        assert_eq!(ErrorClass::of(b"OOM \xff\xfe"), ErrorClass::Oom);
        assert_eq!(ErrorClass::of(b"\xffOOM"), ErrorClass::Other);
    }

    #[test]
    fn only_the_whole_first_word_in_the_case_of_redis_counts() {
        for text in [
            "OOMPH",
            "oom command",
            " OOM",
            "ERR OOM",
            "BUSYGROUP exists",
            "BUSYKEY x",
        ] {
            assert_eq!(ErrorClass::of(text.as_bytes()), ErrorClass::Other, "{text}");
        }
    }
}
