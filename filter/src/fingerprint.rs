//! Keys of this worker's tables: 128 bits that stand for a Redis key.
//!
//! A Redis key can hold three kilobytes that a client chose, and a table of many thousands must be
//! bounded in bytes, not only in entries. Two keys with one fingerprint would share what is known
//! of them; the hash is SipHash-1-3 under keys drawn from the host's randomness, so nobody outside
//! can build such a pair, and by chance a table of 100,000 keys holds one with 2^-95.

use std::hash::{BuildHasher, RandomState};

/// Stands for a Redis key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u64; 2]);

/// Makes the fingerprints of one table.
#[derive(Debug, Default)]
pub struct Fingerprints {
    halves: [RandomState; 2],
}

impl Fingerprints {
    /// The fingerprint of a Redis key.
    pub fn of(&self, key: &[u8]) -> Fingerprint {
        Fingerprint(self.halves.each_ref().map(|half| half.hash_one(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_fingerprint_and_another_key_another() {
        let fingerprints = Fingerprints::default();
        let of = |key: &str| fingerprints.of(key.as_bytes());
        assert_eq!(of("vg:{r:a}:tb"), of("vg:{r:a}:tb"));
        assert_ne!(of("vg:{r:a}:tb"), of("vg:{r:b}:tb"));
        let Fingerprint([low, high]) = of("vg:{r:a}:tb");
        assert_ne!(low, high, "each half has a key of its own");
    }

    #[test]
    fn fingerprints_of_another_table_are_others() {
        let (one, other) = (Fingerprints::default(), Fingerprints::default());
        assert_ne!(one.of(b"vg:{r:a}:tb"), other.of(b"vg:{r:a}:tb"));
    }
}
