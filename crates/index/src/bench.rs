//! `facering index bench`: speed, recall and size of a factory, against exact search, on given or synthetic embeddings.
//!
//! Nothing holds all vectors: synthetic ones are drawn when they are needed, given ones are mapped.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use inference::Runtime;
use serde::{Deserialize, Serialize};

use crate::coarse::{CoarseComparison, compare_model};
use crate::config::{IndexConfig, Metric};
use crate::exact::{ExactVectors, drop_missing, read_exact};
use crate::factory::Factory;
use crate::index::FaceIndex;
use crate::memory::anonymous_mib;
use crate::native;
use crate::progress::TrainProgress;
use crate::search_card::{SearchCard, SearchParams};
use crate::synthetic::SyntheticSet;
use crate::train::{TrainParams, train};
use crate::vector_file::VectorFile;
use crate::{Calibration, IndexError};

/// Vectors added at once.
const BATCH: u64 = 16_384;
/// Times at which memory is looked at while vectors are added.
const LOOKS: u64 = 4;
/// Vectors that both ways to find lists are given.
const ASSIGNED: u64 = 2048;
/// Training vectors for each list beyond which more do not help.
const MOST_PER_LIST: usize = 256;

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
    /// Vectors used for training; 0 takes as many as there are in the index. Synthetic ones are identities that are not
    /// in the index; given ones are the same.
    pub train: usize,
    /// Queries of each cosine (.9, .7, .5): copies of stored vectors.
    pub queries: usize,
    /// Results a query.
    pub k: usize,
    /// Dimension of synthetic vectors.
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
            k: 10,
            dim: 512,
            threads: 0,
            seed: 1,
            nprobes: vec![1, 4, 16, 64, 256],
        }
    }
}

/// What the benchmark works on, besides its parameters.
#[derive(Clone, Copy, Default)]
pub struct BenchInput<'a> {
    /// Vectors to index; synthetic ones without.
    pub vectors: Option<&'a VectorFile>,
    /// Queries, row after row, instead of copies of stored vectors.
    pub queries: Option<&'a [f32]>,
    /// ONNX Runtime, which finds lists several times faster when there are many.
    pub runtime: Option<&'a Runtime>,
}

/// Memory when so many vectors were sealed.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct MemoryLook {
    /// Sealed vectors.
    pub vectors: u64,
    /// Memory of the process that belongs to no file, in MiB.
    pub anonymous_mb: f64,
    /// Bytes that the index counts as its own: centroids, live rows, bitmaps.
    pub counted_bytes: u64,
}

/// What was measured.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BenchReport {
    /// What was asked for.
    pub params: BenchParams,
    /// Factory in canonical form.
    pub factory: String,
    /// BLAS in use.
    pub blas: Option<String>,
    /// How lists are found.
    pub assigner: Option<&'static str>,
    /// Seconds of training: reading, centroids and codes. `None` if nothing was trained.
    pub train_s: Option<f64>,
    /// Seconds of measuring calibration and recall card of the trained model.
    pub calibrate_s: Option<f64>,
    /// Vectors added a second: assigned, encoded and searchable in memory.
    pub add_per_s: Option<f64>,
    /// Seconds of sealing and compacting to disk.
    pub seal_s: Option<f64>,
    /// Queries a second by nprobe, without re-ranking.
    pub search_qps: BTreeMap<usize, f64>,
    /// Share of queries at cosine .9 (or the given ones) whose nearest stored vector, as exact search finds it, comes
    /// first after exact re-ranking, by nprobe.
    pub recall_at_1: BTreeMap<usize, f64>,
    /// The same without re-ranking.
    pub raw_recall_at_1: BTreeMap<usize, f64>,
    /// Recall@1 after re-ranking by cosine, then by nprobe.
    pub curve: BTreeMap<String, BTreeMap<usize, f64>>,
    /// Lists visited when nobody says otherwise, and the recall@1 of copies there.
    pub nprobe: usize,
    /// Recall@1 of copies at that number.
    pub recall_at_nprobe: f64,
    /// Bytes of segments and ordinals on disk for each vector, without the model and exact vectors.
    pub bytes_per_vector: f64,
    /// Growth of the bytes that the index counts as its own, for each sealed vector.
    pub memory_bytes_per_vector: f64,
    /// Memory while vectors were added.
    pub memory: Vec<MemoryLook>,
    /// Resident memory of the process at the end, in MiB, mapped pages included.
    pub rss_mb: f64,
    /// Raw score to cosine.
    pub calibration: Option<Calibration>,
    /// Flat search over the trained centroids against the graph, where the graph is used.
    pub assignment: Option<CoarseComparison>,
    /// Warning of the training, if any.
    pub warning: Option<String>,
}

