//! Coarse assignment in ONNX Runtime with an exact second look: 8-bit centroids on a processor, half precision on a GPU.
//!
//! The graph (`graph.rs`) gives more candidates than asked for; their exact f32 inner products with the query decide. So
//! the lists found, and the files made with them, do not depend on where the graph ran.
//!
//! Measured at 262,144 lists of 512 dimensions on two busy cores: 4.8 times the vectors a second of flat search with
//! AVX-512 kernels in the same run, and the same list for .992 of new identities ([`super::compare_assigners`]).

use std::sync::Arc;

use inference::{Runtime, Session, TensorView};
use rayon::prelude::*;

use super::graph::{CHUNK, HALF_CHUNK, half_graph, int8_graph};
use super::{BestLists, CoarseAssigner};
use crate::IndexError;
use crate::native::{Native, directions, project};

/// From this many lists on the graph is faster than FAISS's flat search by more than it costs to build.
pub const WORTHWHILE_LISTS: usize = 16_384;
/// Dimensions kept by the projection: the smallest of these that holds enough energy, otherwise all.
const WIDTHS: [usize; 2] = [256, 384];
/// Share of the centroids' squared length that the projection must keep, so that the order of inner products survives.
const ENERGY: f32 = 0.89;
/// Queries run together on a processor.
const BATCH: usize = 256;
/// And on a GPU: the scores of a chunk of centroids take 256 MB there.
const GPU_BATCH: usize = 4096;
/// Centroids that the projection is fitted on.
const PROJECTION_SAMPLE: usize = 32_768;
/// Candidates beyond those asked for, for the exact second look.
const SPARE: usize = 15;

/// Assigns by rough inner products and re-checks the best in f32. Inner product only.
pub struct OnnxAssigner {
    session: Session,
    name: &'static str,
    /// Parts that the graph divides the centroids into.
    chunks: usize,
    batch: usize,
    /// Holds the exact centroids.
    index: Arc<Native>,
    dimension: usize,
    lists: usize,
}

impl OnnxAssigner {
    /// Builds the graph that fits the runtime's first provider, for the centroids of an index with an exact quantizer.
    ///
    /// # Errors
    /// [`IndexError::Coarse`] if the quantizer is no exact one or ONNX Runtime refuses the graph.
    pub(crate) fn new(index: Arc<Native>, runtime: &Runtime) -> Result<Self, IndexError> {
        if runtime.prefers_gpu() { Self::half(index, runtime) } else { Self::int8(index, runtime) }
    }

    /// In half precision, for a GPU.
    ///
    /// # Errors
    /// As [`OnnxAssigner::new`].
    pub(crate) fn half(index: Arc<Native>, runtime: &Runtime) -> Result<Self, IndexError> {
        let shape = index.shape();
        let (dimension, lists) = (shape.lists_dimension as usize, shape.lists as usize);
        let centroids = index.flat_centroids();
        if centroids.is_empty() {
            return Err(IndexError::Coarse("assignment by graph needs an exact quantizer".into()));
        }
        let graph = half_graph(centroids, dimension);
        let session = runtime
            .session_from_bytes("coarse assignment", &graph)
            .map_err(|error| IndexError::Coarse(error.to_string()))?;
        let name = if session.provider().is_gpu() { "onnx fp16 on the GPU" } else { "onnx fp16" };
        let chunks = lists.div_ceil(HALF_CHUNK);
        Ok(Self { session, name, chunks, batch: GPU_BATCH, index, dimension, lists })
    }

    /// In 8 bits, for a processor.
    ///
    /// # Errors
    /// As [`OnnxAssigner::new`].
    pub(crate) fn int8(index: Arc<Native>, runtime: &Runtime) -> Result<Self, IndexError> {
        let shape = index.shape();
        let (dimension, lists) = (shape.lists_dimension as usize, shape.lists as usize);
        let centroids = index.flat_centroids();
        if centroids.is_empty() || lists < dimension {
            return Err(IndexError::Coarse(
                "8-bit assignment needs an exact quantizer with enough lists".into(),
            ));
        }
        // Evenly spread rows: centroids that are neighbours by number are often neighbours in space.
        let step = (lists / PROJECTION_SAMPLE).max(1);
        let sample: Vec<f32> = centroids.chunks_exact(dimension).step_by(step).flatten().copied().collect();
        let (directions, width) = projection(dimension, &sample)?;
        let projected = project(dimension, &directions, centroids)?;
        let graph = int8_graph(&directions, dimension, &projected, width);
        drop(projected);
        let session = runtime
            .session_from_bytes("coarse assignment", &graph)
            .map_err(|error| IndexError::Coarse(error.to_string()))?;
        let chunks = lists.div_ceil(CHUNK);
        Ok(Self { session, name: "onnx", chunks, batch: BATCH, index, dimension, lists })
    }

