//! What the index is made of, for `facering index info`.

use serde::Serialize;

use crate::IndexError;
use crate::index::FaceIndex;
use crate::manifest::SourceEntry;
use crate::model::ModelFacts;
use crate::rows::Part;
use crate::search_card::SearchCard;
use crate::vector_file::VectorFile;

/// Sizes and state of an index.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct IndexInfo {
    /// Factory string in force.
    pub factory: String,
    /// Metric.
    pub metric: crate::Metric,
    /// Dimension.
    pub dimension: usize,
    /// Vectors that a search can find.
    pub vectors: u64,
    /// Of them in memory only.
    pub live: u64,
    /// Inverted lists; 0 without.
    pub lists: usize,
    /// How unevenly vectors lie in lists: 1 is even, 2 means twice the work a query (FAISS's imbalance factor,
    /// `lists * sum(size^2) / sum(size)^2`). `None` without lists or vectors.
    pub imbalance: Option<f64>,
    /// Lists visited a query.
    pub nprobe: usize,
    /// How lists are found: `faiss` or `onnx`.
    pub assigner: Option<&'static str>,
    /// Sealed segments.
    pub segments: usize,
    /// Deleted vectors that still take space.
    pub tombstones: u64,
    /// Bytes of all files.
    pub bytes_on_disk: u64,
    /// Of them sealed codes and ordinals.
    pub bytes_of_segments: u64,
    /// The bitmaps of ordinals ever added and deleted.
    pub bytes_of_ordinals: u64,
    /// Centroids and encoder.
    pub bytes_of_model: u64,
    /// Exact vectors that were kept when files were filled in.
    pub bytes_of_vectors: u64,
    /// Bytes in memory: centroids, live rows, tombstones, segments that cannot be mapped. Mapped segments are not
    /// counted; the system keeps of them what fits.
    pub bytes_in_memory: u64,
    /// Last entry of the store's log that is durable here.
    pub applied_sequence: Option<u64>,
    /// BLAS in use.
    pub blas: Option<String>,
    /// The model with its calibration and recall card; `None` for exact search.
    pub model: Option<ModelFacts>,
    /// What searching was worth when it was last measured on this index.
    pub measured: Option<SearchCard>,
    /// Where the vectors came from, for an index that was filled from files.
    pub sources: Vec<SourceEntry>,
}

impl FaceIndex {
    /// Sizes and state.
    ///
    /// # Errors
    /// [`IndexError::Io`] if a file cannot be seen.
    pub fn info(&self) -> Result<IndexInfo, IndexError> {
        let applied_sequence = self.applied_sequence()?;
        let vectors = self.vectors()?;
        let sources = self.read_state()?.durable.sources.clone();
        let (mut on_disk, mut of_ordinals, mut of_model, mut of_vectors) = (0, 0, 0, 0);
        for entry in std::fs::read_dir(&self.folder).map_err(IndexError::io("listing", &self.folder))? {
            let entry = entry.map_err(IndexError::io("listing", &self.folder))?;
            // A file may be replaced while this runs.
            let bytes = entry.metadata().map_or(0, |facts| if facts.is_file() { facts.len() } else { 0 });
            on_disk += bytes;
            match entry.file_name().to_string_lossy().split('-').next() {
                Some("ordinals") => of_ordinals += bytes,
                Some("model") => of_model += bytes,
                Some("vectors") => of_vectors += bytes,
                _ => {}
            }
        }
        let state = self.read_state()?;
        let lists = state.form.model().map_or(0, |model| model.lists());
        let mut sizes = vec![0u64; lists];
        let rows = state.frozen.iter().filter_map(|rows| rows.part()).chain(state.live.part());
        for part in rows.chain(state.sealed.iter().map(|segment| segment.part())) {
            if let Part::Lists(view) = part {
                for (list, size) in sizes.iter_mut().enumerate() {
                    *size += view.list_len(list) as u64;
                }
            }
        }
        let total: f64 = sizes.iter().map(|size| *size as f64).sum();
        let squares: f64 = sizes.iter().map(|size| (*size as f64).powi(2)).sum();
        let in_memory = state.live.bytes()
            + state.frozen.as_ref().map_or(0, |rows| rows.bytes())
            + 2 * (state.known.bytes() + state.gone.bytes())
            + state.sealed.iter().map(|segment| segment.resident_bytes()).sum::<u64>()
            + state
                .form
                .model()
                .map_or(0, |model| std::fs::metadata(&model.file).map_or(0, |facts| facts.len()));
        Ok(IndexInfo {
            factory: state.form.factory().to_owned(),
            metric: self.config.metric,
            dimension: self.dimension,
            vectors,
            live: state.live.len() as u64,
            lists,
            imbalance: (total > 0.0).then(|| lists as f64 * squares / (total * total)),
            nprobe: self.nprobe(&state.form).min(lists.max(1)),
            assigner: state.form.model().filter(|_| lists > 0).map(|model| model.coarse.name()),
            segments: state.sealed.len(),
            tombstones: state.gone.len().saturating_sub(state.purged),
            bytes_on_disk: on_disk,
            bytes_of_segments: state.sealed.iter().map(|segment| segment.bytes()).sum(),
            bytes_of_ordinals: of_ordinals,
            bytes_of_model: of_model,
            bytes_of_vectors: of_vectors,
            bytes_in_memory: in_memory,
            applied_sequence,
            blas: crate::native::blas(),
            model: state.form.model().map(|model| model.facts.clone()),
            measured: self.saved_card(),
            sources,
        })
    }

    /// Reads every sealed segment and every file of kept vectors and compares them with their checksums.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] names the first file that differs.
    pub fn verify(&self) -> Result<(), IndexError> {
        let held = self.lock_maintenance()?;
        let sealed = self.read_state()?.sealed.clone();
        for (segment, entry) in sealed.iter().zip(&held.manifest.segments) {
            let checksum = u64::from_str_radix(&entry.checksum, 16)
                .map_err(|_| IndexError::damaged(&segment.path, "the manifest has no checksum for it"))?;
            segment.verify(checksum)?;
        }
        for name in held.manifest.sources.iter().filter_map(|source| source.vectors.as_ref()) {
            VectorFile::open(&self.folder.join(name))?.verify()?;
        }
        Ok(())
    }
}
