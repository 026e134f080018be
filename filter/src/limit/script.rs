//! The scripts, and the commands that run them.

use super::Limit;
use crate::resp::encode;
use crate::units::RedisTime;

/// A Lua script as Redis knows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    /// The text, as EVAL takes it.
    pub body: &'static str,
    /// The SHA-1 of the text in hex, as EVALSHA takes it.
    pub sha1: &'static str,
}

/// The algorithms, and the two operations over all of them, put together by `build.rs`; the headers
/// of `lua/charge.lua` and `lua/refund.lua` tell KEYS, ARGV and the replies.
pub const SCRIPT: Script = Script {
    body: include_str!(concat!(env!("OUT_DIR"), "/script.lua")),
    sha1: include_str!(concat!(env!("OUT_DIR"), "/script.sha1")),
};

/// What a script call asks: may `count` equal requests pass all of these rules?
#[derive(Debug)]
pub struct Demand<'a> {
    /// Equal requests that wait, at least 1.
    pub count: u64,
    /// For each rule: the Redis key, the limit, and the tokens that one request costs.
    pub buckets: Vec<(&'a [u8], Limit, u64)>,
}

/// What a refund asks: take back what requests were charged that were not made after all.
#[derive(Debug)]
pub struct Refund<'a> {
    /// The requests, and the rules that were charged for them.
    pub demand: Demand<'a>,
    /// The [`super::Charge::now`] of their charge.
    pub taken_at: RedisTime,
}

impl Script {
    /// Appends the command that asks `demand`: by digest, or with the whole text (`load`), which
    /// also teaches it to a Redis that does not know the digest.
    pub fn command(&self, out: &mut Vec<u8>, demand: &Demand<'_>, load: bool) {
        let operation = ["charge".to_owned(), demand.count.to_string()];
        self.operate(out, demand, &operation, load);
    }

    /// Appends the command that asks for `refund`, in the same way.
    pub fn refund(&self, out: &mut Vec<u8>, refund: &Refund<'_>, load: bool) {
        let operation = [
            "refund".to_owned(),
            refund.demand.count.to_string(),
            refund.taken_at.0.to_string(),
        ];
        self.operate(out, &refund.demand, &operation, load);
    }

    fn operate(&self, out: &mut Vec<u8>, demand: &Demand<'_>, operation: &[String], load: bool) {
        let keys = demand.buckets.len().to_string();
        let (verb, script) = if load {
            ("EVAL", self.body)
        } else {
            ("EVALSHA", self.sha1)
        };
        let mut args: Vec<&[u8]> = vec![verb.as_bytes(), script.as_bytes(), keys.as_bytes()];
        args.extend(demand.buckets.iter().map(|(key, _, _)| *key));
        let rules = demand.arguments();
        args.extend(operation.iter().chain(&rules).map(|word| word.as_bytes()));
        encode::command(out, &args);
    }
}

impl Demand<'_> {
    /// What the script is told of each rule.
    fn arguments(&self) -> Vec<String> {
        self.buckets
            .iter()
            .flat_map(|(_, limit, cost)| {
                let numbers = [limit.requests(), limit.per().0, limit.capacity(), *cost];
                std::iter::once(limit.tag().to_owned()).chain(numbers.map(|n| n.to_string()))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BUCKET_FILL_MAX, PER_MAX, TOKENS_MAX};

    #[test]
    fn the_script_knows_the_bounds_of_a_configuration() {
        let bounds = [
            ("PER_MAX", PER_MAX.0),
            ("FILL_MAX", BUCKET_FILL_MAX.0),
            ("TOKENS_MAX", TOKENS_MAX),
        ];
        for (name, bound) in bounds {
            let line = format!("local {name} = {bound}");
            let found = SCRIPT.body.lines().filter(|it| {
                it.strip_prefix(&*line)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            });
            assert_eq!(found.count(), 1, "{line}");
        }
    }
}
