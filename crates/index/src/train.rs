//! Training a model on a sample.
//!
//! Few lists are trained by FAISS's own k-means, many (`two_level_from`) in two levels: see `two_level.rs`. Encoders of
//! lists are trained on vectors that the centroids were not trained on, where there are enough.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use inference::Runtime;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::exact::{ExactVectors, MemoryVectors, check_vectors, drop_missing, read_exact};
use crate::factory::Factory;
use crate::measure::{calibrate, recall_card};
use crate::model::{Model, ModelFacts};
use crate::native::Native;
use crate::progress::{Meter, TrainProgress};
use crate::two_level::{TwoLevel, groups_of};
use crate::{IndexError, Metric};

/// Vectors that FAISS wants at least for each centroid; fewer give a warning.
const ADVISED_PER_LIST: usize = 39;
/// More vectors for each centroid do not make it better.
const MOST_PER_LIST: usize = 256;
/// Vectors for training an encoder: 256 for each of its 256 centroids.
const CODE_SAMPLE: usize = 65_536;
/// Fewer than this cannot train an encoder (39 for each of 256 centroids).
pub(crate) const CODE_SAMPLE_MIN: usize = 9_984;
/// Vectors that calibration and recall card are measured on.
const HELD_OUT: usize = 2_000;
/// Training in one level holds at most so many vectors in memory, unless FAISS's advice is more: 2 GB at 512 dimensions.
const MOST_IN_MEMORY: usize = 1 << 20;
/// What reading a vector costs, in comparisons of two vectors.
const READING: usize = 100;

/// What to train and how.
#[derive(Clone, Debug)]
pub struct TrainParams {
    /// Factory string (`PQ64` is read as `PQ64np`).
    pub factory: String,
    /// Metric.
    pub metric: Metric,
    /// Seed of sampling and k-means; the same sample, seed and number of threads give the same centroids.
    pub seed: u64,
    /// Rounds of k-means.
    pub iterations: usize,
    /// From this many lists, train in two levels.
    pub two_level_from: usize,
    /// A folder in which training in two levels keeps its progress, so that it can go on after an interruption.
    /// Removed when done.
    pub checkpoint: Option<PathBuf>,
    /// Finds lists several times faster when the trained model is measured.
    pub runtime: Option<Runtime>,
}

impl Default for TrainParams {
    fn default() -> Self {
        Self {
            factory: "IVF1024,PQ64".into(),
            metric: Metric::Ip,
            seed: 1,
            iterations: 10,
            two_level_from: 16_384,
            checkpoint: None,
            runtime: None,
        }
    }
}