/// The vectors of a benchmark by ordinal: those to index first, then those only trained on.
struct Data<'a> {
    exact: &'a dyn ExactVectors,
    dimension: usize,
    stored: u64,
    training: Vec<u64>,
}

/// Measures a factory in an empty folder.
///
/// # Errors
/// [`IndexError::Factory`] for one that FAISS refuses, and whatever training and adding can meet.
pub fn bench(
    folder: &Path,
    params: &BenchParams,
    input: &BenchInput<'_>,
    progress: &dyn Fn(&TrainProgress),
) -> Result<BenchReport, IndexError> {
    native::set_threads(params.threads);
    let synthetic = SyntheticSet::new(params.dim, params.seed);
    let wanted = if params.train == 0 { params.vectors } else { params.train };
    let data = match input.vectors {
        Some(file) => {
            let stored = file.rows().min(params.vectors.max(1) as u64);
            let training = (0..stored.min(wanted as u64)).collect();
            Data { exact: file, dimension: file.dimension(), stored, training }
        }
        None => {
            let stored = params.vectors as u64;
            // Streams beyond the stored ones are other identities.
            let training = (stored..stored + wanted as u64).collect();
            Data { exact: &synthetic, dimension: params.dim, stored, training }
        }
    };
    let (index, trained) = build(folder, params, input, &data, progress)?;
    let (add_s, seal_s, memory) = add(&index, &data, progress)?;

    let told = |phase| progress(&TrainProgress { phase, done: 0, total: 1, fraction: None });
    told("searching");
    let search = SearchParams {
        queries: params.queries,
        k: params.k,
        nprobes: params.nprobes.clone(),
        seed: params.seed,
    };
    let card = index.measure_search(data.exact, input.queries, &search)?;
    told("comparing assignments");
    let assignment = compare_assignment(&index, input.runtime, data.exact)?;
    let mut report = report(&index, params, &card)?;
    report.memory_bytes_per_vector = slope(&memory);
    report.memory = memory;
    report.train_s = trained.as_ref().map(|trained| trained.0);
    report.calibrate_s = trained.as_ref().map(|trained| trained.1);
    report.add_per_s = Some(data.stored as f64 / add_s);
    report.seal_s = Some(seal_s);
    report.assignment = assignment;
    Ok(report)
}

/// The report of an index as it is: nothing trained, nothing added.
///
/// # Errors
/// As [`FaceIndex::info`].
pub fn report(index: &FaceIndex, params: &BenchParams, card: &SearchCard) -> Result<BenchReport, IndexError> {
    let info = index.info()?;
    let card = card.clone();
    Ok(BenchReport {
        params: BenchParams { dim: info.dimension, vectors: info.vectors as usize, ..params.clone() },
        factory: info.factory,
        blas: info.blas,
        assigner: info.assigner,
        train_s: None,
        calibrate_s: None,
        add_per_s: None,
        seal_s: None,
        search_qps: card.search_qps,
        recall_at_1: card.recall_at_1,
        raw_recall_at_1: card.raw_recall_at_1,
        curve: card.curve,
        nprobe: card.nprobe,
        recall_at_nprobe: card.recall_at_nprobe,
        bytes_per_vector: (info.bytes_of_segments + info.bytes_of_ordinals) as f64
            / info.vectors.max(1) as f64,
        memory_bytes_per_vector: 0.0,
        memory: Vec::new(),
        rss_mb: crate::memory::resident_mib(),
        calibration: info.model.as_ref().map(|model| model.calibration),
        assignment: None,
        warning: info.model.and_then(|model| model.warning),
    })
}

