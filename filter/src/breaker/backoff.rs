//! How long an open breaker waits before it probes.
//!
//! The wait doubles with each probe that fails, from `open` up to `max_open`. Half of it is fixed
//! and half is drawn ("equal jitter": Brooker, "Exponential Backoff And Jitter", AWS Architecture
//! Blog, 2015), so that a fleet does not probe a reborn Redis in step. Jitter only shortens:
//! `max_open` stays the bound on how late healing is noticed.

use crate::config;
use crate::units::Micros;

/// The wait after `failed_probes` probes in a row have failed: between half of
/// `min(open x 2^failed_probes, max_open)` and all of it, drawn by `random`, a uniform number.
pub(super) fn wait(settings: &config::Breaker, failed_probes: u32, random: u64) -> Micros {
    let factor = 1_u64.checked_shl(failed_probes).unwrap_or(u64::MAX);
    let longest = settings.open.saturating_mul(factor).min(settings.max_open);
    let share = u128::from(longest.0 / 2).saturating_mul(u128::from(random)) >> 64;
    longest - Micros(u64::try_from(share).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::breaker::tests::settings;

    fn settings_with(open: u64, max_open: u64) -> config::Breaker {
        config::Breaker {
            open: Micros(open),
            max_open: Micros(max_open),
            ..settings().breaker
        }
    }

    #[test]
    fn the_longest_wait_doubles_with_each_failed_probe_up_to_max_open() {
        let settings = settings_with(250_000, 1_500_000);
        let waits = [0, 1, 2, 3, 63, 64, u32::MAX].map(|failed| wait(&settings, failed, 0).0);
        let expected = [
            250_000, 500_000, 1_000_000, 1_500_000, 1_500_000, 1_500_000, 1_500_000,
        ];
        assert_eq!(waits, expected);
    }

    #[test]
    fn the_largest_random_number_halves_the_wait() {
        assert_eq!(wait(&settings_with(1_000, 1_000), 0, u64::MAX), Micros(501));
    }

    proptest! {
        #[test]
        fn jitter_shortens_a_wait_by_at_most_half(
            open in 1u64.., max_open in 1u64.., failed_probes in any::<u32>(), random in any::<u64>(),
        ) {
            let settings = settings_with(open, max_open);
            let longest = wait(&settings, failed_probes, 0);
            let drawn = wait(&settings, failed_probes, random);
            prop_assert!(drawn <= longest && longest <= settings.max_open);
            prop_assert!(drawn.0 >= longest.0.div_ceil(2));
        }
    }
}
