//! A stream of random draws that gives the same values on every machine and in every release of `rand`.
//!
//! Invariant: only the raw words of ChaCha8 are used, and they are turned into numbers here, so a seed
//! names the same picture for as long as this file stays as it is.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Random draws from a seed; streams of one seed with different purposes are independent.
pub(crate) struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of `seed` for one `purpose`.
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(purpose);
        Self(generator)
    }

    /// Any 64-bit word, for instance as the seed of something else.
    pub(crate) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0.0..1.0`, with 24 bits.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / 16_777_216.0
    }

    /// Uniform in `low..high`.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Roughly normal with mean 0 and standard deviation 1, never beyond 3.5 (sum of four uniforms).
    pub(crate) fn bell(&mut self) -> f32 {
        let sum = self.unit() + self.unit() + self.unit() + self.unit();
        (sum - 2.0) * 1.732_050_8
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Uniform in `0..count`; 0 for a count of 0.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((self.unit() * count as f32) as usize).min(count.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_reproducible_and_in_range() {
        let draw = |purpose| {
            let mut stream = Stream::new(7, purpose);
            (0..1000).map(|_| stream.unit()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let values = draw(3);
        assert!(values.iter().all(|value| (0.0..1.0).contains(value)));
        let mean = values.iter().sum::<f32>() / 1000.0;
        assert!((mean - 0.5).abs() < 0.05, "mean of uniform draws {mean}");
        let mut stream = Stream::new(7, 4);
        let bell: Vec<f32> = (0..4000).map(|_| stream.bell()).collect();
        let variance = bell.iter().map(|value| value * value).sum::<f32>() / 4000.0;
        assert!((variance - 1.0).abs() < 0.1, "variance of bell draws {variance}");
        assert!((0..1000).all(|_| stream.below(5) < 5) && stream.below(0) == 0);
    }
}
