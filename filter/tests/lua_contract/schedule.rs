//! Random schedules: many clients, several rules a call, limits that change, a clock that jumps.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use velocitygate::limit::{Demand, Limit, Refund};
use velocitygate::units::{Micros, RedisTime};

use crate::clockless::Clockless;
use crate::limits::{LARGEST, LATEST_US, START_US, any_size, two_limits};
use crate::pair::Pair;
use crate::redis_server::RedisServer;

/// Where the clock goes before a call.
#[derive(Clone, Debug)]
enum Move {
    Forward(u64),
    Back(u64),
    /// To where the last refusal said that there is room, and so far past it.
    NextToken(i64),
    /// To the next multiple of the first rule's `per`, and so far past it.
    Window(i64),
    /// To where nothing counts any more under the first rule, and so far past it.
    Fresh(i64),
    /// To the last instant of the first rule's key, and so far past it.
    Expiry(i64),
}

#[derive(Clone, Debug)]
struct Step {
    clock: Move,
    client: u8,
    count: u64,
    /// Which of its two limits each rule has now.
    limits: [bool; 3],
    /// What a request costs of each rule, as far as the burst goes.
    costs: [u64; 3],
    rules: usize,
    /// Of the charge that was made so many steps ago, so many requests are given back after it.
    refund: Option<(usize, u64)>,
}

fn clock_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => (0_u64..2_000).prop_map(Move::Forward),
        3 => any_size(4_000_000_000_000).prop_map(Move::Forward),
        1 => any_size(4_000_000_000_000).prop_map(Move::Back),
        3 => (-1_i64..=1).prop_map(Move::NextToken),
        2 => (-2_i64..=2).prop_map(Move::Window),
        2 => (-2_i64..=2).prop_map(Move::Fresh),
        2 => (-1_i64..=1).prop_map(Move::Expiry),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let cost = prop_oneof![1 => Just(0), 4 => Just(1), 3 => any_size(LARGEST)];
    let count = prop_oneof![2 => Just(1), 3 => 1_u64..=2_000];
    // Now and then, or in turns as while a change is rolled out.
    let changed = |often| prop::array::uniform3(prop::bool::weighted(often));
    let limits = prop_oneof![3 => changed(0.15), 1 => changed(0.5)];
    let costs = prop::array::uniform3(cost);
    let refund = (0_usize..4, 1_u64..2_000);
    let refund = prop::option::weighted(0.3, refund);
    (
        clock_move(),
        0_u8..4,
        count,
        limits,
        costs,
        1_usize..=3,
        refund,
    )
        .prop_map(
            |(clock, client, count, limits, costs, rules, refund)| Step {
                clock,
                client,
                count,
                limits,
                costs,
                rules,
                refund,
            },
        )
}

/// The three keys of a client, one for each rule.
fn keys(client: u8, limits: &[[Limit; 2]; 3]) -> [Vec<u8>; 3] {
    [0, 1, 2].map(|rule| format!("vg:{{{rule}:{client}}}:{}", limits[rule][0].tag()).into_bytes())
}

impl Pair<'_> {
    fn go(&mut self, to: &Move, key: &[u8], per: Micros, retry: Micros) {
        let twin = self.twin.get(key);
        let now = match *to {
            Move::Forward(us) => self.now + us,
            Move::Back(us) => self.now - us,
            Move::NextToken(past) => (self.now + retry.0).saturating_add_signed(past),
            Move::Window(past) => ((self.now / per.0 + 1) * per.0).saturating_add_signed(past),
            Move::Fresh(past) => twin.map_or(self.now, |t| t.fresh.saturating_add_signed(past)),
            Move::Expiry(past) => twin.map_or(self.now, |twin| {
                (twin.expires_ms * 1_000 + 999).saturating_add_signed(past)
            }),
        };
        self.now = now.clamp(START_US, LATEST_US);
    }

    fn follow(&mut self, limits: &[[Limit; 2]; 3], steps: &[Step]) {
        let mut retry = Micros::ZERO;
        let mut charges: Vec<(u64, u64, usize)> = Vec::new();
        for (number, step) in steps.iter().enumerate() {
            let keys = keys(step.client, limits);
            self.go(&step.clock, &keys[0], limits[0][0].per(), retry);
            let charge = self.charge(&step.demand(step.count, &keys, limits));
            charges.push((self.now, charge.admitted, number));
            retry = charge.rules.iter().map(|rule| rule.retry).max().unwrap();
            let charged = step
                .refund
                .and_then(|(ago, count)| Some((*charges.iter().rev().nth(ago)?, count)));
            if let Some(((taken_at, admitted, number), count)) = charged {
                let step = &steps[number];
                let keys = self::keys(step.client, limits);
                self.refund(&Refund {
                    demand: step.demand(count.min(admitted), &keys, limits),
                    taken_at: RedisTime(taken_at),
                });
            }
        }
    }
}

impl Step {
    fn demand<'a>(
        &self,
        count: u64,
        keys: &'a [Vec<u8>; 3],
        limits: &[[Limit; 2]; 3],
    ) -> Demand<'a> {
        let bucket = |i: usize| {
            let limit = limits[i][usize::from(self.limits[i])];
            let cost = self.costs[i];
            let cost = if cost > limit.capacity() {
                cost % (limit.capacity() + 1)
            } else {
                cost
            };
            (keys[i].as_slice(), limit, cost)
        };
        let buckets = (0..self.rules).map(bucket).collect();
        Demand { count, buckets }
    }
}

#[test]
fn the_script_and_its_twin_agree_on_every_schedule() {
    let server = RedisServer::start();
    let redis = RefCell::new(Clockless::new(&server));
    let config = ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..Default::default()
    };
    let limits = prop::array::uniform3(two_limits());
    let schedule = (limits, prop::collection::vec(step(), 1..40));
    TestRunner::new(config)
        .run(&schedule, |(limits, steps)| {
            let mut redis = redis.borrow_mut();
            redis.redis.ask(&[b"FLUSHDB"], |_| ());
            Pair::new(&mut redis).follow(&limits, &steps);
            Ok(())
        })
        .unwrap();
}
