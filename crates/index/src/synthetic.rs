//! Synthetic embeddings with a stated spectrum, for benchmarks and tests.
//!
//! A vector is a Gaussian whose variance along axis `i` (from 0) of `d` is `exp(-i / (0.2275 d))`, normalised. At 512
//! dimensions the first 192, 256 and 320 axes hold .82, .90 and .95 of the energy, and about 230 axes would hold it if it
//! were spread evenly (participation ratio). Different vectors have cosines around 0 with a standard deviation of .066.
//! Every vector is an identity of its own: there is nothing to cluster, which is the hardest case for lists.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::exact::ExactVectors;
use crate::measure::at_cosine;

fn spread(dimension: usize) -> Vec<f32> {
    let decay = 0.2275 * dimension as f32;
    (0..dimension).map(|i| (-0.5 * i as f32 / decay).exp()).collect()
}

fn draw(spread: &[f32], rng: &mut ChaCha8Rng, out: &mut [f32]) {
    for (value, spread) in out.iter_mut().zip(spread) {
        let drawn: f32 = StandardNormal.sample(rng);
        *value = drawn * spread;
    }
    let norm = out.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    out.iter_mut().for_each(|v| *v /= norm);
}

/// A source of synthetic embeddings, one after the other.
#[derive(Debug)]
pub struct SyntheticFaces {
    dimension: usize,
    rng: ChaCha8Rng,
    spread: Vec<f32>,
}

impl SyntheticFaces {
    /// Embeddings of this dimension; the same seed gives the same ones.
    pub fn new(dimension: usize, seed: u64) -> Self {
        Self { dimension, rng: ChaCha8Rng::seed_from_u64(seed), spread: spread(dimension) }
    }

    fn one(&mut self, out: &mut Vec<f32>) {
        let start = out.len();
        out.resize(start + self.dimension, 0.0);
        draw(&self.spread, &mut self.rng, &mut out[start..]);
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

/// The same embeddings by number: each can be drawn on its own, so that millions need no memory.
#[derive(Debug)]
pub struct SyntheticSet {
    dimension: usize,
    seed: u64,
    spread: Vec<f32>,
}

impl SyntheticSet {
    /// Embeddings of this dimension; the same seed gives the same ones.
    pub fn new(dimension: usize, seed: u64) -> Self {
        Self { dimension, seed, spread: spread(dimension) }
    }
}

impl ExactVectors for SyntheticSet {
    fn vectors(
        &self,
        ordinals: &[u64],
        out: &mut Vec<f32>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        out.clear();
        out.resize(ordinals.len() * self.dimension, 0.0);
        out.par_chunks_exact_mut(self.dimension).zip(ordinals).for_each(|(row, ordinal)| {
            // One generator for all, each vector on a stream of its own.
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream(*ordinal);
            draw(&self.spread, &mut rng, row);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_gives_the_same_vectors() {
        let set = SyntheticSet::new(16, 3);
        let (mut all, mut some) = (Vec::new(), Vec::new());
        set.vectors(&[0, 1, 2, 3], &mut all).unwrap();
        set.vectors(&[3, 1], &mut some).unwrap();
        assert_eq!((&some[..16], &some[16..]), (&all[48..], &all[16..32]));
        assert_ne!(&all[..16], &all[16..32]);
        let norm: f32 = some[..16].iter().map(|v| v * v).sum();
        assert!((norm - 1.0).abs() < 1e-5);
    }
}
