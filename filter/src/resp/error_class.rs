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
    /// `NOAUTH`, `WRONGPASS`, `NOPERM`, a script that may not do what it does, a command that is
    /// too long before a login: not with these credentials. `DENIED`: in protected mode nobody.
    Auth,
    /// `CLUSTERDOWN`, `TRYAGAIN`, `MOVED`, `ASK`: the slot is not served here now.
    Cluster,
    /// `CROSSSLOT`: the keys of one command live in different slots of a Redis Cluster.
    Crossslot,
    /// `ERR max number of clients reached`, on a Redis Cluster `… clients + cluster connections …`.
    MaxClients,
    /// `ERR unknown command`, or `redis_proxy`'s own refusal to pass a command on: what answers
    /// can run no scripts, and never will.
    Unsupported,
    /// `NOSCRIPT`: the script is not loaded; send its text.
    Noscript,
    /// `WRONGTYPE`: somebody else's value lies under this key.
    Wrongtype,
    /// The script itself failed, at what it found under its key.
    Script,
    /// What `redis_proxy` itself says when it gets no reply for us: `upstream failure`,
    /// `no upstream host`, `upstream protocol error` (Envoy 1.40,
    /// `redis_proxy/command_splitter_impl.h`, `Response`).
    Unreachable,
    /// Anything else, and an error without text. Nobody knows that it concerns one key alone.
    Other,
}

impl ErrorClass {
    /// Every class.
    pub const ALL: [Self; 15] = [
        Self::Oom,
        Self::Readonly,
        Self::Loading,
        Self::Busy,
        Self::Misconf,
        Self::Auth,
        Self::Cluster,
        Self::Crossslot,
        Self::MaxClients,
        Self::Unsupported,
        Self::Noscript,
        Self::Wrongtype,
        Self::Script,
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
            "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" => Self::Auth,
            "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK" => Self::Cluster,
            "CROSSSLOT" => Self::Crossslot,
            "NOSCRIPT" => Self::Noscript,
            "WRONGTYPE" => Self::Wrongtype,
            _ if text.starts_with("ERR max number of clients") => Self::MaxClients,
            _ if is_of_the_script(text) => Self::Script,
            _ if NO_RIGHTS.iter().any(|error| text.starts_with(error)) => Self::Auth,
            _ if UNSUPPORTED.iter().any(|error| text.starts_with(error)) => Self::Unsupported,
            _ if PROXY_ERRORS.iter().any(|error| text.starts_with(error)) => Self::Unreachable,
            _ => Self::Other,
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
            Self::Cluster | Self::Crossslot => "cluster",
            Self::Noscript => "noscript",
            Self::Wrongtype => "wrongtype",
            Self::Misconf
            | Self::MaxClients
            | Self::Unsupported
            | Self::Script
            | Self::Unreachable
            | Self::Other => "other",
        }
    }
}

/// What Redis 7.0, Redis 6.2 and later ones say of a user who may run the script, but not the
/// commands in it; and what all say, and then hang up, when one who has not logged in yet sends
/// more than ten words or a long one, as a script's command is.
const NO_RIGHTS: [&str; 4] = [
    "ERR The user executing the script can't",
    "The user executing the script can't",
    "ERR ACL failure in script",
    "ERR Protocol error: unauthenticated",
];

const UNSUPPORTED: [&str; 3] = [
    "ERR unknown command",
    "ERR unsupported command",
    "unsupported command",
];

const PROXY_ERRORS: [&str; 3] = [
    "upstream failure",
    "no upstream host",
    "upstream protocol error",
];

/// Whether Lua says so, by the line of the script: `ERR user_script:3: attempt to index …` since
/// Redis 7.0 and in Valkey, without `ERR` before.
fn is_of_the_script(text: &str) -> bool {
    let text = text.strip_prefix("ERR ").unwrap_or(text);
    text.starts_with("user_script:")
}

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

    /// A class, its label, and errors of it.
    const ROWS: &[(ErrorClass, &str, &[&str])] = &[
        (ErrorClass::Oom, "oom", &["OOM command not allowed"]),
        (
            ErrorClass::Readonly,
            "readonly",
            &["READONLY You can't write"],
        ),
        (ErrorClass::Loading, "loading", &["LOADING", "LOADING x"]),
        (
            ErrorClass::Busy,
            "busy",
            &["BUSY Redis is busy running a script."],
        ),
        (
            ErrorClass::Misconf,
            "other",
            &["MISCONF x", "NOREPLICAS x", "MASTERDOWN x"],
        ),
        (
            ErrorClass::Auth,
            "auth",
            &["NOAUTH x", "WRONGPASS x", "NOPERM x", "DENIED x"],
        ),
        (
            ErrorClass::Auth,
            "auth",
            &[
                "ERR The user executing the script can't run this command or subcommand",
                "ERR ACL failure in script: User app has no permissions to run 'set'",
                "ERR Protocol error: unauthenticated multibulk length",
                "ERR Protocol error: unauthenticated bulk length",
            ],
        ),
        (
            ErrorClass::Cluster,
            "cluster",
            &["CLUSTERDOWN x", "TRYAGAIN x"],
        ),
        (
            ErrorClass::Cluster,
            "cluster",
            &["MOVED 39 [::1]:1", "ASK 39 [::1]:1"],
        ),
        (
            ErrorClass::MaxClients,
            "other",
            &[
                "ERR max number of clients reached",
                "ERR max number of clients + cluster connections reached",
            ],
        ),
        (
            ErrorClass::Unreachable,
            "other",
            &["upstream failure", "no upstream host"],
        ),
        (
            ErrorClass::Unreachable,
            "other",
            &["upstream protocol error"],
        ),
        (
            ErrorClass::Noscript,
            "noscript",
            &["NOSCRIPT No matching script."],
        ),
        (
            ErrorClass::Wrongtype,
            "wrongtype",
            &["WRONGTYPE Operation against a key"],
        ),
        (
            ErrorClass::Script,
            "other",
            &["ERR user_script:3: attempt to index a nil value script: on @user_script:3."],
        ),
        (
            ErrorClass::Other,
            "other",
            &[
                "",
                "ERR syntax error",
                "ERR Unknown Redis command called from script script: 1f2e, on @user_script:3.",
            ],
        ),
        (
            ErrorClass::Crossslot,
            "cluster",
            &["CROSSSLOT Keys in request"],
        ),
        (
            ErrorClass::Unsupported,
            "other",
            &[
                "ERR unknown command 'EVALSHA'",
                "unsupported command 'evalsha'",
            ],
        ),
    ];

    #[test]
    fn every_error_has_its_class_and_its_label() {
        for &(class, metric, texts) in ROWS {
            for text in texts {
                assert_eq!(ErrorClass::of(text.as_bytes()), class, "{text}");
            }
            assert_eq!(class.metric(), metric, "{class:?}");
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
                format!("{call} @user_script: 3: The user executing the script can't run"),
                ErrorClass::Auth,
            ),
            (
                "@user_script: 3: -READONLY replica".to_owned(),
                ErrorClass::Readonly,
            ),
            (
                format!("{call} user_script:3: attempt to index nil"),
                ErrorClass::Script,
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
