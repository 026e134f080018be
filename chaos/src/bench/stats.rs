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
}
