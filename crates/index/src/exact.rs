//! The vectors as the store keeps them, and what is compared with them.

use records::{Cosine, VectorError};

use crate::IndexError;

/// Where the exact vectors come from: the binary implements this over the store, training over a sample.
pub trait ExactVectors: Send + Sync {
    /// Replaces `out` by the vectors of `ordinals`, one after the other, each of the index's dimension. A vector that
    /// is no longer there is given as zeros and is left out of whatever is done with it.
    ///
    /// # Errors
    /// Whatever keeps the store from reading.
    fn vectors(
        &self,
        ordinals: &[u64],
        out: &mut Vec<f32>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// Vectors in memory; the ordinal is the row.
pub struct MemoryVectors {
    dimension: usize,
    values: Vec<f32>,
}

impl MemoryVectors {
    /// Takes rows of `dimension` values; an incomplete last row is dropped.
    pub fn new(dimension: usize, mut values: Vec<f32>) -> Self {
        values.truncate(values.len() / dimension.max(1) * dimension);
        Self { dimension, values }
    }

    /// One row, zeros if there is none.
    fn row(&self, ordinal: u64) -> Option<&[f32]> {
        let at = usize::try_from(ordinal).ok()?.checked_mul(self.dimension)?;
        self.values.get(at..at.checked_add(self.dimension)?)
    }

    /// All rows.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.dimension.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl ExactVectors for MemoryVectors {
    fn vectors(
        &self,
        ordinals: &[u64],
        out: &mut Vec<f32>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        out.clear();
        for ordinal in ordinals {
            match self.row(*ordinal) {
                Some(row) => out.extend_from_slice(row),
                None => out.resize(out.len() + self.dimension, 0.0),
            }
        }
        Ok(())
    }
}

/// Reads vectors and checks that as many came as were asked for.
pub(crate) fn read_exact(
    exact: &dyn ExactVectors,
    dimension: usize,
    ordinals: &[u64],
    out: &mut Vec<f32>,
) -> Result<(), IndexError> {
    exact.vectors(ordinals, out).map_err(IndexError::Exact)?;
    if out.len() == ordinals.len() * dimension {
        Ok(())
    } else {
        Err(IndexError::WrongDimension { expected: ordinals.len() * dimension, found: out.len() })
    }
}

/// Removes the rows that are all zero (vectors that are no longer there) and gives the ordinals that were removed.
pub(crate) fn drop_missing(dimension: usize, ordinals: &mut Vec<u64>, vectors: &mut Vec<f32>) -> Vec<u64> {
    let mut missing = Vec::new();
    let mut kept = 0;
    for row in 0..ordinals.len() {
        let range = row * dimension..(row + 1) * dimension;
        if vectors[range.clone()].iter().all(|value| *value == 0.0) {
            missing.push(ordinals[row]);
        } else {
            ordinals[kept] = ordinals[row];
            vectors.copy_within(range, kept * dimension);
            kept += 1;
        }
    }
    ordinals.truncate(kept);
    vectors.truncate(kept * dimension);
    missing
}

/// How far from 1 the length of a vector may be: fp16 rounding moves it by less than 0.001.
const NORM_TOLERANCE: f32 = 0.01;

/// Refuses a batch that FAISS must never see.
pub(crate) fn check_vectors(dimension: usize, vectors: &[f32]) -> Result<usize, IndexError> {
    if !vectors.len().is_multiple_of(dimension) {
        return Err(IndexError::WrongDimension { expected: dimension, found: vectors.len() });
    }
    for (row, vector) in vectors.chunks_exact(dimension).enumerate() {
        check_vector(row, vector)?;
    }
    Ok(vectors.len() / dimension)
}

/// Refuses a single vector that FAISS must never see.
pub(crate) fn check_vector(row: usize, vector: &[f32]) -> Result<(), IndexError> {
    let squared: f32 = vector.iter().map(|value| value * value).sum();
    let norm = squared.sqrt();
    // A NaN or an infinity anywhere makes the sum one too, so the values need no second look.
    if (norm - 1.0).abs() <= NORM_TOLERANCE {
        return Ok(());
    }
    let source = match vector.iter().position(|value| !value.is_finite()) {
        Some(at) => VectorError::NotFinite(at),
        None if norm < 1e-12 => VectorError::Zero,
        None => return Err(IndexError::NotUnitLength { row, norm }),
    };
    Err(IndexError::InvalidVector { row, source })
}

/// From which cosine on stored faces are looked for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Reach {
    /// The least cosine of what is found.
    pub from: f32,
    /// From here on nothing is missed in the lists that are visited. Below, an index of codes finds what its estimates put
    /// at `from` or above, which is the half of what lies right there.
    pub surely: f32,
}

impl From<f32> for Reach {
    /// Nothing is missed.
    fn from(threshold: f32) -> Self {
        Self { from: threshold, surely: threshold }
    }
}

impl Reach {
    /// From which estimate on candidates are taken, if estimates may be off by `margin`.
    pub(crate) fn candidates(&self, margin: f32) -> f32 {
        (self.surely - margin).min(self.from)
    }
}

/// A stored face near a query, with the exact cosine.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Neighbour {
    /// The stored face.
    pub ordinal: u64,
    /// Exact cosine of query and stored vector.
    pub cosine: Cosine,
}

/// Nearest first; equal ones in the order of their ordinals, so that the result does not depend on segments.
pub(crate) fn sort_neighbours(neighbours: &mut Vec<Neighbour>) {
    neighbours.sort_unstable_by(|a, b| b.cosine.cmp(&a.cosine).then(a.ordinal.cmp(&b.ordinal)));
    neighbours.dedup_by_key(|neighbour| neighbour.ordinal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_vectors_are_named_by_row() {
        let good = [1.0, 0.0];
        let check = |bad: [f32; 2]| check_vectors(2, &[good, bad].concat());
        assert_eq!(check(good).unwrap(), 2);
        assert!(matches!(
            check([f32::NAN, 0.0]),
            Err(IndexError::InvalidVector { row: 1, source: VectorError::NotFinite(0) })
        ));
        assert!(matches!(
            check([0.0, f32::INFINITY]),
            Err(IndexError::InvalidVector { row: 1, source: VectorError::NotFinite(1) })
        ));
        assert!(matches!(
            check([0.0; 2]),
            Err(IndexError::InvalidVector { row: 1, source: VectorError::Zero })
        ));
        assert!(matches!(check([3.0, 4.0]), Err(IndexError::NotUnitLength { row: 1, .. })));
        assert!(matches!(
            check_vectors(2, &[1.0; 3]),
            Err(IndexError::WrongDimension { expected: 2, found: 3 })
        ));
    }

    #[test]
    fn missing_vectors_are_taken_out() {
        let (mut ordinals, mut vectors) = (vec![4, 5, 6], vec![1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(drop_missing(2, &mut ordinals, &mut vectors), [5]);
        assert_eq!((ordinals, vectors), (vec![4, 6], vec![1.0, 0.0, 0.0, 1.0]));
    }
}
