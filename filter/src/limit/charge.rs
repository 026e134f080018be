//! The charge of several rules at once: the twin of `lua/charge.lua`.

use super::algorithm::{Limit, State};
use super::reply::{Charge, Standing};
use crate::units::RedisTime;

/// What one rule has counted, read at one instant.
pub(super) trait Level {
    /// How many lots of `size` tokens there is room for, at most `most`; `most` of size 0.
    fn lots(&self, size: u64, most: u64) -> u64;

    /// Takes tokens that there is room for.
    fn charge(&mut self, tokens: u64);

    /// Where a rule stands whose requests cost `cost` tokens.
    fn standing(&self, cost: u64) -> Standing;

    /// What is to be remembered, when it is something else than was read.
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

/// The same on levels: how many are admitted, and where each rule stands after.
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
            level.standing(*cost)
        })
        .collect();
    (admitted, standings)
}
