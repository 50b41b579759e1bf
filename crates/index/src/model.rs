//! A trained model: transforms, coarse centroids and encoder, without vectors, and what was measured about it.
//!
//! Invariants:
//! - A model never changes; segments name the one they were made with and are refused under another.
//! - On disk it is `model-<id>.faiss` (a plain FAISS index without vectors) and `model-<id>.json` ([`ModelFacts`]). The
//!   id is the checksum of the first, so a damaged or foreign file is recognised before FAISS reads it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use inference::Runtime;
use serde::{Deserialize, Serialize};

use crate::coarse::{CoarseAssigner, FaissAssigner, OnnxAssigner, WORTHWHILE_LISTS};
use crate::files::{checksum_of, sync_folder_of, write_durably};
use crate::native::Native;
use crate::{IndexError, Metric};

/// How raw scores translate into cosines: `cosine = slope * raw + offset`.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Calibration {
    /// Slope of the fitted line.
    pub slope: f32,
    /// Its offset.
    pub offset: f32,
    /// Standard deviation of the estimated cosine from the exact one.
    pub error: f32,
}

impl Calibration {
    /// Of scores that are exact: inner products are cosines; for L2 the raw score is the negative squared distance.
    pub const fn exact(metric: Metric) -> Self {
        match metric {
            Metric::Ip => Self { slope: 1.0, offset: 0.0, error: 0.0 },
            Metric::L2 => Self { slope: 0.5, offset: 1.0, error: 0.0 },
        }
    }

    /// The cosine that a raw score stands for.
    pub fn cosine(&self, raw: f32) -> f32 {
        self.slope * raw + self.offset
    }

    /// The raw score that a cosine stands for.
    pub fn raw(&self, cosine: f32) -> f32 {
        (cosine - self.offset) / self.slope
    }
}

/// One point of the recall card.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct RecallPoint {
    /// Cosine of query and stored vector.
    pub cosine: f32,
    /// Lists visited.
    pub nprobe: usize,
    /// Share of the stored vectors whose list was among them.
    pub recall: f32,
}

/// What is known about a model.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Checksum of the FAISS file, as 16 hexadecimal digits.
    pub id: String,
    /// Factory string in canonical form.
    pub factory: String,
    /// Metric.
    pub metric: Metric,
    /// Dimension of the vectors.
    pub dimension: usize,
    /// Vectors it was trained on.
    pub trained_on: u64,
    /// What was wrong with the training, in a sentence; `None` if nothing was.
    pub warning: Option<String>,
    /// Raw score to cosine.
    pub calibration: Calibration,
    /// List recall by cosine and nprobe, on vectors that were not trained on. Empty without lists.
    pub card: Vec<RecallPoint>,
}

/// A trained model in memory.
pub struct Model {
    pub(crate) facts: ModelFacts,
    pub(crate) native: Arc<Native>,
    pub(crate) coarse: Arc<dyn CoarseAssigner>,
    /// Where it lies; segments without plain lists start from a fresh copy of it.
    pub(crate) file: PathBuf,
}

impl Model {
    /// Writes the trained index and its facts into a folder and opens them there.
    pub(crate) fn save(mut facts: ModelFacts, native: Native, folder: &Path) -> Result<Self, IndexError> {
        let draft = folder.join("model.draft.tmp");
        native.write(&draft)?;
        let sync = |path: &Path| std::fs::File::open(path).and_then(|file| file.sync_all());
        sync(&draft).map_err(IndexError::io("syncing", &draft))?;
        facts.id = format!("{:016x}", checksum_of(&draft)?);
        let file = folder.join(Self::file_name(&facts.id));
        std::fs::rename(&draft, &file).map_err(IndexError::io("renaming", &draft))?;
        write_facts(&file, &facts)?;
        sync_folder_of(&file)?;
        Ok(Self::assemble(facts, native, file))
    }

