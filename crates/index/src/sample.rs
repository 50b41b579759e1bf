//! A training sample that is in no index yet: the first backfill trains on what it is about to read.
//!
//! Invariant: the sample lies in a file (as fp16) and is removed with this value, so that its size costs no memory.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::f16;

use crate::IndexError;
use crate::exact::{ExactVectors, check_vector};
use crate::factory::{Factory, named_lists};
use crate::index::FaceIndex;
use crate::progress::TrainProgress;
use crate::train::{CODE_SAMPLE_MIN, TrainParams, train};

/// Vectors a list that a first training takes: more than the 39 that FAISS advises, few enough to be read quickly.
const PER_LIST: u64 = 48;

/// Lists from which this training goes in two levels.
const TWO_LEVELS_FROM: usize = 2_048;

/// Vectors in a file; the ordinal is the row.
pub struct Sample {
    path: PathBuf,
    writer: BufWriter<File>,
    dimension: usize,
    rows: u64,
}

impl Sample {
    fn create(path: &Path, dimension: usize) -> Result<Self, IndexError> {
        let file = File::options().create(true).truncate(true).read(true).write(true).open(path);
        let file = file.map_err(IndexError::io("creating", path))?;
        Ok(Self {
            path: path.to_owned(),
            writer: BufWriter::with_capacity(1 << 20, file),
            dimension,
            rows: 0,
        })
    }

    /// Takes a vector. One of another dimension, or not of unit length, is passed over.
    ///
    /// # Errors
    /// [`IndexError::Io`] if it cannot be written.
    pub fn push(&mut self, vector: &[f32]) -> Result<(), IndexError> {
        if vector.len() != self.dimension || check_vector(0, vector).is_err() {
            return Ok(());
        }
        for value in vector {
            let bytes = f16::from_f32(*value).to_le_bytes();
            self.writer.write_all(&bytes).map_err(IndexError::io("writing", &self.path))?;
        }
        self.rows += 1;
        Ok(())
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        // What stays is removed when the index is opened next.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl ExactVectors for Sample {
    fn vectors(
        &self,
        ordinals: &[u64],
        out: &mut Vec<f32>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        out.clear();
        let length = self.dimension * 2;
        let mut bytes = vec![0; length];
        for ordinal in ordinals {
            self.writer.get_ref().read_exact_at(&mut bytes, ordinal * length as u64)?;
            out.extend(bytes.as_chunks::<2>().0.iter().map(|value| f16::from_le_bytes(*value).to_f32()));
        }
        Ok(())
    }
}

impl FaceIndex {
    /// What an index without a model should be trained to before `expected` vectors come in, and how many of them the
    /// training wants to see; `None` if it stays exact or has a model already.
    ///
    /// # Errors
    /// [`IndexError::Poisoned`].
    pub fn first_training(&self, expected: u64) -> Result<Option<(String, u64)>, IndexError> {
        if self.read_state()?.form.model().is_some() {
            return Ok(None);
        }
        let expected = expected + self.vectors()?;
        let factory = match Factory::parse(&self.config.factory).unwrap_or(Factory::Auto) {
            Factory::Auto if expected > self.config.exact_until => {
                Factory::for_size(expected, self.dimension)
            }
            other => other,
        };
        let Factory::Faiss(text) = factory else { return Ok(None) };
        let lists = named_lists(&text) as u64;
        let wanted = (lists * PER_LIST).max(4 * CODE_SAMPLE_MIN as u64);
        let enough = expected >= (39 * lists).max(CODE_SAMPLE_MIN as u64);
        Ok(enough.then_some((text, wanted)))
    }

    /// Begins a sample beside the index.
    ///
    /// # Errors
    /// [`IndexError::Io`] if the file cannot be made.
    pub fn begin_sample(&self) -> Result<Sample, IndexError> {
        Sample::create(&self.folder.join("model-sample.tmp"), self.dimension)
    }

    /// Trains a factory on a sample and takes what the index has already over into it.
    ///
    /// # Errors
    /// As [`FaceIndex::promote`].
    pub fn train_on(
        &self,
        factory: &str,
        mut sample: Sample,
        exact: &dyn ExactVectors,
        progress: &dyn Fn(&TrainProgress),
    ) -> Result<(), IndexError> {
        sample.writer.flush().map_err(IndexError::io("writing", &sample.path))?;
        let params = TrainParams {
            factory: factory.to_owned(),
            metric: self.config.metric,
            seed: self.config.seed,
            // A backfill waits for this training: two levels cost a fraction of one from here on.
            two_level_from: self.config.two_level_from.min(TWO_LEVELS_FROM),
            checkpoint: Some(self.folder.join("training")),
            runtime: self.runtime.clone(),
            ..TrainParams::default()
        };
        let ordinals: Vec<u64> = (0..sample.rows).collect();
        let model = train(&sample, &ordinals, self.dimension, &params, &self.folder, progress)?;
        drop(sample);
        self.rebuild(Some(Arc::new(model.accelerated(self.runtime.as_ref()))), Some(exact), progress)
    }
}
