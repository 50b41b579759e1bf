//! `facering index bench`: measures a factory in a scratch folder, or searching in an index that is there.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use index::{BenchInput, BenchParams, FaceIndex, Metric, SearchParams, VectorFile};
use serde_json::Value;
use store::Store;

use super::progress::Reporter;
use super::train::STORE;
use super::vectors::{draw, draw_from_store, open_files, runtime_for_lists};
use crate::cli::{Common, IndexBenchArgs};
use crate::commands::index::show;
use crate::config::Settings;

/// Synthetic vectors when nobody says how many.
const VECTORS: usize = 100_000;

pub fn execute(common: &Common, settings: &Settings, arguments: &IndexBenchArgs) -> anyhow::Result<()> {
    let mut settings = settings.clone();
    settings.index.threads = arguments.threads;
    if arguments.threads > 0 {
        settings.inference.intra_threads = arguments.threads;
    }
    let reporter = Reporter::new();
    let report = match (&arguments.index, arguments.assignment) {
        (Some(folder), _) => existing(&settings, arguments, folder)?,
        (None, Some(lists)) => assignment(&settings, arguments, lists, &reporter)?,
        (None, None) => scratch(&settings, arguments, &reporter)?,
    };
    drop(reporter);
    show(common, &report)
}

fn parameters(arguments: &IndexBenchArgs, vectors: usize) -> BenchParams {
    BenchParams {
        factory: arguments.factory.clone(),
        metric: if arguments.metric == "l2" { Metric::L2 } else { Metric::Ip },
        vectors,
        train: arguments.train.unwrap_or(0),
        queries: arguments.queries,
        dim: arguments.dim as usize,
        threads: arguments.threads,
        seed: arguments.seed,
        ..BenchParams::default()
    }
}

fn scratch(settings: &Settings, arguments: &IndexBenchArgs, reporter: &Reporter) -> anyhow::Result<Value> {
    let folder = Scratch::new()?;
    let vectors = given_vectors(settings, arguments, &folder.0, reporter)?;
    let queries = given_queries(arguments)?;
    let runtime = runtime_for_lists(settings);
    let input =
        BenchInput { vectors: vectors.as_ref(), queries: queries.as_deref(), runtime: runtime.as_ref() };
    let all = vectors.as_ref().map_or(VECTORS, |file| file.rows() as usize);
    let params = parameters(arguments, arguments.vectors.unwrap_or(all));
    let progress = |step: &index::TrainProgress| reporter.step(step);
    let report = index::bench(&folder.0.join("index"), &params, &input, &progress)
        .context("the index cannot be measured")?;
    Ok(serde_json::to_value(report)?)
}

fn existing(settings: &Settings, arguments: &IndexBenchArgs, folder: &Path) -> anyhow::Result<Value> {
    let runtime = runtime_for_lists(settings);
    let index = FaceIndex::open_existing(folder, &settings.index, runtime.as_ref())?;
    let Some(exact) = index.kept_vectors()? else {
        bail!("{} keeps codes only, so that nothing can be compared with them", folder.display());
    };
    let search = SearchParams { queries: arguments.queries, seed: arguments.seed, ..Default::default() };
    let card = index.measure_search(&exact, given_queries(arguments)?.as_deref(), &search)?;
    let mut report = index::report(&index, &parameters(arguments, 0), &card)?;
    report.assignment = index::compare_assignment(&index, runtime.as_ref(), &exact)?;
    Ok(serde_json::to_value(report)?)
}

fn assignment(
    settings: &Settings,
    arguments: &IndexBenchArgs,
    lists: usize,
    reporter: &Reporter,
) -> anyhow::Result<Value> {
    let folder = Scratch::new()?;
    let vectors = given_vectors(settings, arguments, &folder.0, reporter)?;
    let runtime = inference::Runtime::start(&settings.inference)?;
    let (d, threads) = (arguments.dim as usize, arguments.threads);
    let compared = match vectors {
        Some(file) => {
            let rows = file.rows().min(arguments.queries as u64);
            let mut embeddings = Vec::new();
            index::ExactVectors::vectors(&file, &(0..rows).collect::<Vec<_>>(), &mut embeddings)
                .map_err(index::IndexError::Exact)?;
            index::compare_on(&runtime, lists, file.dimension(), &embeddings, threads)?
        }
        None => index::compare_assigners(&runtime, lists, d, arguments.queries, threads)?,
    };
    Ok(serde_json::to_value(compared)?)
}

fn given_vectors(
    settings: &Settings,
    arguments: &IndexBenchArgs,
    folder: &Path,
    reporter: &Reporter,
) -> anyhow::Result<Option<VectorFile>> {
    match arguments.from.as_deref() {
        None => Ok(None),
        Some(STORE) => {
            let store = Store::open(&settings.state)?;
            draw_from_store(&store.reader(), None, folder, reporter).map(Some)
        }
        Some(path) => draw(&open_files(Path::new(path))?, None, folder, reporter).map(Some),
    }
}

fn given_queries(arguments: &IndexBenchArgs) -> anyhow::Result<Option<Vec<f32>>> {
    let Some(path) = &arguments.queries_from else { return Ok(None) };
    let files = open_files(path)?;
    let d = files.dimension();
    let mut queries = Vec::new();
    for at in 0..files.files().count() {
        for batch in files.read(at, 0)? {
            let batch = batch?;
            let there = |row: &&[f32]| row.iter().any(|value| *value != 0.0);
            batch.chunks_exact(d).filter(there).for_each(|row| queries.extend_from_slice(row));
        }
    }
    Ok(Some(queries))
}

/// A folder for the measured index, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("facering-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "the measured index stays behind");
        }
    }
}
