//! `facering index fill`, `merge` and `search`: blocks filled apart, joined on disk, opened wherever they lie.

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use index::{ExactVectors, FaceIndex, TrainProgress};
use ingest::EmbeddingFiles;
use serde::Serialize;
use serde_json::json;

use super::progress::Reporter;
use super::vectors::{open_files, runtime_for_lists};
use super::{folder_info, show_info};
use crate::cli::{Common, IndexFillArgs, IndexMergeArgs, IndexSearchArgs};
use crate::commands::{print, print_result};
use crate::config::Settings;
use crate::outcome::Misconfigured;

/// Queries searched for at once.
const QUERIES: usize = 4096;

pub fn fill(common: &Common, settings: &Settings, arguments: &IndexFillArgs) -> anyhow::Result<()> {
    let files = open_files(&arguments.from)?;
    let block = open_block(settings, arguments)?;
    fits(&files, &block, &arguments.block)?;
    let reporter = Reporter::new();
    let total = files.rows();
    let mut before = 0;
    let started = Instant::now();
    let mut added = 0;
    for (at, (name, rows)) in files.files().enumerate() {
        let done = block.filled_rows(name)?;
        if done > rows {
            bail!("{name} has {rows} rows, but {done} were filled in: it was replaced; give it another name");
        }
        if done > 0 {
            tracing::info!(file = name, done, rows, "going on where an earlier run stopped");
        }
        let mut batches = files.read(at, done)?;
        let mut next = |out: &mut Vec<f32>| match batches.next() {
            Some(batch) => {
                *out = batch?;
                Ok(true)
            }
            None => Ok(false),
        };
        let progress = |row: u64| {
            reporter.step(&TrainProgress { phase: "filling", done: before + row, total, fraction: None });
        };
        added += block.fill(name, done, !arguments.codes_only, &mut next, &progress)?;
        before += rows;
    }
    drop(reporter);
    let seconds = started.elapsed().as_secs_f64();
    let mut info = folder_info(&block)?;
    info["added"] = json!(added);
    info["added_per_s"] = json!(added as f64 / seconds.max(1e-9));
    show_info(common, &info)
}

fn open_block(settings: &Settings, arguments: &IndexFillArgs) -> anyhow::Result<FaceIndex> {
    let runtime = runtime_for_lists(settings);
    let begun = arguments.block.join("MANIFEST").exists();
    let model = match &arguments.model {
        None if begun => None,
        None => {
            let text = "a new block needs the model of an empty block: --model DIR, which `index train --out DIR` makes";
            return Err(Misconfigured::usage("--model", text));
        }
        Some(folder) => Some(FaceIndex::open_existing(folder, &settings.index, None)?),
    };
    if !begun && let Some(empty) = &model {
        let (dimension, metric) = (empty.dimension(), empty.metric());
        drop(FaceIndex::begin(&arguments.block, dimension, metric, empty.model()?, &settings.index)?);
    }
    let block = FaceIndex::open_existing(&arguments.block, &settings.index, runtime.as_ref())?;
    if let Some(empty) = &model {
        let id = |index: &FaceIndex| Ok::<_, index::IndexError>(index.model()?.map(|m| m.facts().id.clone()));
        if id(empty)? != id(&block)? {
            bail!(
                "{} was begun with another model than {} has; blocks of two models cannot be merged",
                arguments.block.display(),
                arguments.model.as_deref().unwrap_or(Path::new("")).display()
            );
        }
    }
    Ok(block)
}

fn fits(files: &EmbeddingFiles, index: &FaceIndex, folder: &Path) -> anyhow::Result<()> {
    if files.dimension() == index.dimension() {
        return Ok(());
    }
    bail!(
        "the embeddings have {} numbers and the index in {} was made for {}; use embeddings of one model pack",
        files.dimension(),
        folder.display(),
        index.dimension()
    )
}

pub fn merge(common: &Common, settings: &Settings, arguments: &IndexMergeArgs) -> anyhow::Result<()> {
    let blocks = arguments
        .blocks
        .iter()
        .map(|folder| FaceIndex::open_existing(folder, &settings.index, None))
        .collect::<Result<Vec<_>, _>>()?;
    let Some(first) = blocks.first() else { bail!("there is no block to merge") };
    let started = Instant::now();
    let out = if arguments.out.join("MANIFEST").exists() {
        FaceIndex::open_existing(&arguments.out, &settings.index, None)?
    } else {
        FaceIndex::begin(&arguments.out, first.dimension(), first.metric(), first.model()?, &settings.index)?
    };
    let merged = out.merge(&blocks.iter().collect::<Vec<_>>())?;
    let kept = out.kept_vectors()?;
    out.compact(false, kept.as_ref().map(|kept| kept as &dyn ExactVectors))?;
    let mut info = folder_info(&out)?;
    info["merged"] = json!(merged);
    info["seconds"] = json!(started.elapsed().as_secs_f64());
    show_info(common, &info)
}

