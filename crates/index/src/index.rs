//! The index that the pipeline works with.
//!
//! Invariants:
//! - [`FaceIndex::apply`] takes effect as a whole: a search sees all of a log entry or nothing of it.
//! - The live rows are in memory only; [`FaceIndex::applied_sequence`] says from where the store's log must be replayed
//!   after opening. Replaying what is already there changes nothing.
//! - Whatever fails leaves the index as it was.
//! - Lock order: `maintenance`, then `writer`, then `state`.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use inference::Runtime;

use crate::config::IndexConfig;
use crate::exact::check_vector;
use crate::factory::Factory;
use crate::manifest::{self, Manifest};
use crate::model::{Model, ModelFacts};
use crate::native::{self, Native};
use crate::ordinals::{OrdinalSet, check_ordinal};
use crate::rows::{Form, Prepared, Rows};
use crate::segment::Segment;
use crate::{IndexError, Metric};

/// Rows that are no longer added to but not yet on disk.
pub(crate) struct Frozen {
    pub rows: Arc<Rows>,
    pub known: OrdinalSet,
    pub gone: OrdinalSet,
    pub applied: Option<u64>,
}

/// What readers see.
pub(crate) struct State {
    pub form: Form,
    pub sealed: Arc<Vec<Arc<Segment>>>,
    pub frozen: Option<Arc<Rows>>,
    pub live: Rows,
    pub known: OrdinalSet,
    pub gone: OrdinalSet,
    /// How many of `gone` are in no segment and no rows any more.
    pub purged: u64,
    /// The durable index as it was last published, so that nobody who only looks waits for work in progress.
    pub durable: Arc<Manifest>,
}

/// What only one thread at a time changes: segments and manifest.
pub(crate) struct Maintenance {
    pub manifest: Manifest,
    pub known: OrdinalSet,
    pub gone: OrdinalSet,
    pub frozen: Option<Frozen>,
}

/// The last log entry in memory.
pub(crate) struct Writer {
    pub applied: Option<u64>,
}

/// The face index in a folder. One process at a time has it open; all methods may be called from several threads.
pub struct FaceIndex {
    pub(crate) folder: PathBuf,
    pub(crate) dimension: usize,
    pub(crate) config: IndexConfig,
    pub(crate) state: RwLock<State>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) maintenance: Mutex<Maintenance>,
    pub(crate) runtime: Option<Runtime>,
    _lock: File,
}

impl FaceIndex {
    /// Opens the index in a folder, or begins one there.
    ///
    /// # Errors
    /// [`IndexError::Locked`] if another process has it open, [`IndexError::Mismatch`] if it has another dimension or
    /// metric, [`IndexError::Damaged`] if a file is cut off, foreign or missing, [`IndexError::Factory`] if FAISS does
    /// not know the factory.
    pub fn open(
        folder: impl AsRef<Path>,
        dimension: usize,
        config: &IndexConfig,
    ) -> Result<Self, IndexError> {
        Self::open_with(folder, dimension, config, None)
    }

