//! Blocks: index folders filled from files, apart from any store, to be merged later.
//!
//! Invariants:
//! - Row `r` of a file becomes the ordinal `first_ordinal + r - first_row` of its [`SourceEntry`], so an ordinal can be
//!   traced back to its row. A row without a vector leaves its ordinal unused.
//! - A piece of a file (codes, exact vectors, origin) becomes durable by one manifest. After an interruption
//!   [`FaceIndex::filled_rows`] says where to go on.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use inference::Runtime;

use crate::config::IndexConfig;
use crate::exact::{ExactVectors, check_vectors, drop_missing};
use crate::index::{FaceIndex, Maintenance};
use crate::manifest::{Manifest, SegmentEntry, SourceEntry, write_ordinals};
use crate::model::Model;
use crate::ordinals::{OrdinalSet, check_ordinal};
use crate::rows::{Form, Rows};
use crate::segment::{Segment, Source};
use crate::vector_file::{VectorFile, VectorSink, runs};
use crate::{IndexError, Metric};

/// Rows of one piece: their codes are in memory until the piece is written.
const PIECE_ROWS: u64 = 1 << 20;

/// Gives the next rows of a file: replaces the buffer by whole vectors, zeros for a row that has none, and says whether
/// there were any.
pub type NextRows<'a> = dyn FnMut(&mut Vec<f32>) -> Result<bool, Box<dyn Error + Send + Sync>> + 'a;

/// The exact vectors that the folder of a block keeps.
pub struct KeptVectors {
    dimension: usize,
    /// By first ordinal.
    files: BTreeMap<u64, VectorFile>,
}

impl ExactVectors for KeptVectors {
    fn vectors(&self, ordinals: &[u64], out: &mut Vec<f32>) -> Result<(), Box<dyn Error + Send + Sync>> {
        out.clear();
        for run in runs(ordinals) {
            let mut at = run.start;
            while at < run.end {
                let found = self.files.range(..=at).next_back();
                let next = self.files.range(at + 1..).next().map_or(run.end, |(first, _)| *first);
                let end = run.end.min(next);
                match found {
                    Some((first, file)) => file.read_rows(at - first, (end - at) as usize, out)?,
                    None => out.resize(out.len() + (end - at) as usize * self.dimension, 0.0),
                }
                at = end;
            }
        }
        Ok(())
    }
}

impl FaceIndex {
    /// Opens a folder that holds an index, with the dimension and metric it was made with.
    ///
    /// # Errors
    /// [`IndexError::Missing`] if it holds none, and as [`FaceIndex::open`].
    pub fn open_existing(
        folder: impl AsRef<Path>,
        config: &IndexConfig,
        runtime: Option<&Runtime>,
    ) -> Result<Self, IndexError> {
        let folder = folder.as_ref();
        let manifest = match folder.is_dir() {
            true => Manifest::read(folder)?,
            false => None,
        };
        let Some(Manifest { dimension, metric, .. }) = manifest else {
            return Err(IndexError::Missing(folder.to_owned()));
        };
        let config = IndexConfig { metric, factory: "auto".into(), ..config.clone() };
        Self::open_with(folder, dimension, &config, runtime)
    }

    /// Begins an empty block with a model (exact search without one) in a folder that holds no index.
    ///
    /// # Errors
    /// [`IndexError::Exists`], and as [`FaceIndex::open`].
    pub fn begin(
        folder: &Path,
        dimension: usize,
        metric: Metric,
        model: Option<Arc<Model>>,
        config: &IndexConfig,
    ) -> Result<Self, IndexError> {
        if folder.is_dir() && Manifest::read(folder)?.is_some() {
            return Err(IndexError::Exists(folder.to_owned()));
        }
        let config = IndexConfig { metric, factory: "Flat".into(), ..config.clone() };
        let block = Self::open(folder, dimension, &config)?;
        if model.is_some() {
            block.rebuild(model, None, &|_| {})?;
        }
        Ok(block)
    }

