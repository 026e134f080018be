//! A Redis that is a map.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::OutgoingCall;
use crate::limit::{
    self, Demand, Limit, Refund, SCRIPT, TokenBucket, Window, charge_all, refund_all,
};
use crate::resp::{self, Reply};
use crate::units::{Instant, Micros, RedisTime};

/// The script on a map. Counts the commands it is sent.
#[derive(Debug, Default)]
pub(super) struct ModelRedis {
    states: BTreeMap<Vec<u8>, limit::State>,
    pub(super) knows_script: bool,
    pub(super) evals: u32,
    pub(super) evalshas: u32,
    /// Requests it admitted.
    pub(super) admitted: u64,
    /// Answered to every command instead of a charge.
    pub(super) error: Option<&'static str>,
    /// Every key lives in a slot of its own.
    pub(super) cluster: bool,
    /// Shards over which the keys of a cluster are spread.
    shards: u64,
    /// Those of them that lack the script.
    pub(super) cold: BTreeSet<u64>,
    /// Those that answer every command with this error.
    pub(super) ill: BTreeMap<u64, &'static str>,
    /// Keys that hold somebody else's value.
    pub(super) poisoned: Vec<Vec<u8>>,
}

impl ModelRedis {
    /// An empty one that knows the script.
    pub(super) fn scripted() -> Self {
        Self {
            knows_script: true,
            ..Self::default()
        }
    }

    /// A cluster of so many shards.
    pub(super) fn cluster_of(shards: u64) -> Self {
        Self {
            cluster: true,
            shards,
            ..Self::scripted()
        }
    }

    /// Every shard of the cluster forgets the script.
    pub(super) fn flush_scripts(&mut self) {
        self.cold = (0..self.shards).collect();
    }

    /// Where a key lives.
    pub(super) fn shard_of(&self, key: &[u8]) -> u64 {
        // FNV-1a, whose upper half is the better one.
        let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        (hash >> 32) % self.shards.max(1)
    }

    /// Somebody deletes all keys.
    pub(super) fn forget(&mut self) {
        self.states.clear();
    }

    /// Tokens left of the bucket of `key` under `rule`, of which `limit` is told.
    pub(super) fn remaining(&self, rule: &str, key: &str, limit: TokenBucket, now: Instant) -> u64 {
        let key = format!("vg:{{{rule}:{key}}}:tb").into_bytes();
        let mut state = self.states.get(&key).cloned().unwrap_or_default();
        let mut rules = [(Limit::TokenBucket(limit), &mut state, 0)];
        charge_all(&mut rules, 1, RedisTime(now.0)).rules[0].remaining
    }

    pub(super) fn run(&mut self, call: &OutgoingCall, now: Instant) -> Vec<u8> {
        let commands = resp::decode_commands(&call.body, call.replies).expect("whole commands");
        commands
            .iter()
            .flat_map(|command| self.command(&args(command), now))
            .collect()
    }

    fn command(&mut self, args: &[&[u8]], now: Instant) -> Vec<u8> {
        let brings_script = match args[0] {
            b"EVAL" => {
                assert_eq!(args[1], SCRIPT.body.as_bytes());
                self.evals += 1;
                true
            }
            b"EVALSHA" => {
                assert_eq!(args[1], SCRIPT.sha1.as_bytes());
                self.evalshas += 1;
                false
            }
            other => panic!("unexpected command {other:?}"),
        };
        let number_of_keys = number(args[2]) as usize;
        let (keys, arguments) = args[3..].split_at(number_of_keys);
        let shard = self.shard_of(keys[0]);
        if let Some(error) = self.ill.get(&shard).or(self.error.as_ref()) {
            return format!("-{error}\r\n").into_bytes();
        }
        // A node looks at the keys of a command before it looks for the script.
        if self.cluster && keys.len() > 1 {
            return b"-CROSSSLOT Keys in request don't hash to the same slot\r\n".to_vec();
        }
        if brings_script {
            self.knows_script = true;
            self.cold.remove(&shard);
        }
        let knows_script = self.knows_script && !self.cold.contains(&shard);
        if !knows_script {
            return b"-NOSCRIPT No matching script.\r\n".to_vec();
        }
        if keys.iter().any(|key| self.poisoned.contains(&key.to_vec())) {
            return b"-WRONGTYPE Operation against a key\r\n".to_vec();
        }
        let mut states: Vec<limit::State> = keys
            .iter()
            .map(|key| self.states.get(*key).cloned().unwrap_or_default())
            .collect();
        let numbers = match arguments {
            [b"charge", count, rules @ ..] => {
                let rules = rules.chunks(5).map(rule);
                self.charge(rules.zip(&mut states), number(count), now)
            }
            [b"refund", count, taken_at, rules @ ..] => {
                let rules = keys.iter().zip(rules.chunks(5).map(rule));
                let refund = Refund {
                    demand: Demand {
                        count: number(count),
                        buckets: rules
                            .map(|(key, (limit, cost))| (*key, limit, cost))
                            .collect(),
                    },
                    taken_at: RedisTime(number(taken_at)),
                };
                let mut states: Vec<&mut limit::State> = states.iter_mut().collect();
                refund_all(&refund, &mut states, RedisTime(now.0))
            }
            other => panic!("{other:?}"),
        };
        self.states
            .extend(keys.iter().map(|key| key.to_vec()).zip(states));
        let items: String = numbers.iter().map(|n| format!(":{n}\r\n")).collect();
        format!("*{}\r\n{items}", numbers.len()).into_bytes()
    }

    fn charge<'a>(
        &mut self,
        rules: impl Iterator<Item = ((Limit, u64), &'a mut limit::State)>,
        count: u64,
        now: Instant,
    ) -> Vec<u64> {
        let mut rules: Vec<(Limit, &mut limit::State, u64)> = rules
            .map(|((limit, cost), state)| (limit, state, cost))
            .collect();
        let charge = charge_all(&mut rules, count, RedisTime(now.0));
        self.admitted += charge.admitted;
        let rules = charge.rules.iter();
        let standings = rules.flat_map(|s| [s.remaining, s.retry.0, s.reset.0]);
        [charge.admitted, charge.now.0]
            .into_iter()
            .chain(standings)
            .collect()
    }
}

fn number(bytes: &[u8]) -> u64 {
    str::from_utf8(bytes).unwrap().parse().unwrap()
}

/// The limit and the cost of one rule, as the script is told them.
fn rule(words: &[&[u8]]) -> (Limit, u64) {
    let [requests, per, burst, cost] = [1, 2, 3, 4].map(|i| number(words[i]));
    let per = Micros(per);
    let window = Window { requests, per };
    let limit = match words[0] {
        b"fw" => Limit::FixedWindow(window),
        b"sw" => Limit::SlidingWindow(window),
        b"sl" => Limit::SlidingLog(window),
        b"tb" => Limit::TokenBucket(TokenBucket {
            requests,
            per,
            burst,
        }),
        other => panic!("{other:?}"),
    };
    (limit, cost)
}

fn args<'a>(command: &'a Reply<'a>) -> Vec<&'a [u8]> {
    let Reply::Array(Some(items)) = command else {
        panic!("a command is an array")
    };
    let bulk = |item: &Reply<'a>| match item {
        Reply::Bulk(Some(bytes)) => *bytes,
        other => panic!("a command holds bulk strings only, not {other:?}"),
    };
    items.iter().map(bulk).collect()
}