    fn candidates(&self, vectors: &[f32], k: usize) -> Result<(Vec<i64>, usize), IndexError> {
        let rows = vectors.len() / self.dimension;
        let chunks = self.chunks;
        let wanted = (k + SPARE + k / 2).min(self.lists);
        // The best lists fall into chunks like balls into bins: for the best one a few candidates of each chunk do, for
        // many four times the mean and two more leave few out.
        let smallest = self.lists / chunks;
        let chunk_k =
            if k == 1 { (2 * wanted).div_ceil(chunks) } else { 4 * wanted / chunks + 2 }.min(smallest);
        let wanted = wanted.min(chunk_k * chunks);
        let (shape, one) = ([rows, self.dimension], [1]);
        let (chunk_k, result_k) = ([chunk_k as i64], [wanted as i64]);
        let inputs = [
            TensorView::f32(&shape, vectors),
            TensorView::i64(&one, &chunk_k),
            TensorView::i64(&one, &result_k),
        ];
        let output = self.session.run(&inputs).map_err(|error| IndexError::Coarse(error.to_string()))?;
        let lists =
            output.first().and_then(|tensor| tensor.as_i64()).map(<[i64]>::to_vec).unwrap_or_default();
        let valid = lists.len() == rows * wanted && lists.iter().all(|l| (0..self.lists as i64).contains(l));
        if valid {
            Ok((lists, wanted))
        } else {
            Err(IndexError::Coarse("the graph gave lists that do not exist".into()))
        }
    }
}

impl CoarseAssigner for OnnxAssigner {
    fn best_lists(&self, vectors: &[f32], k: usize) -> Result<BestLists, IndexError> {
        let d = self.dimension;
        let k = k.min(self.lists).max(1);
        let centroids = self.index.flat_centroids();
        let (mut all_lists, mut all_scores) = (Vec::new(), Vec::new());
        for vectors in vectors.chunks(self.batch * d) {
            let (candidates, wanted) = self.candidates(vectors, k)?;
            let best: Vec<Vec<(f32, i64)>> = candidates
                .par_chunks_exact(wanted)
                .zip(vectors.par_chunks_exact(d))
                .map(|(candidates, vector)| {
                    let mut scored: Vec<(f32, i64)> = candidates
                        .iter()
                        .map(|list| {
                            let at = *list as usize * d;
                            (dot(vector, &centroids[at..at + d]), *list)
                        })
                        .collect();
                    scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                    scored.resize(k, (f32::MIN, -1));
                    scored
                })
                .collect();
            for (score, list) in best.into_iter().flatten() {
                all_lists.push(list);
                all_scores.push(score);
            }
        }
        Ok((all_lists, all_scores))
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

/// Directions (rows of `dimension` values) and their number.
fn projection(dimension: usize, sample: &[f32]) -> Result<(Vec<f32>, usize), IndexError> {
    let whole: f32 = sample.iter().map(|value| value * value).sum();
    for width in WIDTHS.into_iter().filter(|width| *width < dimension) {
        let found = directions(dimension, width, sample)?;
        let kept: f32 = sample
            .par_chunks_exact(dimension)
            .map(|row| {
                found.chunks_exact(dimension).map(|direction| dot(row, direction).powi(2)).sum::<f32>()
            })
            .sum();
        if kept >= ENERGY * whole {
            return Ok((found, width));
        }
    }
    Ok((directions(dimension, dimension, sample)?, dimension))
}

/// Inner product in sixteen partial sums, which the compiler turns into vector instructions.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (a, rest_a) = a.as_chunks::<16>();
    let (b, rest_b) = b.as_chunks::<16>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..16 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f32>()
}