/// An empty index of the factory, and the seconds of training and of measuring the model.
fn build(
    folder: &Path,
    params: &BenchParams,
    input: &BenchInput<'_>,
    data: &Data<'_>,
    progress: &dyn Fn(&TrainProgress),
) -> Result<(FaceIndex, Option<(f64, f64)>), IndexError> {
    let d = data.dimension;
    let config = IndexConfig {
        factory: "Flat".into(),
        metric: params.metric,
        threads: params.threads,
        ..IndexConfig::default()
    };
    let wrong = |reason| IndexError::Factory { factory: params.factory.clone(), dimension: d, reason };
    let Factory::Faiss(text) = Factory::parse(&params.factory).map_err(wrong)? else {
        return Ok((FaceIndex::open(folder, d, &config)?, None));
    };
    let start = Instant::now();
    let measuring = std::cell::Cell::new(None);
    let note = |step: &TrainProgress| {
        if step.phase == "measuring" && measuring.get().is_none() {
            measuring.set(Some(start.elapsed().as_secs_f64()));
        }
        progress(step);
    };
    let lists = crate::factory::named_lists(&text);
    let most = if lists > 0 { lists.saturating_mul(MOST_PER_LIST).max(65_536) } else { usize::MAX };
    let training = &data.training[..data.training.len().min(most)];
    let train_params = TrainParams {
        factory: text,
        metric: params.metric,
        seed: params.seed,
        runtime: input.runtime.cloned(),
        ..TrainParams::default()
    };
    let model = train(data.exact, training, d, &train_params, &folder.join("model"), &note)?;
    let whole = start.elapsed().as_secs_f64();
    let train_s = measuring.get().unwrap_or(whole);
    let index = FaceIndex::open_with(folder, d, &config, input.runtime)?;
    index.rebuild(Some(Arc::new(model)), None, progress)?;
    Ok((index, Some((train_s, whole - train_s))))
}

/// Adds the stored vectors; gives the seconds of adding and of sealing, and memory on the way.
fn add(
    index: &FaceIndex,
    data: &Data<'_>,
    progress: &dyn Fn(&TrainProgress),
) -> Result<(f64, f64, Vec<MemoryLook>), IndexError> {
    let d = data.dimension;
    let (mut add_s, mut seal_s, mut memory) = (0.0, 0.0, Vec::new());
    let mut vectors = Vec::new();
    let mut seal = |whole: bool| {
        let start = Instant::now();
        if whole { index.compact(true, Some(data.exact)) } else { index.seal() }?;
        seal_s += start.elapsed().as_secs_f64();
        Ok::<_, IndexError>(())
    };
    let look_every = (data.stored / LOOKS).max(1);
    let mut next_look = look_every;
    let mut from = 0;
    while from < data.stored {
        let to = data.stored.min(from + BATCH).min(next_look.max(from + 1));
        let ordinals: Vec<u64> = (from..to).collect();
        read_exact(data.exact, d, &ordinals, &mut vectors)?;
        let rows: Vec<(u64, &[f32])> = ordinals.iter().copied().zip(vectors.chunks_exact(d)).collect();
        let start = Instant::now();
        index.add(&rows)?;
        add_s += start.elapsed().as_secs_f64();
        progress(&TrainProgress { phase: "adding", done: to, total: data.stored, fraction: None });
        from = to;
        if from == next_look {
            next_look += look_every;
            seal(true)?;
            let info = index.info()?;
            memory.push(MemoryLook {
                vectors: info.vectors,
                anonymous_mb: anonymous_mib(),
                counted_bytes: info.bytes_in_memory,
            });
        } else if index.live_rows()? >= index.config().seal_at {
            seal(false)?;
        }
    }
    seal(true)?;
    Ok((add_s, seal_s, memory))
}

/// Flat search against the graph on the centroids of an index, for stored vectors; `None` if the graph is not used there.
///
/// # Errors
/// [`IndexError::Coarse`] if ONNX Runtime refuses the graph, [`IndexError::Exact`].
pub fn compare_assignment(
    index: &FaceIndex,
    runtime: Option<&Runtime>,
    exact: &dyn ExactVectors,
) -> Result<Option<CoarseComparison>, IndexError> {
    let used = index.info()?.assigner.is_some_and(|name| name.starts_with("onnx"));
    let (Some(runtime), Some(model), true) = (runtime, index.model()?, used) else { return Ok(None) };
    let mut ordinals = index.sample(ASSIGNED, 0)?;
    ordinals.truncate(ASSIGNED as usize);
    let mut vectors = Vec::new();
    read_exact(exact, index.dimension(), &ordinals, &mut vectors)?;
    drop_missing(index.dimension(), &mut ordinals, &mut vectors);
    compare_model(&model, runtime, &vectors).map(Some)
}

/// Growth of the counted bytes for each vector, from the first look to the last.
fn slope(memory: &[MemoryLook]) -> f64 {
    match memory {
        [first, .., last] if last.vectors > first.vectors => {
            (last.counted_bytes as f64 - first.counted_bytes as f64) / (last.vectors - first.vectors) as f64
        }
        _ => 0.0,
    }
}
