//! What a trained model is worth: how raw scores translate into cosines, and how many lists must be visited.
//!
//! Both are measured with queries made from held-out vectors: `q = c * x + sqrt(1 - c^2) * u`, where `u` is another
//! held-out vector made orthogonal to `x` and normalised. So `q` has cosine `c` to `x` and differs from it in a
//! direction that occurs among faces, not in an arbitrary one.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::IndexError;
use crate::coarse::BestLists;
use crate::exact::MemoryVectors;
use crate::model::{Calibration, Model, RecallPoint};
use crate::ordinals::OrdinalSet;
use crate::rows::{Form, Rows};
use crate::search::Batch;

/// Cosines of the recall card.
pub const CARD_COSINES: [f32; 3] = [0.9, 0.7, 0.5];
/// Numbers of visited lists on the recall card.
pub const CARD_NPROBES: [usize; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
/// Queries for each measurement.
const QUERIES: usize = 1000;
/// Vectors that the calibration searches among.
const CALIBRATION_ROWS: usize = 2000;

/// A vector of unit length at the given cosine to `vector`, in the direction of `towards`; `None` if the two are
/// parallel.
pub fn at_cosine(vector: &[f32], towards: &[f32], cosine: f32) -> Option<Vec<f32>> {
    let along: f32 = vector.iter().zip(towards).map(|(a, b)| a * b).sum();
    let mut across: Vec<f32> = vector.iter().zip(towards).map(|(a, b)| b - along * a).collect();
    let norm = across.iter().map(|v| v * v).sum::<f32>().sqrt();
    if norm < 1e-3 {
        return None;
    }
    let sine = (1.0 - cosine * cosine).max(0.0).sqrt() / norm;
    across.iter_mut().zip(vector).for_each(|(u, x)| *u = cosine * x + sine * *u);
    Some(across)
}

fn queries_at(
    held_out: &MemoryVectors,
    dimension: usize,
    cosine: f32,
    count: usize,
    seed: u64,
) -> (Vec<usize>, Vec<f32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let rows = held_out.len();
    let row = |at: usize| &held_out.values()[at * dimension..(at + 1) * dimension];
    let (mut targets, mut queries) = (Vec::new(), Vec::new());
    for target in 0..count.min(rows) {
        if let Some(query) = at_cosine(row(target), row(rng.random_range(0..rows)), cosine) {
            targets.push(target);
            queries.extend(query);
        }
    }
    (targets, queries)
}

/// The share of held-out vectors whose own list is among the best `nprobe` lists of a query at the given cosine.
pub fn recall_card(
    model: &Model,
    held_out: &MemoryVectors,
    seed: u64,
) -> Result<Vec<RecallPoint>, IndexError> {
    let best = |vectors: &[f32], k| model.coarse.best_lists(&model.native.transformed(vectors)?, k);
    list_recall(&best, model.lists(), model.facts.dimension, held_out, seed)
}

/// Finds the best lists of vectors, as [`crate::coarse::CoarseAssigner::best_lists`] does.
type FindLists<'a> = dyn Fn(&[f32], usize) -> Result<BestLists, IndexError> + 'a;

/// The same for any way to find lists.
pub fn list_recall(
    best: &FindLists<'_>,
    lists: usize,
    dimension: usize,
    held_out: &MemoryVectors,
    seed: u64,
) -> Result<Vec<RecallPoint>, IndexError> {
    let deepest = CARD_NPROBES.iter().copied().filter(|n| *n <= lists).max().unwrap_or(0);
    if deepest == 0 || held_out.len() < 2 {
        return Ok(Vec::new());
    }
    let (own, _) = best(&held_out.values()[..held_out.len().min(QUERIES) * dimension], 1)?;
    let mut card = Vec::new();
    for cosine in CARD_COSINES {
        let (targets, queries) = queries_at(held_out, dimension, cosine, QUERIES, seed);
        if targets.is_empty() {
            continue;
        }
        let (visited, _) = best(&queries, deepest)?;
        let ranks: Vec<Option<usize>> = targets
            .iter()
            .zip(visited.chunks_exact(deepest))
            .map(|(target, visited)| visited.iter().position(|list| *list == own[*target]))
            .collect();
        card.extend(CARD_NPROBES.iter().filter(|nprobe| **nprobe <= deepest).map(|nprobe| {
            let found = ranks.iter().filter(|rank| rank.is_some_and(|rank| rank < *nprobe)).count();
            RecallPoint { cosine, nprobe: *nprobe, recall: found as f32 / ranks.len() as f32 }
        }));
    }
    Ok(card)
}

/// Fits cosine against raw score by least squares over queries at cosines from .3 to 1.
pub fn calibrate(model: &Arc<Model>, held_out: &MemoryVectors, seed: u64) -> Result<Calibration, IndexError> {
    let (metric, dimension) = (model.facts.metric, model.facts.dimension);
    let exact = Calibration::exact(metric);
    let rows = held_out.len().min(CALIBRATION_ROWS);
    if rows < 2 {
        return Ok(exact);
    }
    let form = Form::of(model.clone());
    let stored = &held_out.values()[..rows * dimension];
    let mut live = Rows::new(&form)?;
    let ordinals: Vec<u64> = (0..rows as u64).collect();
    live.push(&ordinals, stored, &form.prepare(stored)?)?;
    let Some(part) = live.part() else { return Ok(exact) };
    let mut pairs: Vec<(f64, f64)> = Vec::new();
    for (round, cosine) in [0.3f32, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.97].into_iter().enumerate() {
        let (targets, queries) = queries_at(held_out, dimension, cosine, 250, seed + round as u64);
        let nprobe = model.lists().min(256);
        let batch = Batch::new(&form, metric, dimension, &queries, nprobe)?;
        let mut found = vec![Vec::new(); targets.len()];
        batch.nearest(&part, 64, &OrdinalSet::default(), &mut found)?;
        for (query, (target, hits)) in targets.iter().zip(&found).enumerate() {
            let query = &queries[query * dimension..(query + 1) * dimension];
            let Some(hit) = hits.iter().find(|hit| hit.ordinal == *target as u64) else { continue };
            let row = &stored[*target * dimension..(*target + 1) * dimension];
            let cosine = f64::from(records::Cosine::of(query, row).get());
            // The model has no calibration yet, so the score is the raw one as for exact search.
            pairs.push((f64::from(exact.raw(hit.score)), cosine));
        }
    }
    Ok(fit(&pairs).unwrap_or(exact))
}

fn fit(pairs: &[(f64, f64)]) -> Option<Calibration> {
    let n = pairs.len() as f64;
    if n < 10.0 {
        return None;
    }
    let mean_x = pairs.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = pairs.iter().map(|(_, y)| y).sum::<f64>() / n;
    let covariance: f64 = pairs.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let variance: f64 = pairs.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if variance < 1e-9 || covariance <= 0.0 {
        return None;
    }
    let slope = covariance / variance;
    let offset = mean_y - slope * mean_x;
    let error = (pairs.iter().map(|(x, y)| (slope * x + offset - y).powi(2)).sum::<f64>() / n).sqrt();
    Some(Calibration { slope: slope as f32, offset: offset as f32, error: error as f32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_have_the_wanted_cosine() {
        let x = [0.6, 0.8, 0.0];
        let query = at_cosine(&x, &[0.0, 0.6, 0.8], 0.7).unwrap();
        assert!((records::Cosine::of(&x, &query).get() - 0.7).abs() < 1e-5);
        assert!((records::Cosine::of(&query, &query).get() - 1.0).abs() < 1e-5);
        assert!(at_cosine(&x, &x, 0.5).is_none());
    }

    #[test]
    fn the_fit_finds_the_line() {
        let pairs: Vec<_> = (0..50).map(|i| (f64::from(i) / 50.0, 0.1 + 1.4 * f64::from(i) / 50.0)).collect();
        let line = fit(&pairs).unwrap();
        assert!((line.slope - 1.4).abs() < 1e-5 && (line.offset - 0.1).abs() < 1e-5 && line.error < 1e-5);
        assert!((line.raw(line.cosine(0.3)) - 0.3).abs() < 1e-5);
    }
}
