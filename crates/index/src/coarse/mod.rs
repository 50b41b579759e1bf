//! Which lists a vector belongs to: the bottleneck of adding and searching at large list counts.

mod compare;
mod graph;
mod onnx;

pub use compare::{CoarseComparison, compare_assigners, compare_model, compare_on, half_precision_agreement};
pub(crate) use onnx::dot;
pub use onnx::{OnnxAssigner, WORTHWHILE_LISTS};

use std::sync::Arc;

use crate::IndexError;
use crate::native::Native;

/// List numbers and scores, `k` a vector, best first.
pub type BestLists = (Vec<i64>, Vec<f32>);

/// Finds the best lists of vectors.
pub trait CoarseAssigner: Send + Sync {
    /// The `k` best lists of each vector (row-major, in the dimension of the lists) with their scores, best first; -1
    /// pads.
    ///
    /// # Errors
    /// [`IndexError`] if the search fails.
    fn best_lists(&self, vectors: &[f32], k: usize) -> Result<BestLists, IndexError>;

    /// Shown by `info`.
    fn name(&self) -> &'static str;
}

/// The quantizer of the FAISS index itself: exact search over the centroids, or HNSW where the factory says so.
pub(crate) struct FaissAssigner(Arc<Native>);

impl FaissAssigner {
    /// Uses the quantizer of a trained index.
    pub(crate) fn new(index: Arc<Native>) -> Self {
        Self(index)
    }
}

impl CoarseAssigner for FaissAssigner {
    fn best_lists(&self, vectors: &[f32], k: usize) -> Result<BestLists, IndexError> {
        self.0.coarse(vectors, k)
    }

    fn name(&self) -> &'static str {
        "faiss"
    }
}
