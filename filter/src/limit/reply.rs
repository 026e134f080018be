//! What a script answers, checked against what it was asked.

use std::fmt;

use crate::resp::Reply;
use crate::units::Micros;

/// The answer to one demand: how many of its requests pass, and where each bucket stands after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Requests that pass, first come first served.
    pub admitted: u64,
    /// One standing for each rule of the demand, in its order.
    pub rules: Vec<Standing>,
}

/// Where one bucket stands after a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whole tokens left.
    pub remaining: u64,
    /// Until there is room for one more request; zero when there is.
    pub retry: Micros,
    /// Until the bucket is full.
    pub reset: Micros,
}

/// A reply that does not fit the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShapeError {
    /// Not an array of numbers that are zero or more.
    NotNumbers,
    /// Another number of fields than the rules asked about call for.
    WrongLength,
    /// More requests admitted than asked.
    OverAdmitted,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotNumbers => "a reply that is not an array of whole numbers",
            Self::WrongLength => "a reply for another number of rules",
            Self::OverAdmitted => "a reply that admits more requests than were asked",
        })
    }
}

impl Charge {
    /// Reads the flat array that a script returns to a demand of `count` requests on `rules` rules.
    pub fn from_reply(reply: &Reply<'_>, count: u64, rules: usize) -> Result<Self, ShapeError> {
        let Reply::Array(Some(items)) = reply else {
            return Err(ShapeError::NotNumbers);
        };
        let numbers = items
            .iter()
            .map(|item| match item {
                Reply::Integer(n) => u64::try_from(*n).map_err(|_| ShapeError::NotNumbers),
                _ => Err(ShapeError::NotNumbers),
            })
            .collect::<Result<Vec<u64>, _>>()?;
        let Some((&admitted, fields)) = numbers.split_first() else {
            return Err(ShapeError::WrongLength);
        };
        let (standings, rest) = fields.as_chunks::<3>();
        if standings.len() != rules || !rest.is_empty() {
            return Err(ShapeError::WrongLength);
        }
        if admitted > count {
            return Err(ShapeError::OverAdmitted);
        }
        let rules = standings
            .iter()
            .map(|&[remaining, retry, reset]| Standing {
                remaining,
                retry: Micros(retry),
                reset: Micros(reset),
            })
            .collect();
        Ok(Self { admitted, rules })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(items: &[i64]) -> Reply<'static> {
        Reply::Array(Some(items.iter().map(|n| Reply::Integer(*n)).collect()))
    }

    #[test]
    fn a_reply_that_fits_is_read_field_by_field() {
        let charge = Charge::from_reply(&numbers(&[2, 5, 0, 900]), 3, 1).unwrap();
        let standing = Standing {
            remaining: 5,
            retry: Micros(0),
            reset: Micros(900),
        };
        assert_eq!(
            charge,
            Charge {
                admitted: 2,
                rules: vec![standing]
            }
        );
    }

    #[test]
    fn replies_that_do_not_fit_are_told_apart() {
        let cases = [
            (Reply::Integer(1), ShapeError::NotNumbers),
            (Reply::Array(None), ShapeError::NotNumbers),
            (numbers(&[1, -1, 0, 0]), ShapeError::NotNumbers),
            (numbers(&[]), ShapeError::WrongLength),
            (numbers(&[1]), ShapeError::WrongLength),
            (numbers(&[1, 1, 0, 0, 1]), ShapeError::WrongLength),
            (numbers(&[4, 1, 0, 0]), ShapeError::OverAdmitted),
        ];
        for (reply, expected) in cases {
            assert_eq!(Charge::from_reply(&reply, 3, 1), Err(expected), "{reply:?}");
        }
    }
}