    /// Opens a model in a folder.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if a file is missing, cut off or another than its name says.
    pub fn open(folder: &Path, id: &str) -> Result<Self, IndexError> {
        let file = folder.join(Self::file_name(id));
        let facts_file = file.with_extension("json");
        let text = std::fs::read(&facts_file)
            .map_err(|error| IndexError::damaged(&facts_file, format!("it cannot be read ({error})")))?;
        let facts: ModelFacts = serde_json::from_slice(&text)
            .map_err(|error| IndexError::damaged(&facts_file, error.to_string()))?;
        let found = format!("{:016x}", checksum_of(&file)?);
        if facts.id != id || found != id {
            return Err(IndexError::damaged(&file, format!("its checksum is {found} and not {id}")));
        }
        let native = Native::read(&file)?;
        let shape = native.shape();
        if shape.dimension != facts.dimension as u64 || shape.metric() != facts.metric || !shape.is_trained()
        {
            return Err(IndexError::damaged(&file, "its shape is not the one its facts tell"));
        }
        Ok(Self::assemble(facts, native, file))
    }

    fn assemble(facts: ModelFacts, native: Native, file: PathBuf) -> Self {
        let native = Arc::new(native);
        let coarse = Arc::new(FaissAssigner::new(native.clone()));
        Self { facts, native, coarse, file }
    }

    /// The name of a model's FAISS file.
    pub(crate) fn file_name(id: &str) -> String {
        format!("model-{id}.faiss")
    }

    /// What is known about it.
    pub fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    /// Lists, 0 without.
    pub fn lists(&self) -> usize {
        self.native.shape().lists as usize
    }

    /// The smallest measured nprobe whose list recall for copies (cosine .9) reaches the target; the largest measured
    /// one if none does.
    pub fn tuned_nprobe(&self, target: f32) -> usize {
        let copies = || self.facts.card.iter().filter(|point| (point.cosine - 0.9).abs() < 1e-3);
        let reached = copies().filter(|point| point.recall >= target).map(|point| point.nprobe).min();
        reached
            .or_else(|| copies().map(|point| point.nprobe).max())
            .unwrap_or(64)
            .clamp(1, self.lists().max(1))
    }

    /// Finds lists by a graph in ONNX Runtime where there is a runtime and that is worth it: inner product, an exact
    /// quantizer, many lists. If ONNX Runtime refuses the graph, FAISS's own search is kept, with a warning.
    pub fn accelerated(mut self, runtime: Option<&Runtime>) -> Self {
        let shape = self.native.shape();
        let worthwhile = self.lists() >= WORTHWHILE_LISTS
            && self.facts.metric == Metric::Ip
            && shape.has_plain_lists()
            && shape.has_flat_quantizer();
        if let (true, Some(runtime)) = (worthwhile, runtime) {
            match OnnxAssigner::new(self.native.clone(), runtime) {
                Ok(assigner) => self.coarse = Arc::new(assigner),
                Err(error) => tracing::warn!(%error, "lists are found by FAISS's slower search"),
            }
        }
        self
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Model({} {})", self.facts.factory, self.facts.id)
    }
}

impl ModelFacts {
    /// Of a factory that needs no training.
    pub(crate) fn untrained(factory: &str, dimension: usize, metric: Metric) -> Self {
        Self {
            id: String::new(),
            factory: factory.to_owned(),
            metric,
            dimension,
            trained_on: 0,
            warning: None,
            calibration: Calibration::exact(metric),
            card: Vec::new(),
        }
    }
}

impl Model {
    /// The same model with other facts, on disk too.
    pub(crate) fn with_facts(&self, facts: ModelFacts) -> Result<Self, IndexError> {
        write_facts(&self.file, &facts)?;
        let (native, coarse) = (self.native.clone(), self.coarse.clone());
        Ok(Self { facts, native, coarse, file: self.file.clone() })
    }
}

fn write_facts(model_file: &Path, facts: &ModelFacts) -> Result<(), IndexError> {
    let path = model_file.with_extension("json");
    let json =
        serde_json::to_vec_pretty(facts).map_err(|error| IndexError::damaged(&path, error.to_string()))?;
    write_durably(&path, |writer| {
        std::io::Write::write_all(writer, &json).map_err(IndexError::io("writing", &path))
    })
}
