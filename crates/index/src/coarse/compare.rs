//! Flat search over the centroids against the graph, in one run on the same queries.

use std::sync::Arc;
use std::time::Instant;

use inference::Runtime;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::Serialize;

use super::{CoarseAssigner, FaissAssigner, OnnxAssigner};
use crate::exact::{MemoryVectors, check_vectors};
use crate::measure::{at_cosine, list_recall};
use crate::model::{Model, RecallPoint};
use crate::native::{Native, blas, set_threads};
use crate::{IndexError, Metric, SyntheticFaces};

/// Rounds of which the best counts.
const ROUNDS: usize = 3;
/// Cosine of a query near a centroid.
const NEAR: f32 = 0.7;
/// Queries whose many best lists are compared.
const PROBED: usize = 256;

/// Both ways to assign, measured.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CoarseComparison {
    /// Centroids.
    pub lists: usize,
    /// Dimension.
    pub dim: usize,
    /// What runs the graph.
    pub assigner: &'static str,
    /// BLAS that the flat search used.
    pub blas: Option<String>,
    /// Axes that would hold the energy of the queries if it were spread evenly (participation ratio).
    pub spread_over: f64,
    /// Vectors a second of FAISS's flat search, best of the rounds.
    pub flat_per_s: f64,
    /// Vectors a second of the graph with its exact second look, best of the rounds.
    pub graph_per_s: f64,
    /// Greatest ratio of the two within one round (both slow down alike on a busy machine).
    pub ratio: f64,
    /// Least ratio of the two within one round.
    pub least_ratio: f64,
    /// Queries of identities that were not in the training.
    pub new: usize,
    /// Share of them that get the same list.
    pub agreement_new: f64,
    /// The same for vectors near a centroid (cosine .7).
    pub agreement_near: f64,
    /// Share of the 64 nearest lists of a new identity that the graph finds.
    pub probe_recall: f64,
    /// Share of new identities whose list is among the best of a copy, by cosine and nprobe.
    pub card: Vec<RecallPoint>,
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
    let centroids = faces.vectors(lists);
    let new = faces.vectors(queries / 2);
    compare(with_centroids(dim, lists, &centroids)?, runtime, &new)
}

/// Compares them on given embeddings (row-major, of unit length) as new identities, among centroids that are drawn with
/// the mean and covariance of those embeddings.
///
/// # Errors
/// As [`compare_assigners`]; [`IndexError::TooFewToTrain`] with fewer than two embeddings.
pub fn compare_on(
    runtime: &Runtime,
    lists: usize,
    dim: usize,
    embeddings: &[f32],
    threads: usize,
) -> Result<CoarseComparison, IndexError> {
    set_threads(threads);
    let rows = check_vectors(dim, embeddings)?;
    if rows < 2 {
        return Err(IndexError::TooFewToTrain { factory: format!("IVF{lists}"), needed: 2, found: rows });
    }
    let mut mean = vec![0.0f32; dim];
    embeddings.chunks_exact(dim).for_each(|row| mean.iter_mut().zip(row).for_each(|(m, v)| *m += v));
    mean.iter_mut().for_each(|value| *value /= rows as f32);
    // A random combination of the centred embeddings has their covariance.
    let mut centroids = vec![0.0f32; lists * dim];
    centroids.par_chunks_exact_mut(dim).enumerate().for_each(|(at, centroid)| {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        rng.set_stream(at as u64);
        centroid.copy_from_slice(&mean);
        for row in embeddings.chunks_exact(dim) {
            let drawn: f32 = StandardNormal.sample(&mut rng);
            let weight = drawn / (rows as f32).sqrt();
            centroid.iter_mut().zip(row).zip(&mean).for_each(|((c, v), m)| *c += weight * (v - m));
        }
        let norm = centroid.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        centroid.iter_mut().for_each(|value| *value /= norm);
    });
    compare(with_centroids(dim, lists, &centroids)?, runtime, embeddings)
}

/// Compares them on a trained model, for vectors that it was not trained on.
///
/// # Errors
/// As [`compare_assigners`].
pub fn compare_model(
    model: &Model,
    runtime: &Runtime,
    vectors: &[f32],
) -> Result<CoarseComparison, IndexError> {
    compare(model.native.clone(), runtime, &model.native.transformed(vectors)?)
}

/// The share of queries for which the form for GPUs finds the same list as exact search.
///
/// # Errors
/// As [`compare_assigners`].
pub fn half_precision_agreement(
    runtime: &Runtime,
    dim: usize,
    centroids: &[f32],
    queries: &[f32],
) -> Result<f64, IndexError> {
    let index = with_centroids(dim, centroids.len() / dim, centroids)?;
    let found = OnnxAssigner::half(index.clone(), runtime)?.best_lists(queries, 1)?.0;
    let exact = FaissAssigner::new(index).best_lists(queries, 1)?.0;
    let same = found.iter().zip(&exact).filter(|(a, b)| a == b).count();
    Ok(same as f64 / exact.len().max(1) as f64)
}

