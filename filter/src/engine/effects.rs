//! The effects of one event, collected until the shell takes them.

use super::effect::Effect;
use crate::metrics::Metric;

/// Effects in the order they arose; additions to one metric are summed, since each is a host call.
#[derive(Debug, Default)]
pub(super) struct Effects {
    list: Vec<Effect>,
    sums: Vec<(Metric, i64)>,
}

impl Effects {
    pub(super) fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    pub(super) fn add(&mut self, metric: Metric, n: i64) {
        match self.sums.iter_mut().find(|(known, _)| *known == metric) {
            Some((_, sum)) => *sum = sum.saturating_add(n),
            None => self.sums.push((metric, n)),
        }
    }

    /// Adds to a counter. Nothing is done for nothing.
    pub(super) fn count(&mut self, metric: Metric, n: u64) {
        if n > 0 {
            self.add(metric, i64::try_from(n).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn record(&mut self, metric: Metric, value: u64) {
        self.list.push(Effect::Record(metric, value));
    }

    pub(super) fn take(&mut self) -> Vec<Effect> {
        let sums = self.sums.drain(..).filter(|(_, sum)| *sum != 0);
        let mut list = std::mem::take(&mut self.list);
        list.extend(sums.map(|(metric, sum)| Effect::Add(metric, sum)));
        list
    }
}
