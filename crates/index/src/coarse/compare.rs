//! Flat search over the centroids against the 8-bit graph, in one run on the same queries.

use std::sync::Arc;
use std::time::Instant;

use inference::Runtime;
use serde::Serialize;

use super::{CoarseAssigner, FaissAssigner, Int8Assigner};
use crate::native::{Native, blas, set_threads};
use crate::{IndexError, Metric, SyntheticFaces};

/// Both ways to assign, measured.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CoarseComparison {
    /// Centroids.
    pub lists: usize,
    /// Dimension.
    pub dim: usize,
    /// BLAS that the flat search used.
    pub blas: Option<String>,
    /// Vectors a second of FAISS's flat search, best of the rounds.
    pub flat_per_s: f64,
    /// Vectors a second of the graph with its exact second look, best of the rounds.
    pub int8_per_s: f64,
    /// Greatest ratio of the two within one round (both slow down alike on a busy machine).
    pub ratio: f64,
    /// Share of vectors of unseen identities that get the same list.
    pub agreement_new: f64,
    /// The same for vectors near a centroid (cosine .7).
    pub agreement_near: f64,
    /// Share of the 64 nearest lists of a new identity that the graph finds.
    pub probe_recall: f64,
    /// Seconds to build the graph.
    pub build_s: f64,
}

/// Compares them on synthetic centroids and queries ([`SyntheticFaces`] states their spectrum): half of the queries at
/// cosine .7 to a centroid, half of them new.
///
/// # Errors
/// [`IndexError::Coarse`] if ONNX Runtime cannot run the graph.
pub fn compare_assigners(
    runtime: &Runtime,
    lists: usize,
    dim: usize,
    queries: usize,
    threads: usize,
) -> Result<CoarseComparison, IndexError> {
    set_threads(threads);
    let mut faces = SyntheticFaces::new(dim, 1);
    let mut index = Native::from_factory(&format!("IVF{lists},Flat"), dim, Metric::Ip)?;
    let centroids = faces.vectors(lists);
    index.set_centroids(&centroids)?;
    let half = queries / 2;
    let mut vectors = faces.vectors(half);
    let step = (lists / half.max(1)).max(1);
    for centroid in centroids.chunks_exact(dim).step_by(step).take(half) {
        vectors.extend(faces.near(centroid, 0.7));
    }
    drop(centroids);
    let index = Arc::new(index);
    let start = Instant::now();
    let int8 = Int8Assigner::new(index.clone(), runtime)?;
    let build_s = start.elapsed().as_secs_f64();
    let flat = FaissAssigner::new(index);
    let rate = |assigner: &dyn CoarseAssigner| {
        let start = Instant::now();
        let found = assigner.best_lists(&vectors, 1)?;
        Ok::<_, IndexError>((found.0, 2.0 * half as f64 / start.elapsed().as_secs_f64()))
    };
    let (mut flat_per_s, mut int8_per_s, mut ratio) = (0f64, 0f64, 0f64);
    let (mut truth, mut fast) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (flat_lists, flat_rate) = rate(&flat)?;
        let (fast_lists, fast_rate) = rate(&int8)?;
        (truth, fast) = (flat_lists, fast_lists);
        flat_per_s = flat_per_s.max(flat_rate);
        int8_per_s = int8_per_s.max(fast_rate);
        ratio = ratio.max(fast_rate / flat_rate);
    }
    let agreement = |range: std::ops::Range<usize>| {
        let same = range.clone().filter(|at| truth.get(*at) == fast.get(*at)).count();
        same as f64 / range.len().max(1) as f64
    };
    let probed = &vectors[..half.min(256) * dim];
    let k = 64.min(lists);
    let (expected, _) = flat.best_lists(probed, k)?;
    let (found, _) = int8.best_lists(probed, k)?;
    let hits = expected.chunks_exact(k).zip(found.chunks_exact(k));
    let shared: usize = hits.map(|(e, f)| e.iter().filter(|list| f.contains(list)).count()).sum();
    Ok(CoarseComparison {
        lists,
        dim,
        blas: blas(),
        flat_per_s,
        int8_per_s,
        ratio,
        agreement_new: agreement(0..half),
        agreement_near: agreement(half..2 * half),
        probe_recall: shared as f64 / expected.len().max(1) as f64,
        build_s,
    })
}
