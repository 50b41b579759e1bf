//! Embeddings and the similarity between them.

use std::fmt;
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;

/// Why numbers are no embedding.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum VectorError {
    /// Fewer than 2 or more than 4,096 numbers.
    #[error("an embedding has 2 to 4096 dimensions, this one has {0}")]
    Dimension(usize),
    /// A NaN or an infinity.
    #[error("the embedding's value {0} is not a finite number")]
    NotFinite(usize),
    /// Length zero (or so close that normalising would only amplify noise).
    #[error("the embedding has no length")]
    Zero,
}

/// A face as a point on the unit sphere: `d` f32 of Euclidean length 1 (within 1e-5).
#[derive(Clone, PartialEq)]
pub struct Embedding(Arc<[f32]>);

impl Embedding {
    /// Normalises the numbers to unit length.
    ///
    /// # Errors
    /// [`VectorError`] if the dimension is out of range, a value is not finite, or all are zero.
    pub fn normalised(values: &[f32]) -> Result<Self, VectorError> {
        if !(2..=4096).contains(&values.len()) {
            return Err(VectorError::Dimension(values.len()));
        }
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(VectorError::NotFinite(at));
        }
        let norm = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        if norm < 1e-12 {
            return Err(VectorError::Zero);
        }
        Ok(Self(values.iter().map(|v| (f64::from(*v) / norm) as f32).collect()))
    }

    /// The coordinates.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// The coordinates as fp16, little-endian: the form that is stored, and that a face's key is computed from.
    pub fn to_fp16(&self) -> Vec<u8> {
        let mut halves = vec![f16::ZERO; self.0.len()];
        halves.convert_from_f32_slice(&self.0);
        halves.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    /// The number of coordinates.
    pub fn dimension(&self) -> usize {
        self.0.len()
    }

    /// The cosine of the angle to another embedding; `None` if the dimensions differ.
    pub fn cosine(&self, other: &Self) -> Option<Cosine> {
        (self.dimension() == other.dimension()).then(|| Cosine::of(self.as_slice(), other.as_slice()))
    }
}

impl fmt::Debug for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Embedding({}-d)", self.dimension())
    }
}

/// The cosine of the angle between two embeddings, in -1..=1.
#[derive(Clone, Copy, PartialEq)]
pub struct Cosine(f32);

impl Cosine {
    /// Clamps to -1..=1 (rounding may leave a dot product at 1.0000001); NaN becomes -1, the least similar.
    pub fn new(value: f32) -> Self {
        Self(if value.is_nan() { -1.0 } else { value.clamp(-1.0, 1.0) })
    }

    /// The dot product of two vectors of unit length, summed in f64 in a fixed order (eight partial sums, of every eighth
    /// value), so that it is the same everywhere.
    pub fn of(a: &[f32], b: &[f32]) -> Self {
        let product = |x: &f32, y: &f32| f64::from(*x) * f64::from(*y);
        let (a, rest_a) = a.as_chunks::<8>();
        let (b, rest_b) = b.as_chunks::<8>();
        let mut sums = [0.0f64; 8];
        for (a, b) in a.iter().zip(b) {
            for lane in 0..8 {
                sums[lane] += product(&a[lane], &b[lane]);
            }
        }
        let rest = rest_a.iter().zip(rest_b).map(|(x, y)| product(x, y));
        Self::new(sums.into_iter().chain(rest).sum::<f64>() as f32)
    }

    /// The number.
    pub const fn get(self) -> f32 {
        self.0
    }
}

impl Eq for Cosine {}

impl PartialOrd for Cosine {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cosine {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Debug for Cosine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.4}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn normalised_has_unit_length(values in prop::collection::vec(-1e6f32..1e6, 2..600)) {
            prop_assume!(values.iter().any(|v| v.abs() > 1e-3));
            let embedding = Embedding::normalised(&values).unwrap();
            let norm = embedding.as_slice().iter().map(|v| v * v).sum::<f32>().sqrt();
            prop_assert!((norm - 1.0).abs() < 1e-4);
            prop_assert!((embedding.cosine(&embedding).unwrap().get() - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn refuses_what_has_no_direction() {
        assert_eq!(Embedding::normalised(&[0.0; 4]), Err(VectorError::Zero));
        assert_eq!(Embedding::normalised(&[1.0, f32::NAN]), Err(VectorError::NotFinite(1)));
        assert_eq!(Embedding::normalised(&[1.0]), Err(VectorError::Dimension(1)));
    }

    #[test]
    fn debug_hides_the_numbers() {
        let embedding = Embedding::normalised(&[0.6, 0.8]).unwrap();
        assert_eq!(format!("{embedding:?}"), "Embedding(2-d)");
    }
}