/// Trains a model on the vectors of `ordinals` and saves it in `folder`.
///
/// Memory: for few lists up to 256 vectors a list (as f32); in two levels the first level's sample, then one group at
/// a time, and four bytes a training vector.
///
/// # Errors
/// [`IndexError::Factory`] for an unknown factory, [`IndexError::TooFewToTrain`] with fewer vectors than centroids,
/// [`IndexError::Exact`] if vectors cannot be read.
pub fn train(
    vectors: &dyn ExactVectors,
    ordinals: &[u64],
    dimension: usize,
    params: &TrainParams,
    folder: &Path,
    progress: &dyn Fn(&TrainProgress),
) -> Result<Model, IndexError> {
    let wrong = |reason| IndexError::Factory { factory: params.factory.clone(), dimension, reason };
    let Factory::Faiss(factory) = Factory::parse(&params.factory).map_err(wrong)? else {
        return Err(wrong("it needs no training".into()));
    };
    std::fs::create_dir_all(folder).map_err(IndexError::io("creating", folder))?;
    let mut native = Native::from_factory(&factory, dimension, params.metric)?;
    native.prepare(params.seed, params.iterations)?;
    let mut order = ordinals.to_vec();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(params.seed));
    // The first vectors of the shuffled order are held out from the centroids.
    let lists = native.shape().lists as usize;
    let needed = if lists > 0 { lists } else { 2 };
    let too_few = || IndexError::TooFewToTrain { factory: factory.clone(), needed, found: order.len() };
    if order.len() < needed {
        return Err(too_few());
    }
    let spare = order.len().saturating_sub(lists * ADVISED_PER_LIST);
    let held = CODE_SAMPLE.min(spare.max(order.len() / 10)).max(2).min(order.len());
    let (held_out, rest) = order.split_at(held);
    let centroid_sample = if rest.len() >= lists { rest } else { &order };
    let meter = Meter::new(progress, plan(&factory, lists, centroid_sample.len(), params));
    let step = |phase, done, total| meter.step(phase, done, total);
    let read = |ordinals: &[u64], phase| read_sample(vectors, dimension, ordinals, phase, &meter);
    if !native.shape().is_trained() {
        if lists == 0 {
            let sample = read(&order[..order.len().min(4 * CODE_SAMPLE)], "reading")?;
            step("codes", 0, 1);
            native.train_whole(sample.values())?;
        } else {
            let codes =
                if held >= CODE_SAMPLE_MIN { held_out } else { &order[..order.len().min(CODE_SAMPLE)] };
            let codes = read(codes, "reading")?;
            native.train_chain(codes.values())?;
            if lists >= params.two_level_from {
                let levels = TwoLevel { dimension, lists, params, transform: &native };
                let centroids = levels.train(vectors, centroid_sample, &meter)?;
                native.set_centroids(&centroids)?;
            } else {
                let most = (lists * MOST_PER_LIST).min(MOST_IN_MEMORY.max(lists * ADVISED_PER_LIST));
                let most = centroid_sample.len().min(most);
                let sample = read(&centroid_sample[..most], "reading")?;
                if sample.len() < lists {
                    return Err(too_few());
                }
                step("level 1", 0, 1);
                let transformed = native.transformed_cow(sample.values())?;
                native.train_coarse(&transformed)?;
            }
            step("codes", 0, 1);
            let transformed = native.transformed_cow(codes.values())?;
            native.train_codes(&transformed)?;
        }
    }
    let advised = lists * ADVISED_PER_LIST;
    let warning = (centroid_sample.len() < advised).then(|| {
        format!(
            "{} training vectors for {lists} lists are {:.1} a list; FAISS advises at least {ADVISED_PER_LIST} a list, {advised} in all",
            centroid_sample.len(),
            centroid_sample.len() as f64 / lists as f64,
        )
    });
    if let Some(warning) = &warning {
        tracing::warn!(warning, "training sample is small");
    }
    let facts = ModelFacts {
        trained_on: ordinals.len() as u64,
        warning,
        ..ModelFacts::untrained(&factory, dimension, params.metric)
    };
    step("measuring", 0, 1);
    let draft = Model::save(facts, native, folder)?.accelerated(params.runtime.as_ref());
    let draft = Arc::new(draft);
    let held_out = read(&held_out[..held.min(HELD_OUT)], "measuring")?;
    let facts = ModelFacts {
        calibration: calibrate(&draft, &held_out, params.seed)?,
        card: recall_card(&draft, &held_out, params.seed)?,
        ..draft.facts.clone()
    };
    step("measuring", 1, 1);
    if let Some(folder) = params.checkpoint.as_ref().filter(|folder| folder.exists()) {
        std::fs::remove_dir_all(folder).map_err(IndexError::io("removing", folder))?;
    }
    draft.with_facts(facts)
}

/// The phases of a training and their work in comparisons of two vectors.
fn plan(factory: &str, lists: usize, sample: usize, params: &TrainParams) -> Vec<(&'static str, f64)> {
    let rounds = params.iterations;
    let codes = if factory.contains("PQ") { CODE_SAMPLE * 256 * 25 } else { CODE_SAMPLE };
    let levels = if lists == 0 {
        vec![]
    } else if lists >= params.two_level_from {
        let groups = groups_of(lists, sample);
        vec![
            ("level 1", sample.min(groups * MOST_PER_LIST) * groups * rounds),
            ("assigning", sample * (groups + READING)),
            ("level 2", sample.min(lists * MOST_PER_LIST) * (lists / groups * rounds + READING)),
        ]
    } else {
        vec![("level 1", sample.min(lists * MOST_PER_LIST) * lists * rounds)]
    };
    let all = [("reading", CODE_SAMPLE * READING)].into_iter().chain(levels);
    let all = all.chain([("codes", codes), ("measuring", 5_000 * (lists + 1000))]);
    all.map(|(phase, work)| (phase, work as f64)).collect()
}

/// Reads a sample into memory, without vectors that are no longer there.
pub(crate) fn read_sample(
    vectors: &dyn ExactVectors,
    dimension: usize,
    ordinals: &[u64],
    phase: &'static str,
    meter: &Meter<'_>,
) -> Result<MemoryVectors, IndexError> {
    const BATCH: usize = 8192;
    let mut all = Vec::with_capacity(ordinals.len() * dimension);
    let mut batch = Vec::new();
    let total = ordinals.len() as u64;
    for (done, ordinals) in ordinals.chunks(BATCH).enumerate() {
        let mut found = ordinals.to_vec();
        read_exact(vectors, dimension, &found, &mut batch)?;
        drop_missing(dimension, &mut found, &mut batch);
        check_vectors(dimension, &batch)?;
        all.extend_from_slice(&batch);
        meter.step(phase, (done * BATCH) as u64, total);
    }
    Ok(MemoryVectors::new(dimension, all))
}
