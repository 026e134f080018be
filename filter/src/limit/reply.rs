//! What a script answers, checked against what it was asked.

use std::fmt;

use super::Limit;
use super::script::{Demand, Refund};
use crate::resp::Reply;
use crate::units::{Micros, RedisTime};

/// The answer to one demand: how many of its requests pass, and where each rule stands after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Requests that pass, first come first served.
    pub admitted: u64,
    /// When they were charged.
    pub now: RedisTime,
    /// One standing for each rule of the demand, in its order.
    pub rules: Vec<Standing>,
}

/// Where one rule stands after a charge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whole tokens left.
    pub remaining: u64,
    /// Until there is room for one more request; zero when there is.
    pub retry: Micros,
    /// Until nothing that was charged counts any more.
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
    /// More tokens left than the limit has, or a wait that no configuration allows.
    OutOfRange,
    /// Requests refused, although every rule had room for one more.
    RefusedWithRoom,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotNumbers => "a reply that is not an array of whole numbers",
            Self::WrongLength => "a reply for another number of rules",
            Self::OverAdmitted => "a reply that admits more requests than were asked",
            Self::OutOfRange => "a reply with numbers out of range",
            Self::RefusedWithRoom => "a reply that refuses although there is room",
        })
    }
}

impl Charge {
    /// Reads the flat array that the script returns to a demand of `count` requests on rules with
    /// these `limits`.
    ///
    /// # Errors
    /// When the reply cannot be the script's answer to that demand.
    pub fn from_reply(reply: &Reply<'_>, count: u64, limits: &[Limit]) -> Result<Self, ShapeError> {
        let numbers = numbers(reply)?;
        let [admitted, now, fields @ ..] = numbers.as_slice() else {
            return Err(ShapeError::WrongLength);
        };
        let (admitted, now) = (*admitted, RedisTime(*now));
        let (standings, rest) = fields.as_chunks::<3>();
        if standings.len() != limits.len() || !rest.is_empty() {
            return Err(ShapeError::WrongLength);
        }
        if admitted > count {
            return Err(ShapeError::OverAdmitted);
        }
        let standings = standings.iter().zip(limits);
        let rules = standings
            .map(|(fields, limit)| Standing::within(*fields, limit))
            .collect::<Result<Vec<Standing>, _>>()?;
        let has_room = rules.iter().all(|standing| standing.retry == Micros::ZERO);
        if admitted < count && has_room {
            return Err(ShapeError::RefusedWithRoom);
        }
        Ok(Self {
            admitted,
            now,
            rules,
        })
    }
}

/// Reads what the script returns to a refund: how many tokens each rule gave back.
///
/// # Errors
/// When the reply cannot be the script's answer to that refund.
pub fn refunded(reply: &Reply<'_>, refund: &Refund<'_>) -> Result<Vec<u64>, ShapeError> {
    let numbers = numbers(reply)?;
    let Demand { count, buckets } = &refund.demand;
    if numbers.len() != buckets.len() {
        return Err(ShapeError::WrongLength);
    }
    let mut rules = numbers.iter().zip(buckets);
    if rules.any(|(given, (_, _, cost))| *given > count.saturating_mul(*cost)) {
        return Err(ShapeError::OutOfRange);
    }
    Ok(numbers)
}

impl Standing {
    fn within([remaining, retry, reset]: [u64; 3], limit: &Limit) -> Result<Self, ShapeError> {
        let (retry, reset) = (Micros(retry), Micros(reset));
        // There is room for one more request at the latest when there is room for all.
        let in_range = remaining <= limit.capacity() && reset <= limit.longest_reset();
        if !in_range || retry > reset {
            return Err(ShapeError::OutOfRange);
        }
        Ok(Self {
            remaining,
            retry,
            reset,
        })
    }
}

fn numbers(reply: &Reply<'_>) -> Result<Vec<u64>, ShapeError> {
    let Reply::Array(Some(items)) = reply else {
        return Err(ShapeError::NotNumbers);
    };
    let number = |item: &Reply<'_>| match item {
        Reply::Integer(n) => u64::try_from(*n).map_err(|_| ShapeError::NotNumbers),
        _ => Err(ShapeError::NotNumbers),
    };
    items.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::TokenBucket;

    const LIMIT: Limit = Limit::TokenBucket(TokenBucket {
        requests: 1,
        per: Micros(1),
        burst: 5,
    });

    fn array(items: &[i64]) -> Reply<'static> {
        Reply::Array(Some(items.iter().map(|n| Reply::Integer(*n)).collect()))
    }

    #[test]
    fn a_reply_that_fits_is_read_field_by_field() {
        let charge = Charge::from_reply(&array(&[2, 7, 5, 1, 900]), 3, &[LIMIT]).unwrap();
        let standing = Standing {
            remaining: 5,
            retry: Micros(1),
            reset: Micros(900),
        };
        assert_eq!(
            charge,
            Charge {
                admitted: 2,
                now: RedisTime(7),
                rules: vec![standing]
            }
        );
    }

    #[test]
    fn replies_that_do_not_fit_are_told_apart() {
        let cases = [
            (Reply::Integer(1), ShapeError::NotNumbers),
            (Reply::Array(None), ShapeError::NotNumbers),
            (array(&[1, 7, -1, 0, 0]), ShapeError::NotNumbers),
            (array(&[1, -7, 1, 0, 0]), ShapeError::NotNumbers),
            (array(&[]), ShapeError::WrongLength),
            (array(&[1]), ShapeError::WrongLength),
            (array(&[1, 7]), ShapeError::WrongLength),
            (array(&[1, 7, 1, 0, 0, 1]), ShapeError::WrongLength),
            (array(&[4, 7, 1, 0, 0]), ShapeError::OverAdmitted),
            (array(&[3, 7, 6, 0, 0]), ShapeError::OutOfRange),
            (array(&[3, 7, 1, 0, i64::MAX]), ShapeError::OutOfRange),
            (array(&[2, 7, 1, i64::MAX, 0]), ShapeError::OutOfRange),
            (array(&[2, 7, 1, 9, 8]), ShapeError::OutOfRange),
            (array(&[2, 7, 1, 0, 0]), ShapeError::RefusedWithRoom),
        ];
        for (reply, expected) in cases {
            assert_eq!(
                Charge::from_reply(&reply, 3, &[LIMIT]),
                Err(expected),
                "{reply:?}"
            );
        }
    }

    #[test]
    fn a_refund_gives_back_no_more_than_was_charged_under_each_rule() {
        let refund = Refund {
            demand: Demand {
                count: 3,
                buckets: vec![(b"a", LIMIT, 1), (b"b", LIMIT, 2)],
            },
            taken_at: RedisTime(7),
        };
        assert_eq!(refunded(&array(&[3, 6]), &refund), Ok(vec![3, 6]));
        for (reply, expected) in [
            (array(&[3]), ShapeError::WrongLength),
            (array(&[3, 6, 0]), ShapeError::WrongLength),
            (array(&[4, 6]), ShapeError::OutOfRange),
            (array(&[3, 7]), ShapeError::OutOfRange),
            (array(&[3, -1]), ShapeError::NotNumbers),
        ] {
            assert_eq!(refunded(&reply, &refund), Err(expected), "{reply:?}");
        }
    }
}
