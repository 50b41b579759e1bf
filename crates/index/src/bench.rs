//! `facering index bench`: speed and recall of a factory on synthetic embeddings, against exact search.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::config::{IndexConfig, Metric};
use crate::exact::MemoryVectors;
use crate::index::FaceIndex;
use crate::native;
use crate::synthetic::SyntheticFaces;
use crate::train::{TrainParams, TrainProgress, train};
use crate::{Factory, IndexError};

/// What to measure.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BenchParams {
    /// Factory string.
    pub factory: String,
    /// Metric.
    pub metric: Metric,
    /// Vectors in the index.
    pub vectors: usize,
    /// Of them used for training; 0 takes as many as help, at most all.
    pub train: usize,
    /// Queries: copies of stored vectors at `cosine`.
    pub queries: usize,
    /// Cosine of query and stored vector.
    pub cosine: f32,
    /// Results a query.
    pub k: usize,
    /// Dimension.
    pub dim: usize,
    /// Threads; 0 takes one for each core.
    pub threads: usize,
    /// Seed of the data.
    pub seed: u64,
    /// Numbers of visited lists to measure; those above the number of lists are left out.
    pub nprobes: Vec<usize>,
}

impl Default for BenchParams {
    fn default() -> Self {
        Self {
            factory: "IVF1024,PQ64".into(),
            metric: Metric::Ip,
            vectors: 200_000,
            train: 0,
            queries: 10_000,
            cosine: 0.9,
            k: 10,
            dim: 512,
            threads: 0,
            seed: 1,
            nprobes: vec![1, 4, 16, 64, 256],
        }
    }
}

/// What was measured.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BenchReport {
    /// What was measured.
    pub params: BenchParams,
    /// Factory in canonical form.
    pub factory: String,
    /// BLAS in use.
    pub blas: Option<String>,
    /// Seconds of training (codes and centroids; reading and measuring included).
    pub train_s: f64,
    /// Vectors added a second, assignment included.
    pub add_per_s: f64,
    /// Queries a second by nprobe, without re-ranking.
    pub search_qps: BTreeMap<usize, f64>,
    /// Share of queries whose nearest stored vector, as exact search finds it, comes first after exact re-ranking of
    /// the `k` results, by nprobe.
    pub recall_at_1: BTreeMap<usize, f64>,
    /// The same without re-ranking.
    pub raw_recall_at_1: BTreeMap<usize, f64>,
    /// Bytes on disk for each vector, without the model.
    pub bytes_per_vector: f64,
    /// Resident memory of the process at the end, in MiB; the benchmark's own vectors are in it.
    pub rss_mb: f64,
    /// Warning of the training, if any.
    pub warning: Option<String>,
}

/// Measures a factory in an empty folder.
///
/// # Errors
/// [`IndexError::Factory`] for one that FAISS refuses, and whatever training and adding can meet.
pub fn bench(
    folder: &Path,
    params: &BenchParams,
    progress: &dyn Fn(&TrainProgress),
) -> Result<BenchReport, IndexError> {
    let d = params.dim;
    let mut faces = SyntheticFaces::new(d, params.seed);
    let base = MemoryVectors::new(d, faces.vectors(params.vectors));
    let row = |at: usize| &base.values()[at * d..(at + 1) * d];
    let mut queries = Vec::with_capacity(params.queries * d);
    for query in 0..params.queries {
        let target = (query as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) % params.vectors.max(1) as u64;
        queries.extend(faces.near(row(target as usize), params.cosine));
    }
    native::set_threads(params.threads);
    let (truth, _) = native::flat_search(params.metric, d, &queries, base.values(), 1)?;

    let config = IndexConfig {
        factory: "Flat".into(),
        metric: params.metric,
        threads: params.threads,
        seal_at: u64::MAX,
        ..IndexConfig::default()
    };
    let wrong = |reason| IndexError::Factory { factory: params.factory.clone(), dimension: d, reason };
    let factory = Factory::parse(&params.factory).map_err(wrong)?;
    let start = Instant::now();
    let (index, train_s, warning) = match &factory {
        Factory::Flat | Factory::Auto => (FaceIndex::open(folder, d, &config)?, 0.0, None),
        Factory::Faiss(text) => {
            let sample = if params.train == 0 { params.vectors } else { params.train.min(params.vectors) };
            let ordinals: Vec<u64> = (0..sample as u64).collect();
            let train_params = TrainParams {
                factory: text.clone(),
                metric: params.metric,
                seed: params.seed,
                ..TrainParams::default()
            };
            let models = folder.join("model");
            let model = train(&base, &ordinals, d, &train_params, &models, progress)?;
            let seconds = start.elapsed().as_secs_f64();
            let warning = model.facts().warning.clone();
            let index = FaceIndex::open(folder, d, &config)?;
            index.rebuild(Some(Arc::new(model)), None, progress)?;
            (index, seconds, warning)
        }
    };
    let start = Instant::now();
    let ordinals: Vec<u64> = (0..params.vectors as u64).collect();
    for batch in ordinals.chunks(16_384) {
        let rows: Vec<(u64, &[f32])> =
            batch.iter().map(|ordinal| (*ordinal, row(*ordinal as usize))).collect();
        index.add(&rows)?;
        progress(&TrainProgress { phase: "adding", done: batch[0], total: params.vectors as u64 });
    }
    let add_per_s = params.vectors as f64 / start.elapsed().as_secs_f64();
    index.seal()?;

    let lists = index.info()?.lists;
    let mut report = BenchReport {
        params: params.clone(),
        factory: match factory {
            Factory::Faiss(text) => text,
            Factory::Flat | Factory::Auto => "Flat".into(),
        },
        blas: native::blas(),
        train_s,
        add_per_s,
        search_qps: BTreeMap::new(),
        recall_at_1: BTreeMap::new(),
        raw_recall_at_1: BTreeMap::new(),
        bytes_per_vector: index.segment_bytes()? as f64 / params.vectors.max(1) as f64,
        rss_mb: 0.0,
        warning,
    };
    let nprobes: Vec<usize> = match lists {
        0 => vec![1],
        lists => params.nprobes.iter().copied().filter(|nprobe| *nprobe <= lists).collect(),
    };
    for nprobe in nprobes {
        progress(&TrainProgress { phase: "searching", done: nprobe as u64, total: 256 });
        let start = Instant::now();
        let found = index.search(&queries, params.k, -1.0, Some(nprobe))?;
        report.search_qps.insert(nprobe, params.queries as f64 / start.elapsed().as_secs_f64());
        let share = |hit: &dyn Fn(usize) -> bool| {
            (0..found.len()).filter(|at| hit(*at)).count() as f64 / found.len().max(1) as f64
        };
        let right =
            |at: usize, ordinal: Option<u64>| ordinal.is_some_and(|ordinal| ordinal as i64 == truth[at]);
        let raw = share(&|at| right(at, found[at].first().map(|hit| hit.0)));
        let ranked = share(&|at| {
            let query = &queries[at * d..(at + 1) * d];
            let best = found[at].iter().max_by_key(|hit| records::Cosine::of(query, row(hit.0 as usize)));
            right(at, best.map(|hit| hit.0))
        });
        report.raw_recall_at_1.insert(nprobe, raw);
        report.recall_at_1.insert(nprobe, ranked);
    }
    report.rss_mb = resident_mib();
    Ok(report)
}

/// Resident memory of this process in MiB, 0 where `/proc` is missing.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib =
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
