//! Where the vectors of index commands come from: Parquet files or the state.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use index::{IndexError, TrainProgress, VectorFile};
use inference::Runtime;
use ingest::EmbeddingFiles;
use store::Reader;

use super::progress::Reporter;
use crate::config::Settings;

/// Reads all footers.
pub fn open_files(path: &Path) -> anyhow::Result<EmbeddingFiles> {
    let pattern = path.to_string_lossy().contains(['*', '?', ':']);
    if !pattern && !path.exists() {
        bail!("there is no {}", path.display());
    }
    EmbeddingFiles::open(path).with_context(|| format!("no embeddings can be read from {}", path.display()))
}

/// Draws vectors out of Parquet files into one file of their own below `folder`, evenly, or takes the one that an
/// interrupted run left there. Rows without an embedding are left out.
pub fn draw(
    files: &EmbeddingFiles,
    wanted: Option<u64>,
    folder: &Path,
    reporter: &Reporter,
) -> anyhow::Result<VectorFile> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let path = folder.join(drawn_name(files, wanted));
    if let Ok(file) = VectorFile::open(&path) {
        return Ok(file);
    }
    let rows = files.rows().max(1);
    let share = wanted.map_or(1.0, |wanted| wanted as f64 / rows as f64);
    let d = files.dimension();
    let (mut done, total) = (0u64, (rows as f64 * share.min(1.0)).ceil() as u64);
    let unread = |error: ingest::SourceError| IndexError::Exact(Box::new(error));
    VectorFile::write(&path, d, |sink| {
        for (at, _) in files.files().enumerate() {
            let mut take = |batch: Result<Vec<f32>, ingest::SourceError>| {
                let mut rows = batch.map_err(unread)?;
                done += (rows.len() / d) as u64;
                keep_present(d, &mut rows);
                reporter.step(&TrainProgress { phase: "drawing", done, total, fraction: None });
                sink.push(&rows)
            };
            if share >= 1.0 {
                files.read(at, 0).map_err(unread)?.try_for_each(&mut take)?;
            } else {
                files.sample(at, share).map_err(unread)?.try_for_each(&mut take)?;
            }
        }
        Ok(())
    })?;
    Ok(VectorFile::open(&path)?)
}

/// Moves the rows that are not all zero to the front and drops the rest.
fn keep_present(d: usize, rows: &mut Vec<f32>) {
    let mut kept = 0;
    for row in 0..rows.len() / d {
        let range = row * d..(row + 1) * d;
        if rows[range.clone()].iter().any(|value| *value != 0.0) {
            rows.copy_within(range, kept * d);
            kept += 1;
        }
    }
    rows.truncate(kept * d);
}

/// Another choice of files or rows gets another name.
fn drawn_name(files: &EmbeddingFiles, wanted: Option<u64>) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    files.files().collect::<Vec<_>>().hash(&mut hasher);
    (files.dimension(), wanted).hash(&mut hasher);
    format!("drawn-{:016x}.f16", hasher.finish()).into()
}

/// Writes the vectors of the state's faces into a file below `folder`, at most `wanted`, evenly.
pub fn draw_from_store(
    reader: &Reader,
    wanted: Option<u64>,
    folder: &Path,
    reporter: &Reporter,
) -> anyhow::Result<VectorFile> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let (Some(dimension), faces) = (reader.dimension(), reader.counts().faces) else {
        bail!("the state holds no face yet; run a pipeline first");
    };
    let step = wanted.map_or(1, |wanted| faces.div_ceil(wanted.max(1))).max(1) as usize;
    let path = folder.join("drawn-store.f16");
    let written = VectorFile::write(&path, dimension as usize, |sink| {
        for (at, row) in reader.faces().step_by(step).enumerate() {
            let vector = row.and_then(|(_, face)| reader.vector_of(face.ordinal));
            if let Some(vector) = vector.map_err(|error| IndexError::Exact(Box::new(error)))? {
                sink.push(&vector)?;
            }
            let done = (at * step) as u64;
            reporter.step(&TrainProgress { phase: "drawing", done, total: faces, fraction: None });
        }
        Ok(())
    })?;
    if written == 0 {
        bail!("the state holds no face yet; run a pipeline first");
    }
    Ok(VectorFile::open(&path)?)
}

/// ONNX Runtime for finding lists; without it FAISS's slower search does.
pub fn runtime_for_lists(settings: &Settings) -> Option<Runtime> {
    match Runtime::start(&settings.inference) {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            tracing::warn!(%error, "lists are found by FAISS's slower search");
            None
        }
    }
}

/// How many vectors a factory is trained on when nobody says: 64 for each list, enough for an encoder in any case.
pub fn sample_size(asked: u64, factory: &str) -> u64 {
    match asked {
        0 => (64 * index::named_lists(factory) as u64).max(1 << 19),
        asked => asked,
    }
}