    /// The same with ONNX Runtime at hand, which finds lists several times faster when there are many.
    ///
    /// # Errors
    /// As [`FaceIndex::open`].
    pub fn open_with(
        folder: impl AsRef<Path>,
        dimension: usize,
        config: &IndexConfig,
        runtime: Option<&Runtime>,
    ) -> Result<Self, IndexError> {
        let folder = folder.as_ref();
        let factory = Factory::parse(&config.factory).map_err(|reason| IndexError::Factory {
            factory: config.factory.clone(),
            dimension,
            reason,
        })?;
        if !(2..=4096).contains(&dimension) {
            return Err(IndexError::WrongDimension { expected: 512, found: dimension });
        }
        native::set_threads(config.threads);
        std::fs::create_dir_all(folder).map_err(IndexError::io("creating", folder))?;
        let lock = manifest::lock(folder)?;
        // One that was begun for another model pack and never used binds nobody.
        let fits = |found: &Manifest| found.dimension == dimension && found.metric == config.metric;
        let found = Manifest::read(folder)?.filter(|found| fits(found) || !found.is_untouched());
        let fresh = found.is_none();
        let manifest = found.unwrap_or_else(|| Manifest::empty(dimension, config.metric));
        let mismatch = |found: String, expected: String| {
            Err(IndexError::Mismatch { path: folder.to_owned(), found, expected })
        };
        if manifest.dimension != dimension {
            return mismatch(format!("{} dimensions", manifest.dimension), format!("{dimension}"));
        }
        if manifest.metric != config.metric {
            return mismatch(
                format!("metric {}", manifest.metric.as_str()),
                config.metric.as_str().to_owned(),
            );
        }
        // FAISS is asked once, so that a factory it does not know is refused now and not at the promotion.
        let built = match &factory {
            Factory::Faiss(text) => Some((text, Native::from_factory(text, dimension, config.metric)?)),
            Factory::Auto | Factory::Flat => None,
        };
        let form = match (&manifest.model, built) {
            (Some(id), _) => Form::of(Arc::new(Model::open(folder, id)?.accelerated(runtime))),
            (None, Some((text, mut native))) if fresh && native.shape().is_trained() => {
                native.prepare(config.seed, 1)?;
                let facts = ModelFacts::untrained(text, dimension, config.metric);
                Form::of(Arc::new(Model::save(facts, native, folder)?))
            }
            _ => Form::Flat,
        };
        let mut manifest = manifest;
        if fresh {
            manifest.model = form.model().map(|model| model.facts.id.clone());
            manifest.write(folder)?;
        }
        let sealed = manifest
            .segments
            .iter()
            .map(|entry| Segment::open(&folder.join(&entry.file), &form, dimension).map(Arc::new));
        let sealed = Arc::new(sealed.collect::<Result<Vec<_>, _>>()?);
        let (known, gone) = match &manifest.ordinals {
            Some(name) => manifest::read_ordinals(&folder.join(name))?,
            None => Default::default(),
        };
        manifest.remove_remains(folder)?;
        let state = State {
            live: Rows::new(&form)?,
            form,
            sealed,
            frozen: None,
            known: known.clone(),
            gone: gone.clone(),
            purged: manifest.purged,
            durable: Arc::new(manifest.clone()),
        };
        Ok(Self {
            folder: folder.to_owned(),
            dimension,
            config: config.clone(),
            state: RwLock::new(state),
            writer: Mutex::new(Writer { applied: manifest.applied }),
            maintenance: Mutex::new(Maintenance { manifest, known, gone, frozen: None }),
            runtime: runtime.cloned(),
            _lock: lock,
        })
    }

