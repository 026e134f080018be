//! The plan of a load: when each request is due and which key it carries. Pure and seeded.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::scenario::{Keys, Load};

/// One planned request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// Counts from 0.
    pub index: u64,
    /// Seconds from the scenario's start.
    pub due_s: f64,
    /// Its key.
    pub key: Key,
}

/// The key of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// The one whose limit is meant to be met.
    Hot,
    /// One of the others.
    Plain(u64),
}

/// All arrivals of a load in order, until its end.
#[derive(Debug)]
pub struct Arrivals<'l> {
    load: &'l Load,
    end_s: f64,
    index: u64,
    /// Start of the current rate, and how many requests were due since.
    from_s: f64,
    since: u64,
    rps: f64,
    next_step: usize,
    random: SmallRng,
}

impl Load {
    /// The arrivals from the start until `end_s`, which is excluded.
    #[must_use]
    pub fn plan(&self, end_s: f64) -> Arrivals<'_> {
        Arrivals {
            load: self,
            end_s,
            index: 0,
            from_s: 0.0,
            since: 0,
            rps: self.rps,
            next_step: 0,
            random: SmallRng::seed_from_u64(self.seed),
        }
    }

    /// How many requests are due until `end_s`, to within one for each step.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates and times are bounded, and never negative"
    )]
    pub fn arrivals(&self, end_s: f64) -> u64 {
        let mut total = 0.0;
        let (mut from_s, mut rps) = (0.0, self.rps);
        for step in &self.steps {
            total += (step.at_s - from_s).max(0.0) * rps;
            (from_s, rps) = (step.at_s, step.rps);
        }
        (total + (end_s - from_s).max(0.0) * rps).ceil() as u64
    }
}

impl Arrivals<'_> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a plan has far fewer than 2^53 requests"
    )]
    fn due_s(&self) -> f64 {
        if self.rps > 0.0 {
            self.from_s + self.since as f64 / self.rps
        } else {
            f64::INFINITY
        }
    }

    fn key(&mut self) -> Key {
        let hot = self.load.hot;
        if hot.is_some_and(|hot| self.index.is_multiple_of(hot.every)) {
            return Key::Hot;
        }
        Key::Plain(match self.load.keys {
            Keys::One => 0,
            Keys::Distinct => self.index,
            Keys::Uniform { count } => self.random.random_range(0..count.max(1)),
        })
    }
}

impl Iterator for Arrivals<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        while let Some(step) = self.load.steps.get(self.next_step) {
            if self.due_s() < step.at_s {
                break;
            }
            (self.from_s, self.rps, self.since) = (step.at_s, step.rps, 0);
            self.next_step += 1;
        }
        let due_s = self.due_s();
        if due_s >= self.end_s {
            return None;
        }
        let arrival = Arrival {
            index: self.index,
            due_s,
            key: self.key(),
        };
        self.index += 1;
        self.since += 1;
        Some(arrival)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Hot, Limit, RateStep};

    fn load(keys: Keys, steps: Vec<RateStep>) -> Load {
        Load {
            rps: 10.0,
            keys,
            hot: None,
            seed: 7,
            steps,
        }
    }

    #[test]
    fn requests_are_due_at_even_distances() {
        let load = load(Keys::One, Vec::new());
        let due: Vec<f64> = load.plan(0.5).map(|it| it.due_s).collect();
        assert_eq!(due, [0.0, 0.1, 0.2, 0.3, 0.4]);
        assert_eq!(load.arrivals(0.5), 5);
    }

    #[test]
    fn a_step_changes_the_rate_at_its_time_and_zero_pauses() {
        let steps = vec![
            RateStep {
                at_s: 0.2,
                rps: 100.0,
            },
            RateStep {
                at_s: 0.25,
                rps: 0.0,
            },
            RateStep {
                at_s: 1.0,
                rps: 2.0,
            },
        ];
        let load = load(Keys::Distinct, steps);
        let plan: Vec<Arrival> = load.plan(2.0).collect();
        let due: Vec<u64> = plan
            .iter()
            .map(|it| (it.due_s * 100.0).round() as u64)
            .collect();
        assert_eq!(due, [0, 10, 20, 21, 22, 23, 24, 100, 150]);
        assert!(plan.iter().all(|it| it.key == Key::Plain(it.index)));
        assert_eq!(load.arrivals(2.0), 9);
    }

    #[test]
    fn uniform_keys_stay_in_range_and_repeat_with_the_seed() {
        let load = load(Keys::Uniform { count: 3 }, Vec::new());
        let keys = |load: &Load| load.plan(100.0).map(|it| it.key).collect::<Vec<_>>();
        let first = keys(&load);
        let three = [0, 1, 2].map(Key::Plain);
        assert!(three.iter().all(|key| first.contains(key)));
        assert!(first.iter().all(|key| three.contains(key)));
        assert_eq!(first, keys(&load));
    }

    #[test]
    fn one_request_in_so_many_carries_the_hot_key_and_the_others_their_own() {
        let (rate, burst) = (1.0, 1.0);
        let (every, limit) = (3, Limit { rate, burst });
        let load = Load {
            hot: Some(Hot { every, limit }),
            ..load(Keys::Distinct, Vec::new())
        };
        let keys: Vec<Key> = load.plan(0.5).map(|it| it.key).collect();
        let plain = Key::Plain;
        assert_eq!(keys, [Key::Hot, plain(1), plain(2), Key::Hot, plain(4)]);
    }
}