    /// The model in force; `None` for exact search.
    ///
    /// # Errors
    /// [`IndexError::Poisoned`].
    pub fn model(&self) -> Result<Option<Arc<Model>>, IndexError> {
        Ok(self.read_state()?.form.model().cloned())
    }

    /// How many rows of a file are in the block already, durably.
    ///
    /// # Errors
    /// [`IndexError::Poisoned`].
    pub fn filled_rows(&self, source: &str) -> Result<u64, IndexError> {
        let state = self.read_state()?;
        let own = state.durable.sources.iter().filter(|entry| entry.name == source);
        Ok(own.map(|entry| entry.first_row + entry.rows).max().unwrap_or(0))
    }

    /// The row an ordinal came from: name of the file and row in it.
    ///
    /// # Errors
    /// [`IndexError::Poisoned`].
    pub fn origin_of(&self, ordinal: u64) -> Result<Option<(String, u64)>, IndexError> {
        let state = self.read_state()?;
        let entry = state
            .durable
            .sources
            .iter()
            .find(|entry| (entry.first_ordinal..entry.first_ordinal + entry.rows).contains(&ordinal));
        Ok(entry.map(|entry| (entry.name.clone(), entry.first_row + ordinal - entry.first_ordinal)))
    }

    /// The exact vectors that were kept when files were filled in; `None` if some were not.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if a file of them is cut off or missing.
    pub fn kept_vectors(&self) -> Result<Option<KeptVectors>, IndexError> {
        let sources = self.read_state()?.durable.sources.clone();
        let mut files = BTreeMap::new();
        for source in &sources {
            let Some(name) = &source.vectors else { return Ok(None) };
            let path = self.folder.join(name);
            let file = VectorFile::open(&path)?;
            if file.dimension() != self.dimension || file.rows() != source.rows {
                return Err(IndexError::damaged(&path, "it holds other vectors than the manifest says"));
            }
            files.insert(source.first_ordinal, file);
        }
        Ok((!files.is_empty()).then_some(KeptVectors { dimension: self.dimension, files }))
    }

    /// Adds the rows of a file from `first_row` on, in durable pieces; gives the number of vectors. `keep` keeps the exact
    /// vectors too, in half precision. `progress` is told the rows done.
    ///
    /// # Errors
    /// [`IndexError::Row`] names a row that is no embedding: pieces before it stay, nothing of the last piece does.
    /// [`IndexError::FollowsStore`] for the index of a state, [`IndexError::Exact`] if rows cannot be read, and as
    /// [`FaceIndex::seal`].
    pub fn fill(
        &self,
        source: &str,
        first_row: u64,
        keep: bool,
        next: &mut NextRows<'_>,
        progress: &dyn Fn(u64),
    ) -> Result<u64, IndexError> {
        let mut first_ordinal = self.next_ordinal()?;
        let mut held = self.lock_maintenance()?;
        self.seal_held(&mut held)?;
        if held.manifest.applied.is_some() {
            return Err(IndexError::FollowsStore(self.folder.clone()));
        }
        let form = self.read_state()?.form.clone();
        let (mut row, mut added) = (first_row, 0);
        let mut batch = Vec::new();
        while next(&mut batch).map_err(IndexError::Exact)? {
            let mut piece = Piece {
                index: self,
                form: &form,
                source,
                first_row: row,
                first_ordinal,
                taken: 0,
                rows: Rows::new(&form)?,
                known: held.known.clone(),
            };
            added += piece.fill(&mut held, keep, &mut batch, next, progress)?;
            row += piece.taken;
            first_ordinal += piece.taken;
        }
        Ok(added)
    }
}

/// A run of rows on its way to become durable.
struct Piece<'a> {
    index: &'a FaceIndex,
    form: &'a Form,
    source: &'a str,
    first_row: u64,
    first_ordinal: u64,
    taken: u64,
    rows: Rows,
    known: OrdinalSet,
}