    pub(crate) fn read_state(&self) -> Result<RwLockReadGuard<'_, State>, IndexError> {
        self.state.read().map_err(|_| IndexError::Poisoned)
    }

    pub(crate) fn write_state(&self) -> Result<RwLockWriteGuard<'_, State>, IndexError> {
        self.state.write().map_err(|_| IndexError::Poisoned)
    }

    pub(crate) fn lock_writer(&self) -> Result<MutexGuard<'_, Writer>, IndexError> {
        self.writer.lock().map_err(|_| IndexError::Poisoned)
    }

    pub(crate) fn lock_maintenance(&self) -> Result<MutexGuard<'_, Maintenance>, IndexError> {
        self.maintenance.lock().map_err(|_| IndexError::Poisoned)
    }

    /// Dimension of the vectors.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Whether faces lie in lists now; not so with exact search, nor in an index that FAISS alone understands.
    ///
    /// # Errors
    /// [`IndexError`] if the index is unusable.
    pub fn has_lists(&self) -> Result<bool, IndexError> {
        Ok(matches!(self.read_state()?.form, Form::Lists(_)))
    }

    /// Metric.
    pub fn metric(&self) -> Metric {
        self.config.metric
    }

    /// The configuration it was opened with.
    pub fn config(&self) -> &IndexConfig {
        &self.config
    }

    /// Vectors that a search can find.
    ///
    /// # Errors
    /// [`IndexError::Poisoned`].
    pub fn vectors(&self) -> Result<u64, IndexError> {
        let state = self.read_state()?;
        Ok(state.stored().saturating_sub(state.gone.len().saturating_sub(state.purged)))
    }

    /// Vectors that are in memory only.
    pub(crate) fn live_rows(&self) -> Result<u64, IndexError> {
        Ok(self.read_state()?.live.len() as u64)
    }

    /// About so many of the stored ordinals, all if there are no more: drawn evenly by a hash of the ordinal, in rising
    /// order.
    pub(crate) fn sample(&self, wanted: u64, seed: u64) -> Result<Vec<u64>, IndexError> {
        let (sealed, frozen, gone, mut ordinals) = {
            let state = self.read_state()?;
            let live = state.live.part().map_or(Ok(Vec::new()), |part| part.ordinals())?;
            (state.sealed.clone(), state.frozen.clone(), state.gone.clone(), live)
        };
        let rows = sealed.iter().map(|segment| segment.rows()).sum::<u64>() + ordinals.len() as u64;
        let share = wanted as f64 / rows.max(1) as f64;
        let chosen =
            |ordinal: u64| !gone.contains(ordinal) && (share >= 1.0 || unit_of(ordinal, seed) < share);
        ordinals.retain(|ordinal| chosen(*ordinal));
        let parts = frozen.iter().filter_map(|rows| rows.part());
        for part in parts.chain(sealed.iter().map(|segment| segment.part())) {
            part.for_each_ordinal(&mut |ordinal| {
                if chosen(ordinal) {
                    ordinals.push(ordinal);
                }
                Ok(())
            })?;
        }
        ordinals.sort_unstable();
        Ok(ordinals)
    }

    /// The last entry of the store's index log that is durable here: replay what comes after it. `None`: replay all.
    ///
    /// # Errors
    /// [`IndexError::Poisoned`].
    pub fn applied_sequence(&self) -> Result<Option<u64>, IndexError> {
        Ok(self.read_state()?.durable.applied)
    }

    /// The last entry of the store's index log that searches see.
    ///
    /// # Errors
    /// [`IndexError::Poisoned`].
    pub fn live_sequence(&self) -> Result<Option<u64>, IndexError> {
        Ok(self.lock_writer()?.applied)
    }

    /// Applies one entry of the store's index log: first the additions, then the removals. An entry that was applied
    /// before, an ordinal that was ever added, and the removal of an ordinal that never was, change nothing. Gives the
    /// number of vectors added.
    ///
    /// # Errors
    /// A vector of wrong dimension, with NaN, zero or not of unit length; a failing coarse assignment. Nothing is
    /// applied then.
    pub fn apply(
        &self,
        sequence: u64,
        added: &[(u64, &[f32])],
        removed: &[u64],
    ) -> Result<usize, IndexError> {
        self.change(Some(sequence), added, removed)
    }

    /// Adds vectors outside the log; see [`FaceIndex::apply`].
    ///
    /// # Errors
    /// As [`FaceIndex::apply`].
    pub fn add(&self, added: &[(u64, &[f32])]) -> Result<usize, IndexError> {
        self.change(None, added, &[])
    }

    /// Removes vectors outside the log; see [`FaceIndex::apply`]. Searches do not find them from now on; they leave the
    /// disk with the next seal or compaction.
    ///
    /// # Errors
    /// [`IndexError::Poisoned`].
    pub fn remove(&self, removed: &[u64]) -> Result<(), IndexError> {
        self.change(None, &[], removed).map(|_| ())
    }

    fn change(
        &self,
        sequence: Option<u64>,
        added: &[(u64, &[f32])],
        removed: &[u64],
    ) -> Result<usize, IndexError> {
        for (row, (ordinal, vector)) in added.iter().enumerate() {
            check_ordinal(*ordinal)?;
            if vector.len() != self.dimension {
                return Err(IndexError::WrongDimension { expected: self.dimension, found: vector.len() });
            }
            check_vector(row, vector)?;
        }
        let mut writer = self.lock_writer()?;
        if let (Some(sequence), Some(applied)) = (sequence, writer.applied)
            && sequence <= applied
        {
            return Ok(0);
        }
        let (mut ordinals, mut vectors) = (Vec::new(), Vec::new());
        let form = {
            let state = self.read_state()?;
            let mut batch = HashSet::new();
            for (ordinal, vector) in added {
                if !state.known.contains(*ordinal) && batch.insert(*ordinal) {
                    ordinals.push(*ordinal);
                    vectors.extend_from_slice(vector);
                }
            }
            state.form.clone()
        };
        // The costly part runs while others search; only this thread writes, so the form stays what it is.
        let prepared = if ordinals.is_empty() { Prepared::Plain } else { form.prepare(&vectors)? };
        let mut state = self.write_state()?;
        if !ordinals.is_empty() {
            state.live.push(&ordinals, &vectors, &prepared)?;
        }
        for ordinal in &ordinals {
            state.known.insert(*ordinal);
        }
        for ordinal in removed {
            if state.known.contains(*ordinal) {
                state.gone.insert(*ordinal);
            }
        }
        writer.applied = sequence.or(writer.applied);
        Ok(ordinals.len())
    }

    /// Whether the ordinal was added and not removed.
    ///
    /// # Errors
    /// [`IndexError::Poisoned`].
    pub fn contains(&self, ordinal: u64) -> Result<bool, IndexError> {
        let state = self.read_state()?;
        Ok(state.known.contains(ordinal) && !state.gone.contains(ordinal))
    }
}

/// A number in 0..1 that belongs to ordinal and seed, evenly spread (the finaliser of SplitMix64).
fn unit_of(ordinal: u64, seed: u64) -> f64 {
    let mut x = ordinal.wrapping_add(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)) as f64 / u64::MAX as f64
}

impl State {
    /// Vectors in segments and rows, deleted ones included.
    pub(crate) fn stored(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|segment| segment.rows()).sum();
        sealed + self.frozen.as_ref().map_or(0, |rows| rows.len() as u64) + self.live.len() as u64
    }
}

impl std::fmt::Debug for FaceIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FaceIndex({}-d in {})", self.dimension, self.folder.display())
    }
}
