//! Synthetic embeddings with a stated spectrum, for benchmarks and tests.
//!
//! A vector is a Gaussian whose variance along axis `i` (from 0) of `d` is `exp(-i / (0.2275 d))`, normalised. At 512
//! dimensions the first 192, 256 and 320 axes hold .82, .90 and .95 of the energy, and about 230 axes would hold it if it
//! were spread evenly (participation ratio). Different vectors have cosines around 0 with a standard deviation of .066.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::measure::at_cosine;

/// A source of synthetic embeddings.
#[derive(Debug)]
pub struct SyntheticFaces {
    dimension: usize,
    rng: ChaCha8Rng,
    spread: Vec<f32>,
}

impl SyntheticFaces {
    /// Embeddings of this dimension; the same seed gives the same ones.
    pub fn new(dimension: usize, seed: u64) -> Self {
        let decay = 0.2275 * dimension as f32;
        let spread = (0..dimension).map(|i| (-0.5 * i as f32 / decay).exp()).collect();
        Self { dimension, rng: ChaCha8Rng::seed_from_u64(seed), spread }
    }

    fn one(&mut self, out: &mut Vec<f32>) {
        let start = out.len();
        out.extend(self.spread.iter().map(|spread| {
            let value: f32 = StandardNormal.sample(&mut self.rng);
            value * spread
        }));
        let norm = out[start..].iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        out[start..].iter_mut().for_each(|v| *v /= norm);
    }

    /// `count` vectors, one after the other.
    pub fn vectors(&mut self, count: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(count * self.dimension);
        (0..count).for_each(|_| self.one(&mut out));
        out
    }

    /// A vector at this cosine to `vector`, in a random direction of the same spectrum.
    pub fn near(&mut self, vector: &[f32], cosine: f32) -> Vec<f32> {
        let mut towards = Vec::new();
        loop {
            towards.clear();
            self.one(&mut towards);
            if let Some(query) = at_cosine(vector, &towards, cosine) {
                return query;
            }
        }
    }
}
