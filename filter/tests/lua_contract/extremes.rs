//! The largest numbers that configuration allows, against exact arithmetic in 128 bits that shares
//! no line with the twin. A double that had to round anywhere on the way would show here.

use velocitygate::limit::{Charge, Demand, Limit, Standing, TokenBucket};
use velocitygate::units::{Micros, RedisTime};

use crate::clockless::{Clockless, Held};
use crate::limits::{LARGEST, LATEST_US, LONGEST_FILL_US, LONGEST_PER_MS, START_US, largest_burst};
use crate::pair::Pair;
use crate::redis_server::RedisServer;

/// What is taken of `limit` at one instant, in `1 / requests` microseconds.
struct Exact {
    limit: TokenBucket,
    taken: u128,
}

impl Exact {
    fn span(&self, tokens: u64) -> u128 {
        u128::from(tokens) * u128::from(self.limit.per.0)
    }

    fn pass(&mut self, us: u64) {
        self.taken = self
            .taken
            .saturating_sub(u128::from(us) * u128::from(self.limit.requests));
    }

    fn charge(&mut self, count: u64, cost: u64, now: u64) -> Charge {
        let room = |taken| self.span(self.limit.burst) - taken;
        let fit = room(self.taken).checked_div(self.span(cost));
        let fit = fit.map_or(count, |fit| u64::try_from(fit).unwrap());
        let admitted = fit.min(count);
        let taken = self.taken + self.span(admitted * cost);
        let requests = u128::from(self.limit.requests);
        let micros = |ticks: u128| Micros(u64::try_from(ticks.div_ceil(requests)).unwrap());
        let standing = Standing {
            remaining: u64::try_from(room(taken) / self.span(1)).unwrap(),
            retry: micros(self.span(cost).saturating_sub(room(taken))),
            reset: micros(taken),
        };
        self.taken = taken;
        Charge {
            admitted,
            now: RedisTime(now),
            rules: vec![standing],
        }
    }

    fn stored(&self, now: u64) -> String {
        let requests = u128::from(self.limit.requests);
        let us = u128::from(now) + self.taken / requests;
        let full = self.span(self.limit.burst).div_ceil(requests);
        let (fraction, per) = (self.taken % requests, self.limit.per.0);
        format!("{us}:{fraction}:{requests}:{per}:{full}")
    }
}

/// For each rate the window that leaves the largest rest and the longest, with the largest bucket.
fn extreme_limits() -> Vec<TokenBucket> {
    let rates = [
        1,
        2,
        3,
        9_999_991,
        10_000_019,
        32_771,
        536_870_909,
        999_999_929,
        999_999_937,
    ];
    let windows = |requests: u64| {
        let largest_rest = requests * (LONGEST_PER_MS * 1_000 / requests) - 1;
        [LONGEST_PER_MS, largest_rest / 1_000, 1].map(|ms| Micros::from_millis(ms.max(1)))
    };
    let mut limits: Vec<TokenBucket> = rates
        .into_iter()
        .chain([LARGEST - 1, LARGEST])
        .flat_map(|requests| windows(requests).map(|per| (requests, per)))
        .map(|(requests, per)| TokenBucket {
            requests,
            per,
            burst: largest_burst(requests, per),
        })
        .collect();
    // To the microsecond the longest fill there may be.
    limits.push(TokenBucket {
        requests: 1,
        per: Micros::from_secs(86_400),
        burst: 36_525,
    });
    limits
}

