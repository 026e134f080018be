//! What is made of several values of one thing. Pure.

use serde::Serialize;

/// The middle of some values and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    /// The middle one.
    pub(super) median: f64,
    /// The least.
    pub(super) least: f64,
    /// The greatest.
    pub(super) greatest: f64,
}

impl Spread {
    /// Of the values that are numbers; `None` without any.
    #[must_use]
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|it| it.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let lower = match values.len() % 2 {
            0 => values[middle - 1],
            _ => upper,
        };
        Some(Self {
            median: f64::midpoint(lower, upper),
            least: values[0],
            greatest: values[values.len() - 1],
        })
    }
}

/// The value that so many hundredths of all do not exceed (nearest rank); 0 without any.
#[expect(
    clippy::cast_precision_loss,
    reason = "a latency is far below 2^53 microseconds"
)]
pub(super) fn percentile(values: &mut [u64], hundredths: usize) -> f64 {
    values.sort_unstable();
    let rank = (values.len() * hundredths).div_ceil(100);
    values
        .get(rank.saturating_sub(1))
        .map_or(0.0, |it| *it as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_there() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied());
        let three = spread(&[3.0, 1.0, 2.5]).unwrap();
        assert_eq!((three.least, three.median, three.greatest), (1.0, 2.5, 3.0));
        assert_eq!(spread(&[4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(spread(&[7.0]).unwrap().median, 7.0);
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn a_value_that_is_no_number_is_left_out() {
        let spread = Spread::of([f64::NAN, 1.0, f64::INFINITY]).unwrap();
        assert_eq!((spread.least, spread.greatest), (1.0, 1.0));
        assert_eq!(Spread::of([f64::NAN]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let mut values: Vec<u64> = (1..=200).rev().collect();
        assert_eq!(percentile(&mut values, 99), 198.0);
        assert_eq!(percentile(&mut values, 50), 100.0);
        assert_eq!(percentile(&mut [5], 99), 5.0);
        assert_eq!(percentile(&mut [], 99), 0.0);
    }
}