/// Something that was found.
#[derive(Serialize)]
struct Hit {
    /// Number in the index.
    ordinal: u64,
    /// Exact where the index keeps its vectors, otherwise estimated.
    cosine: f32,
    /// File it came from.
    file: Option<String>,
    /// Row in that file.
    row: Option<u64>,
}

/// What was found for a query.
#[derive(Serialize)]
struct Answer {
    file: String,
    row: u64,
    found: Vec<Hit>,
}

pub fn search(common: &Common, settings: &Settings, arguments: &IndexSearchArgs) -> anyhow::Result<()> {
    let runtime = runtime_for_lists(settings);
    let index = FaceIndex::open_existing(&arguments.index, &settings.index, runtime.as_ref())?;
    let files = open_files(&arguments.from)?;
    fits(&files, &index, &arguments.index)?;
    let kept = index.kept_vectors()?;
    if kept.is_none() {
        tracing::warn!("the index keeps codes only: cosines are estimates");
    }
    let exact = kept.as_ref().map(|kept| kept as &dyn ExactVectors);
    let d = index.dimension();
    let started = Instant::now();
    let mut answers = Vec::new();
    let mut asked = 0;
    for (at, (file, _)) in files.files().enumerate() {
        let mut row = 0;
        for batch in files.read(at, 0)? {
            let batch = batch?;
            for queries in batch.chunks(QUERIES * d) {
                let rows: Vec<u64> = (row..).take(queries.len() / d).collect();
                row += rows.len() as u64;
                let (rows, queries) = present(d, &rows, queries);
                asked += rows.len();
                let found = find(&index, &queries, exact, arguments)?;
                for (row, found) in rows.into_iter().zip(found) {
                    let hits = found.into_iter().map(|(ordinal, cosine)| {
                        let origin = index.origin_of(ordinal)?;
                        let (file, row) = origin.map_or((None, None), |(file, row)| (Some(file), Some(row)));
                        Ok(Hit { ordinal, cosine, file, row })
                    });
                    let found = hits.collect::<anyhow::Result<Vec<_>>>()?;
                    let answer = Answer { file: file.to_owned(), row, found };
                    if common.json {
                        answers.push(answer);
                    } else {
                        print(&text(&answer)?)?;
                    }
                }
            }
        }
    }
    if common.json {
        let seconds = started.elapsed().as_secs_f64();
        let value = json!({
            "answers": answers,
            "exact": exact.is_some(),
            "queries": asked,
            "seconds": seconds,
            "anonymous_mb": index::anonymous_mib(),
        });
        print_result(common, &value, String::new)?;
    }
    Ok(())
}

/// The rows that have an embedding.
fn present(d: usize, rows: &[u64], queries: &[f32]) -> (Vec<u64>, Vec<f32>) {
    let (mut kept, mut values) = (Vec::new(), Vec::new());
    for (row, query) in rows.iter().zip(queries.chunks_exact(d)) {
        if query.iter().any(|value| *value != 0.0) {
            kept.push(*row);
            values.extend_from_slice(query);
        }
    }
    (kept, values)
}

fn find(
    index: &FaceIndex,
    queries: &[f32],
    exact: Option<&dyn ExactVectors>,
    arguments: &IndexSearchArgs,
) -> anyhow::Result<Vec<Vec<(u64, f32)>>> {
    let (k, nprobe) = (arguments.k as usize, arguments.nprobe);
    let plain = |found: Vec<Vec<index::Neighbour>>| {
        let pair = |neighbour: index::Neighbour| (neighbour.ordinal, neighbour.cosine.get());
        found.into_iter().map(|found| found.into_iter().map(pair).collect()).collect()
    };
    Ok(match (exact, arguments.threshold) {
        (Some(exact), None) => plain(index.nearest(queries, k, -1.0, nprobe, exact)?),
        (Some(exact), Some(threshold)) => plain(index.find_neighbours(queries, threshold, nprobe, exact)?),
        (None, None) => index.search(queries, k, -1.0, nprobe)?,
        (None, Some(threshold)) => index.search_range(queries, threshold, nprobe)?,
    })
}

fn text(answer: &Answer) -> anyhow::Result<String> {
    let mut text = format!("{} row {}:", answer.file, answer.row);
    for hit in &answer.found {
        write!(text, "\n  {:.3}  ", hit.cosine).context("text")?;
        match (&hit.file, hit.row) {
            (Some(file), Some(row)) => write!(text, "{file} row {row}"),
            _ => write!(text, "ordinal {}", hit.ordinal),
        }
        .context("text")?;
    }
    if answer.found.is_empty() {
        text.push_str("\n  nothing like it");
    }
    Ok(text)
}
