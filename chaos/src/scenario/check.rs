//! What a scenario measures and which bound it must keep.

use std::fmt;

use serde::Serialize;

/// One measured number against one bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// A sentence, unique in its scenario.
    pub name: String,
    /// What is measured.
    pub measure: Measure,
    /// Over which part of the run; the whole of it where the measure has a span of its own.
    pub window: Window,
    /// How the measured number must stand to the bound.
    pub op: Op,
    /// In the measure's unit.
    pub bound: f64,
    /// Who asks for it.
    pub source: Source,
}

impl Check {
    /// The bound as people read it, for example `< 50 ms`.
    #[must_use]
    pub fn bound_text(&self) -> String {
        let unit = self.measure.unit();
        let gap = if unit.is_empty() { "" } else { " " };
        format!("{} {}{gap}{unit}", self.op, self.bound)
    }
}

/// Where a bound comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The founding plan: the bar is at least this.
    Plan,
    /// The design's own, tighter target.
    Target,
}

impl Source {
    /// As scenario files name it.
    pub const NAMES: &'static [(&'static str, Self)] =
        &[("plan", Self::Plan), ("target", Self::Target)];
}

/// A comparison: measured, operator, bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Measured is below the bound.
    Below,
    /// Measured is at most the bound.
    AtMost,
    /// Measured is above the bound.
    Above,
    /// Measured is at least the bound.
    AtLeast,
}

impl Op {
    /// As scenario files name it.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("<", Self::Below),
        ("<=", Self::AtMost),
        (">", Self::Above),
        (">=", Self::AtLeast),
    ];

    /// Does `measured` keep the `bound`? Never for a number that is not one.
    #[must_use]
    pub fn holds(self, measured: f64, bound: f64) -> bool {
        match self {
            Self::Below => measured < bound,
            Self::AtMost => measured <= bound,
            Self::Above => measured > bound,
            Self::AtLeast => measured >= bound,
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES
            .iter()
            .find(|(_, op)| op == self)
            .map_or("?", |(name, _)| name);
        f.write_str(name)
    }
}

/// The part of a run that a measure looks at. Requests belong to the part they were due in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// The baseline phase.
    Baseline,
    /// The fault phase.
    Fault,
    /// From the breaker's first opening in the fault phase to that phase's end.
    AfterOpen,
    /// The recovery phase.
    Recovery,
    /// From the baseline's beginning to the end.
    Whole,
}

impl Window {
    /// As scenario files name it.
    pub const NAMES: &'static [(&'static str, Self)] = &[
        ("baseline", Self::Baseline),
        ("fault", Self::Fault),
        ("after_open", Self::AfterOpen),
        ("recovery", Self::Recovery),
        ("whole", Self::Whole),
    ];
}

macro_rules! measures {
    ($($kind:ident { $($variant:ident $name:literal $unit:literal $doc:literal)* })*) => {
        /// Everything that can be measured on a record.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Measure {
            $($(#[doc = $doc] $variant,)*)*
        }

        impl Measure {
            /// As scenario files name it.
            pub const NAMES: &'static [(&'static str, Self)] =
                &[$($(($name, Self::$variant)),*),*];

            /// Over which part of a run it is taken.
            #[must_use]
            pub fn extent(self) -> Extent {
                match self { $($(Self::$variant => Extent::$kind),*),* }
            }

            /// The unit of its number; empty for a bare count or share.
            #[must_use]
            pub fn unit(self) -> &'static str {
                match self { $($(Self::$variant => $unit),*),* }
            }
        }
    };
}

/// Over which part of a run a measure is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The window that the check names.
    Window,
    /// A span of the measure's own, which no check can choose.
    Own,
}

measures! {
    Window {
        SuccessShare "success_share" "" "Share of requests answered with 200; the hot key's also with 429 by a known count."
        AnsweredShare "answered_share" "" "Share of requests answered with 200, or with the filter's own 429 or 503."
        CountedShare "counted_share" "" "Share of requests answered with a known count, admitted or refused."
        LimitUsed "limit_used" "" "Share of what the hot key's limit lets through that was admitted."
        ErrorShare "error_share" "" "Share of requests that met a 5xx, a broken connection or no answer."
        P50 "p50" "ms" "Median latency, from the planned send time."
        P95 "p95" "ms" "95th percentile of the latency, from the planned send time."
        P99 "p99" "ms" "99th percentile of the latency, from the planned send time."
        P99OverBaseline "p99_over_baseline" "ms" "The 99th percentile less that of the baseline."
        Longest "longest" "ms" "Latency of the slowest request."
        Openings "openings" "" "Changes of the breaker to open."
        ConnectionErrors "connection_errors" "" "Calls to Redis that failed or timed out, by the filter's own count."
        InFlight "in_flight" "" "Most requests in flight at once, exact, by the client's log."
        Waiting "waiting" "" "Most requests paused in the filter at once, by its gauge."
        EvalCalls "eval_calls" "" "EVAL commands Redis ran: the scripts sent as text."
        MemoryFit "memory_fit" "" "R squared of a line through Redis memory against its keys."
        CpuShare "cpu_share" "%" "CPU time of Envoy and Redis as a share of the whole machine's."
        ThreadsAdded "threads_added" "" "Most threads of Envoy less its threads in the baseline."
    }
    Own {
        OverAdmitted "over_admitted" "" "Requests of the hot key admitted by count beyond its limit, in the worst interval of the whole scenario."
        LongestWait "longest_wait" "ms" "Longest time the filter paused one request, whole scenario, by Envoy's access log."
        TimeToOpen "time_to_open" "s" "From the first injection to the breaker's first opening after it."
        IllegalMoves "illegal_moves" "" "Changes of the breaker outside closed, open, half-open, (closed or open)."
        FullRecovery "full_recovery" "s" "From the last healing until the breaker is closed and requests succeed with known counts."
        RedisWhileOpen "redis_calls_while_open" "" "Commands of requests that reached Redis while the breaker was open."
        KeysLeft "keys_left" "" "Keys in Redis at the last sample."
        MemoryLeft "memory_left" "KiB" "Redis memory at the last sample less the baseline's last."
        EnvoyRestarts "envoy_restarts" "" "Times Envoy, or the filter's VM, was started again."
        Unaccounted "unaccounted" "" "Largest disagreement among client, upstream, filter and Envoy, beyond requests of unknown outcome."
        UnexplainedCommands "unexplained_commands" "" "How far Redis's count of script calls lies outside what the filter's counts of calls, paused requests, probes and NOSCRIPT allow."
    }
}

impl Measure {
    /// As scenario files name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut names = Self::NAMES.iter();
        names
            .find(|(_, it)| *it == self)
            .map_or("?", |(name, _)| name)
    }

    /// A measured number as people read it, with its unit; `never` when it is infinite.
    #[must_use]
    pub fn show(self, measured: f64) -> String {
        if measured.is_infinite() {
            return "never".to_owned();
        }
        let rounded = (measured * 1e4).round() / 1e4;
        let unit = self.unit();
        if unit.is_empty() {
            rounded.to_string()
        } else {
            format!("{rounded} {unit}")
        }
    }
}
