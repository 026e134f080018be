//! The scripts, and the commands that run them.

use super::TokenBucket;
use crate::resp::encode;

/// A Lua script as Redis knows it.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    /// The text, as EVAL takes it.
    pub body: &'static str,
    /// The SHA-1 of the text in hex, as EVALSHA takes it.
    pub sha1: &'static str,
}

/// The token bucket; its header tells KEYS, ARGV and the reply.
pub const TOKEN_BUCKET: Script = Script {
    body: include_str!("lua/token_bucket.lua"),
    sha1: "a12e2cdd065bca91ec90284c502566d29fcf660a",
};

/// What a script call asks: may `count` equal requests pass all of these buckets?
#[derive(Debug)]
pub struct Demand<'a> {
    /// Equal requests that wait, at least 1.
    pub count: u64,
    /// For each rule: the Redis key, the limit, and the tokens that one request costs.
    pub buckets: Vec<(&'a [u8], TokenBucket, u64)>,
}

impl Script {
    /// Appends the command that asks `demand`: by digest, or with the whole text (`load`), which
    /// also teaches it to a Redis that does not know the digest.
    pub fn command(&self, out: &mut Vec<u8>, demand: &Demand<'_>, load: bool) {
        let numbers: Vec<String> = std::iter::once(demand.count)
            .chain(
                demand
                    .buckets
                    .iter()
                    .flat_map(|(_, limit, cost)| [limit.requests, limit.per.0, limit.burst, *cost]),
            )
            .map(|n| n.to_string())
            .collect();
        let keys = demand.buckets.len().to_string();
        let (verb, script) = if load {
            ("EVAL", self.body)
        } else {
            ("EVALSHA", self.sha1)
        };
        let mut args: Vec<&[u8]> = vec![verb.as_bytes(), script.as_bytes(), keys.as_bytes()];
        args.extend(demand.buckets.iter().map(|(key, _, _)| *key));
        args.extend(numbers.iter().map(|n| n.as_bytes()));
        encode::command(out, &args);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha1::{Digest, Sha1};

    #[test]
    fn the_digest_is_that_of_the_text() {
        let digest: String = Sha1::digest(TOKEN_BUCKET.body)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(TOKEN_BUCKET.sha1, digest, "put this digest into script.rs");
    }
}
