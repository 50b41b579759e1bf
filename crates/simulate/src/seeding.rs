//! Everything random is drawn from generators seeded by what is drawn, so that one seed gives one population whatever
//! the number of threads and whatever else was drawn before.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Weyl constant of splitmix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of splitmix64: a bijection of 64 bits in which every bit of the input moves every bit of the output.
pub(crate) const fn scramble(value: u64) -> u64 {
    let mut z = value.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A seed made of two.
pub(crate) const fn mix(a: u64, b: u64) -> u64 {
    scramble(scramble(a) ^ b.wrapping_mul(GOLDEN).rotate_left(17))
}

/// The generator of a seed; ChaCha8, so that the numbers are the same on every machine and in every version.
pub(crate) fn generator(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}
