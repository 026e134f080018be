//! The operations on several rules at once: the twin of `lua/charge.lua` and `lua/refund.lua`.

use super::algorithm::{Limit, State};
use super::reply::{Charge, Standing};
use super::script::Refund;
use crate::units::{Micros, RedisTime};

/// What one rule has counted, read at one instant.
pub(super) trait Level {
    /// How many lots of `size` tokens there is room for, at most `most`; `most` of size 0.
    fn lots(&self, size: u64, most: u64) -> u64;

    /// Takes tokens that there is room for.
    fn charge(&mut self, tokens: u64);

    /// Takes back tokens that were charged at `taken_at`, as far as they still count, and returns
    /// how many. Nothing is changed before.
    fn refund(&mut self, tokens: u64, taken_at: u64) -> u64;

    /// Where a rule stands whose requests cost `cost` tokens.
    fn standing(&self, cost: u64) -> Standing;

    /// What is to be remembered, when it is something else than was read: also before any charge,
    /// where another limit or clock wrote what was read.
    fn changed(&self) -> Option<State>;
}

/// Admits as many of `count` equal requests as every rule has room for, and charges each of those
/// to every rule: the whole of the script, for states that are held here.
///
/// `rules` are the limits, their states, and what one request costs of each (0: a look without a
/// charge).
pub fn charge_all(rules: &mut [(Limit, &mut State, u64)], count: u64, now: RedisTime) -> Charge {
    let mut levels: Vec<(Box<dyn Level>, u64)> = rules
        .iter()
        .map(|(limit, state, cost)| (limit.level(state, now.0), *cost))
        .collect();
    let mut open: Vec<(&mut dyn Level, u64)> = levels
        .iter_mut()
        .map(|(level, cost)| (&mut **level as &mut dyn Level, *cost))
        .collect();
    let (admitted, standings) = charge(&mut open, count);
    for ((_, state, _), (level, _)) in rules.iter_mut().zip(&levels) {
        if let Some(changed) = level.changed() {
            **state = changed;
        }
    }
    Charge {
        admitted,
        now,
        rules: standings,
    }
}

/// Takes back what was charged for requests that were not made after all; returns how many tokens
/// each rule gave back. `states` are those of the rules of `refund`.
pub fn refund_all(refund: &Refund<'_>, states: &mut [&mut State], now: RedisTime) -> Vec<u64> {
    let rules = refund.demand.buckets.iter().zip(states);
    rules
        .map(|((_, limit, cost), state)| {
            let mut level = limit.level(state, now.0);
            let tokens = refund.demand.count.saturating_mul(*cost);
            let counts = refund.taken_at <= now && level.changed().is_none();
            if !counts {
                return 0;
            }
            let given = level.refund(tokens, refund.taken_at.0);
            if let Some(changed) = level.changed().filter(|_| given > 0) {
                **state = changed;
            }
            given
        })
        .collect()
}

/// A charge of levels: how many are admitted, and where each rule stands after.
pub(super) fn charge(levels: &mut [(&mut dyn Level, u64)], count: u64) -> (u64, Vec<Standing>) {
    let admitted = levels
        .iter()
        .fold(count, |admitted, (level, cost)| level.lots(*cost, admitted));
    let standings = levels
        .iter_mut()
        .map(|(level, cost)| {
            let tokens = admitted.saturating_mul(*cost);
            if tokens > 0 {
                level.charge(tokens);
            }
            let standing = level.standing(*cost);
            match cost {
                // A look always finds room, also where more is counted than the limit admits.
                0 => Standing {
                    retry: Micros::ZERO,
                    ..standing
                },
                _ => standing,
            }
        })
        .collect();
    (admitted, standings)
}