#[test]
fn nothing_rounds_at_the_extremes_that_configuration_allows() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    let limits = extreme_limits();
    for (i, limit) in limits.iter().enumerate() {
        let key = format!("vg:{{extreme:{i}}}:tb");
        let mut exact = Exact {
            limit: *limit,
            taken: 0,
        };
        let mut now = LATEST_US;
        let full = exact.span(limit.burst) / u128::from(limit.requests);
        assert!(full <= LONGEST_FILL_US);
        let full = u64::try_from(full).unwrap();
        let burst = limit.burst;
        let costs = [
            1,
            burst,
            burst / 2 + 1,
            (burst / 3).max(1),
            32_767,
            32_768,
            32_769,
            65_537,
        ];
        for (step, cost) in costs.into_iter().chain(costs).enumerate() {
            let cost = cost.min(burst);
            let count = [1_000_000, 1, 2_000][step % 3];
            let demand = Demand {
                count,
                buckets: vec![(key.as_bytes(), Limit::TokenBucket(*limit), cost)],
            };
            let outcome = redis.charge(&demand, now);
            let expected = exact.charge(count, cost, now);
            assert_eq!(outcome.answer, expected, "{demand:?} at {now}");
            if expected.admitted > 0 {
                let Held { value, ttl } = &outcome.held[0];
                assert_eq!(
                    value.as_deref(),
                    Some(&*exact.stored(now)),
                    "{demand:?} at {now}"
                );
                assert!(*ttl >= 0, "the key must expire");
            }
            // To the very instant of the next token, and one microsecond short of it.
            let wait = expected.rules[0]
                .retry
                .0
                .saturating_sub(u64::from(step % 2 == 0));
            let wait = wait.min((1 << 53) - 1 - full - now);
            exact.pass(wait);
            now += wait;
        }
    }
}

/// Microseconds in which `requests` ticks each come to one tick less than whole tokens: the `t`
/// with `t x requests = -1` modulo `per`, by Euclid's algorithm on two coprime numbers.
fn one_tick_short(requests: u64, per: u64) -> u64 {
    let modulus = i128::from(per);
    let (mut rest, mut next) = (modulus, i128::from(requests) % modulus);
    let (mut factor, mut next_factor) = (0, 1);
    while next != 0 {
        let times = rest / next;
        (rest, next) = (next, rest - times * next);
        (factor, next_factor) = (next_factor, factor - times * next_factor);
    }
    assert_eq!(rest, 1, "{requests} and {per} are coprime");
    u64::try_from((-factor).rem_euclid(modulus)).unwrap()
}

#[test]
fn a_bucket_that_is_one_tick_short_of_a_token_does_not_have_it() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    for requests in [7, 7_919, 9_999_991, 536_870_909, 999_999_929, 999_999_937] {
        for per_ms in [1, 1_000, 86_400_000, LONGEST_PER_MS - 1, LONGEST_PER_MS] {
            let per = Micros::from_millis(per_ms);
            let burst = largest_burst(requests, per);
            let limit = TokenBucket {
                requests,
                per,
                burst,
            };
            let key = format!("vg:{{short:{requests}:{per_ms}}}:tb");
            let mut exact = Exact { limit, taken: 0 };
            let mut now = START_US;
            // Drained, then only looked at: a charge would blur the tick that is short.
            for (count, cost) in [(1, burst), (1, 0)] {
                let demand = Demand {
                    count,
                    buckets: vec![(key.as_bytes(), Limit::TokenBucket(limit), cost)],
                };
                let expected = exact.charge(count, cost, now);
                assert_eq!(redis.charge(&demand, now).answer, expected, "{demand:?}");
                let wait = one_tick_short(requests, per.0);
                exact.pass(wait);
                now += wait;
            }
        }
    }
}

/// Tokens that are counted at another rate are rounded up. A bucket that takes the longest to fill
/// once waited a few microseconds longer than a reply may say, and its call was a failure.
#[test]
fn a_changed_rate_of_the_longest_bucket_fits_into_a_reply() {
    let server = RedisServer::start();
    let mut redis = Clockless::new(&server);
    let mut pair = Pair::new(&mut redis);
    let burst = 36_525;
    for (per_ms, count) in [(86_399_999, burst - 1), (86_400_000, 1)] {
        let bucket = Limit::TokenBucket(TokenBucket {
            requests: 1,
            per: Micros::from_millis(per_ms),
            burst,
        });
        let demand = Demand {
            count,
            buckets: vec![(b"vg:{longest}:tb", bucket, 1)],
        };
        assert_eq!(pair.charge(&demand).admitted, count);
    }
}
