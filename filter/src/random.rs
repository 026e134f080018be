//! A small seeded generator for choices that need no secrecy: jitter, names, sampling.
//!
//! SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
//! 2014; constants as in Vigna's reference, <https://prng.di.unimi.it/splitmix64.c>. Every 64-bit
//! seed is a good one, and the state is one word. Anyone who sees outputs can tell the rest.

/// A stream of uniform 64-bit numbers, the same one for the same seed. Repeats after 2^64 numbers.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The stream of `seed`; any value will do, zero included.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number, uniform over all of `u64`.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_equal_those_of_the_reference_program() {
        let mut random = SplitMix64::new(1_234_567);
        let first = [random.next_u64(), random.next_u64(), random.next_u64()];
        let reference = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(first, reference);
    }

    #[test]
    fn neighbouring_seeds_give_unrelated_numbers() {
        let differing =
            (SplitMix64::new(0).next_u64() ^ SplitMix64::new(1).next_u64()).count_ones();
        assert!(
            (16..=48).contains(&differing),
            "{differing} of 64 bits differ"
        );
    }
}
