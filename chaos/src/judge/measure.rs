//! From a measure's name to its number. Each arm is one line; the arithmetic lives beside it.

use super::evidence::{Evidence, Unmeasured};
use super::{breaker, commands, conservation, excess, requests, resources};
use crate::record::{Outcome, Request};
use crate::scenario::{Measure, Window};

/// Takes one measure over one window.
///
/// # Errors
/// When the record does not hold what it needs. What was waited for and never came is infinite.
pub fn take(evidence: &Evidence<'_>, measure: Measure, window: Window) -> Result<f64, Unmeasured> {
    let share = |wanted: fn(&Request) -> bool| requests::share(evidence, window, wanted);
    let percentile = |percent| requests::percentile_ms(evidence, window, percent);
    let measured = match measure {
        Measure::SuccessShare => share(Request::is_success),
        Measure::AnsweredShare => share(|it| {
            use Outcome::{Refused, RefusedUncounted, Unavailable};
            it.is_success() || matches!(it.outcome, Refused | RefusedUncounted | Unavailable)
        }),
        Measure::ErrorShare => share(|it| it.outcome.is_error()),
        Measure::CountedShare => share(|it| it.outcome.is_counted()),
        Measure::LimitUsed => excess::limit_used(evidence, window),
        Measure::OverAdmitted => excess::over_admitted(evidence),
        Measure::P50 => percentile(50.0),
        Measure::P95 => percentile(95.0),
        Measure::P99 => percentile(99.0),
        Measure::Longest => percentile(100.0),
        Measure::P99OverBaseline => requests::p99_over_baseline_ms(evidence, window),
        Measure::InFlight => requests::in_flight(evidence, window),
        Measure::TimeToOpen => breaker::time_to_open_s(evidence),
        Measure::Openings => breaker::openings(evidence, window),
        Measure::IllegalMoves => Ok(breaker::illegal_moves(evidence)),
        Measure::FullRecovery => breaker::full_recovery_s(evidence),
        Measure::RedisWhileOpen => breaker::calls_while_open(evidence),
        Measure::ConnectionErrors => resources::connection_errors(evidence, window),
        Measure::LongestWait => resources::longest_wait_ms(evidence),
        Measure::Waiting => resources::waiting(evidence, window),
        Measure::EvalCalls => resources::eval_calls(evidence, window),
        Measure::MemoryFit => resources::memory_fit(evidence, window),
        Measure::KeysLeft => resources::keys_left(evidence),
        Measure::MemoryLeft => resources::memory_left_kib(evidence),
        Measure::CpuShare => resources::cpu_percent(evidence, window),
        Measure::ThreadsAdded => resources::threads_added(evidence, window),
        Measure::EnvoyRestarts => resources::envoy_restarts(evidence),
        Measure::Unaccounted => conservation::unaccounted(evidence),
        Measure::UnexplainedCommands => commands::unexplained(evidence),
    };
    // The sum of no numbers is -0 in floating point, and nobody should have to read that.
    measured.map(|it| it + 0.0)
}