fn with_centroids(dim: usize, lists: usize, centroids: &[f32]) -> Result<Arc<Native>, IndexError> {
    let mut index = Native::from_factory(&format!("IVF{lists},Flat"), dim, Metric::Ip)?;
    index.set_centroids(centroids)?;
    Ok(Arc::new(index))
}

fn compare(index: Arc<Native>, runtime: &Runtime, new: &[f32]) -> Result<CoarseComparison, IndexError> {
    let shape = index.shape();
    let (lists, dim) = (shape.lists as usize, shape.lists_dimension as usize);
    let count = new.len() / dim;
    let mut vectors = new.to_vec();
    let centroids = index.flat_centroids();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let towards = |rng: &mut ChaCha8Rng| rng.random_range(0..count.max(1)) * dim;
    let step = (lists / count.max(1)).max(1);
    for centroid in centroids.chunks_exact(dim).step_by(step).take(count) {
        let norm = centroid.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        let centroid: Vec<f32> = centroid.iter().map(|value| value / norm).collect();
        let at = towards(&mut rng);
        vectors.extend(at_cosine(&centroid, &new[at..at + dim], NEAR).unwrap_or(centroid));
    }
    let start = Instant::now();
    let graph = OnnxAssigner::new(index.clone(), runtime)?;
    let build_s = start.elapsed().as_secs_f64();
    let flat = FaissAssigner::new(index);
    let rate = |assigner: &dyn CoarseAssigner| {
        let start = Instant::now();
        let found = assigner.best_lists(&vectors, 1)?;
        Ok::<_, IndexError>((found.0, (vectors.len() / dim) as f64 / start.elapsed().as_secs_f64()))
    };
    let (mut flat_per_s, mut graph_per_s) = (0f64, 0f64);
    let (mut ratio, mut least_ratio) = (0f64, f64::INFINITY);
    let (mut truth, mut fast) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (flat_lists, flat_rate) = rate(&flat)?;
        let (fast_lists, fast_rate) = rate(&graph)?;
        (truth, fast) = (flat_lists, fast_lists);
        flat_per_s = flat_per_s.max(flat_rate);
        graph_per_s = graph_per_s.max(fast_rate);
        ratio = ratio.max(fast_rate / flat_rate);
        least_ratio = least_ratio.min(fast_rate / flat_rate);
    }
    let agreement = |range: std::ops::Range<usize>| {
        let same = range.clone().filter(|at| truth.get(*at) == fast.get(*at)).count();
        same as f64 / range.len().max(1) as f64
    };
    let probed = &new[..count.min(PROBED) * dim];
    let k = 64.min(lists);
    let (expected, _) = flat.best_lists(probed, k)?;
    let (found, _) = graph.best_lists(probed, k)?;
    let hits = expected.chunks_exact(k).zip(found.chunks_exact(k));
    let shared: usize = hits.map(|(e, f)| e.iter().filter(|list| f.contains(list)).count()).sum();
    let held_out = MemoryVectors::new(dim, new.to_vec());
    Ok(CoarseComparison {
        lists,
        dim,
        assigner: graph.name(),
        blas: blas(),
        spread_over: participation(new, dim),
        flat_per_s,
        graph_per_s,
        ratio,
        least_ratio,
        new: count,
        agreement_new: agreement(0..count),
        agreement_near: agreement(count..vectors.len() / dim),
        probe_recall: shared as f64 / expected.len().max(1) as f64,
        card: list_recall(&|vectors, k| graph.best_lists(vectors, k), lists, dim, &held_out, 1)?,
        build_s,
    })
}

/// The participation ratio of the second moments: `trace(C)^2 / trace(C^2)`.
fn participation(rows: &[f32], dim: usize) -> f64 {
    let mut second = vec![0f64; dim * dim];
    second.par_chunks_exact_mut(dim).enumerate().for_each(|(axis, sums)| {
        for row in rows.chunks_exact(dim) {
            let value = f64::from(row[axis]);
            sums.iter_mut().zip(row).for_each(|(sum, other)| *sum += value * f64::from(*other));
        }
    });
    let trace: f64 = (0..dim).map(|axis| second[axis * dim + axis]).sum();
    let squares: f64 = second.iter().map(|value| value * value).sum();
    if squares > 0.0 { trace * trace / squares } else { 0.0 }
}
