//! The space embeddings live in: how far apart different people are.
//!
//! Real embedding spaces do not use all their dimensions evenly. Random directions here have variances that fall off
//! exponentially over the axes, so that cosines between different people scatter like those of the network: for the
//! 128-d MobileFaceNet false-match rates of 1.7e-3 at .35, 3.8e-4 at .40 and 6.6e-5 at .45, as measured on 45,156 pairs
//! of real portraits. An orthogonal transform then spreads every axis over all coordinates, as in real embeddings, so
//! that product quantisation meets no artefact.

use rand::RngExt;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use crate::seeding::{generator, mix};

/// Which network's embeddings are imitated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// 128 dimensions, like the MobileFaceNet that was measured.
    #[default]
    MobileFaceNet128,
    /// 512 dimensions, like the ArcFace ResNet-50 packs: different people are further apart (a standard deviation of
    /// about .07 where the smaller network has .12).
    ArcFace512,
}

impl Space {
    /// Numbers in an embedding; a power of two.
    pub const fn dimension(self) -> usize {
        match self {
            Self::MobileFaceNet128 => 128,
            Self::ArcFace512 => 512,
        }
    }

    /// How fast the variances fall off: the last axis has exp(-decay) of the first one's.
    const fn decay(self) -> f32 {
        match self {
            Self::MobileFaceNet128 => 3.8,
            Self::ArcFace512 => 4.8,
        }
    }
}

/// Direction of unit length that follows from a seed, before the orthogonal transform.
pub(super) fn direction(space: Space, seed: u64) -> Vec<f32> {
    let mut rng = generator(seed);
    let step = (-space.decay() / (2.0 * space.dimension() as f32)).exp();
    let mut scale = 1.0;
    let mut values: Vec<f32> = (0..space.dimension())
        .map(|_| {
            let value: f32 = rng.sample(StandardNormal);
            scale *= step;
            value * scale
        })
        .collect();
    normalise(&mut values);
    values
}

/// `cosine` of the one and as much of the other as keeps the length, normalised: the result has about that cosine to
/// `one`, the two being nearly orthogonal.
pub(super) fn blend(one: &mut [f32], cosine: f32, other: &[f32]) {
    let rest = (1.0 - cosine * cosine).max(0.0).sqrt();
    for (a, b) in one.iter_mut().zip(other) {
        *a = cosine * *a + rest * b;
    }
    normalise(one);
}

/// As [`blend`], but what is taken of the other is made orthogonal first, so that the cosine is exact.
pub(super) fn turn(one: &mut [f32], cosine: f32, mut other: Vec<f32>) {
    let along: f32 = one.iter().zip(&other).map(|(a, b)| a * b).sum();
    for (b, a) in other.iter_mut().zip(one.iter()) {
        *b -= along * a;
    }
    normalise(&mut other);
    blend(one, cosine, &other);
}

fn normalise(values: &mut [f32]) {
    let norm = values.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    values.iter_mut().for_each(|v| *v /= norm);
}

/// The orthogonal transform: twice random signs and a Walsh-Hadamard transform. Keeps all cosines.
pub(super) fn spread(values: &mut [f32]) {
    let scale = (values.len() as f32).sqrt().recip();
    for round in 0..2 {
        for (word, chunk) in values.chunks_mut(64).enumerate() {
            let signs = mix(0x5167_6e73, round * 64 + word as u64);
            for (bit, value) in chunk.iter_mut().enumerate() {
                if signs >> bit & 1 == 1 {
                    *value = -*value;
                }
            }
        }
        let mut half = 1;
        while half < values.len() {
            for pair in values.chunks_exact_mut(half * 2) {
                let (low, high) = pair.split_at_mut(half);
                for (a, b) in low.iter_mut().zip(high) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
            half *= 2;
        }
        values.iter_mut().for_each(|v| *v *= scale);
    }
}
