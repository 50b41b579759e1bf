//! Vectors that were read from the state, kept for the next batches: the faces of rings and of popular pictures are compared
//! with again and again.
//!
//! Invariants:
//! - A vector never changes and its number is never used again, so what is kept is right for as long as the face is there.
//! - Only the desk has a cache, and empties it whenever faces go: what was erased from the disk does not stay in memory.

use half::f16;
use half::slice::HalfFloatSliceExt;
use quick_cache::sync::Cache;
use records::FaceOrdinal;
use store::{Reader, StoreError};

/// What an entry takes beside its numbers, in bytes.
const BESIDE: usize = 64;

/// Vectors by their faces' numbers, in the form in which the state has them.
pub struct VectorCache {
    vectors: Cache<u64, std::sync::Arc<[f16]>>,
}

impl VectorCache {
    /// For vectors of so many numbers, in this much memory.
    pub fn new(mib: usize, dimension: usize) -> Self {
        Self { vectors: Cache::new((mib << 20) / (dimension * size_of::<f16>() + BESIDE)) }
    }

    /// Writes the face's vector to `out`, from memory or from the state. If there is none, `out` stays as it was.
    ///
    /// # Errors
    /// If the state cannot be read.
    pub fn read(&self, reader: &Reader, face: FaceOrdinal, out: &mut [f32]) -> Result<(), StoreError> {
        match self.vectors.get(&face.0) {
            Some(vector) if vector.len() == out.len() => vector.convert_to_f32_slice(out),
            _ => {
                if reader.read_vector(face, out)? {
                    let mut vector = vec![f16::ZERO; out.len()];
                    // Exact, since that is what they were read from.
                    vector.convert_from_f32_slice(out);
                    self.vectors.insert(face.0, vector.into());
                }
            }
        }
        Ok(())
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.vectors.clear();
    }
}