impl Piece<'_> {
    /// Takes rows, the first of which are in `batch`, until the piece is full or there are no more, and publishes them.
    fn fill(
        &mut self,
        held: &mut Maintenance,
        keep: bool,
        batch: &mut Vec<f32>,
        next: &mut NextRows<'_>,
        progress: &dyn Fn(u64),
    ) -> Result<u64, IndexError> {
        let index = self.index;
        let folder = &index.folder;
        let mut manifest = held.manifest.clone();
        manifest.generation += 1;
        let vectors = keep.then(|| format!("vectors-{}.f16", manifest.generation));
        let mut take = |sink: Option<&mut VectorSink<'_>>| {
            let mut sink = sink;
            loop {
                self.take(batch, sink.as_deref_mut())?;
                progress(self.first_row + self.taken);
                if self.taken >= PIECE_ROWS || !next(batch).map_err(IndexError::Exact)? {
                    return Ok(());
                }
            }
        };
        match &vectors {
            Some(name) => {
                VectorFile::write(&folder.join(name), index.dimension, |sink| take(Some(sink)))?;
            }
            None => take(None)?,
        }
        let mut sealed = index.read_state()?.sealed.to_vec();
        let mut content = 0;
        let added = self.rows.len() as u64;
        if let Some(part) = self.rows.part() {
            let name = format!("segment-{}.seg", manifest.generation);
            let path = folder.join(&name);
            let none = OrdinalSet::default();
            let source = Source { part, gone: &none, offset: 0 };
            content = Segment::write(&path, self.form, index.dimension, &[source])?.checksum;
            sealed.push(Arc::new(Segment::open(&path, self.form, index.dimension)?));
            manifest.segments.push(SegmentEntry { file: name, checksum: format!("{content:016x}") });
        }
        manifest.sources.push(SourceEntry {
            name: self.source.to_owned(),
            first_row: self.first_row,
            first_ordinal: self.first_ordinal,
            rows: self.taken,
            content: format!("{content:016x}"),
            vectors,
        });
        let name = format!("ordinals-{}.bits", manifest.generation);
        let _writer = index.lock_writer()?;
        if index.read_state()?.live.len() > 0 {
            // Two ways of adding at once would give one ordinal to two faces.
            return Err(IndexError::FollowsStore(folder.clone()));
        }
        write_ordinals(&folder.join(&name), &self.known, &held.gone)?;
        manifest.ordinals = Some(name);
        manifest.write(folder)?;
        let mut state = index.write_state()?;
        state.sealed = Arc::new(sealed);
        state.known = self.known.clone();
        state.durable = Arc::new(manifest.clone());
        drop(state);
        manifest.remove_replaced(&held.manifest, folder);
        (held.known, held.manifest) = (self.known.clone(), manifest);
        Ok(added)
    }

    fn take(&mut self, batch: &mut Vec<f32>, sink: Option<&mut VectorSink<'_>>) -> Result<(), IndexError> {
        let d = self.index.dimension;
        let first = self.first_row + self.taken;
        let wrong = |row: usize, error: IndexError| {
            let reason = match error {
                IndexError::InvalidVector { source, .. } => source.to_string(),
                IndexError::NotUnitLength { norm, .. } => format!("its length is {norm} and not 1"),
                other => other.to_string(),
            };
            IndexError::Row { file: self.source.to_owned(), row: first + row as u64, reason }
        };
        if !batch.len().is_multiple_of(d) {
            return Err(wrong(0, IndexError::WrongDimension { expected: d, found: batch.len() }));
        }
        let rows = batch.len() / d;
        for (row, vector) in batch.chunks_exact(d).enumerate() {
            if vector.iter().any(|value| *value != 0.0) {
                check_vectors(d, vector).map_err(|error| wrong(row, error))?;
            }
        }
        if let Some(sink) = sink {
            sink.push(batch)?;
        }
        let from = self.first_ordinal + self.taken;
        check_ordinal(from + rows as u64)?;
        let mut ordinals: Vec<u64> = (from..from + rows as u64).collect();
        drop_missing(d, &mut ordinals, batch);
        if !ordinals.is_empty() {
            self.rows.push(&ordinals, batch, &self.form.prepare(batch)?)?;
        }
        for ordinal in ordinals {
            self.known.insert(ordinal);
        }
        self.taken += rows as u64;
        Ok(())
    }
}
