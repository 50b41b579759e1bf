//! From one form to another while the index works: promotion from exact search to IVF-PQ, a larger list count, another
//! factory.

use std::sync::Arc;

use crate::IndexError;
use crate::exact::{ExactVectors, drop_missing, read_exact};
use crate::factory::{Factory, named_lists};
use crate::index::{FaceIndex, Maintenance};
use crate::manifest::{SegmentEntry, write_ordinals};
use crate::model::Model;
use crate::ordinals::OrdinalSet;
use crate::progress::TrainProgress;
use crate::rows::{Form, Part, Rows};
use crate::segment::{Segment, Source};
use crate::train::{TrainParams, train};

/// Vectors that are read, assigned and encoded together.
const BATCH: usize = 8192;
/// Vectors of one segment written by a rebuild; its rows are in memory until then.
const SEGMENT_ROWS: usize = 1 << 20;
/// With fewer live rows than this, adding is stopped for the moment that their conversion takes.
const LAST_ROWS: usize = 4096;

/// Vectors for each list that a promotion trains on, where there are so many; more than FAISS advises.
const SAMPLE_PER_LIST: u64 = 64;
/// And at least so many, which train an encoder too.
const SAMPLE_LEAST: u64 = 1 << 19;

impl FaceIndex {
    /// The factory that the index should be promoted to now, if any: what is configured and not there yet, once there
    /// are enough vectors to train it.
    ///
    /// # Errors
    /// [`IndexError::Poisoned`].
    pub fn promotion_due(&self) -> Result<Option<String>, IndexError> {
        let form = self.read_state()?.form.clone();
        let vectors = self.vectors()?;
        let factory = Factory::parse(&self.config.factory).unwrap_or(Factory::Auto);
        let wanted = match factory {
            Factory::Flat => return Ok(form.model().map(|_| "Flat".to_owned())),
            Factory::Faiss(text) => {
                let needed = (39 * named_lists(&text) as u64).max(crate::train::CODE_SAMPLE_MIN as u64);
                (vectors >= needed).then_some(text)
            }
            Factory::Auto if vectors <= self.config.exact_until => None,
            Factory::Auto => match Factory::for_size(vectors, self.dimension) {
                // A model is kept as long as it has at least a quarter of the lists that a new one would get.
                Factory::Faiss(text) if named_lists(&text) >= 4 * named_lists(form.factory()).max(1) => {
                    Some(text)
                }
                Factory::Faiss(text) if form.model().is_none() => Some(text),
                _ => None,
            },
        };
        Ok(wanted.filter(|text| text != form.factory()))
    }

    /// Does what is due: seals, promotes, compacts. Meant to be called again and again from one background thread;
    /// adding and searching go on meanwhile. Gives whether anything was promoted.
    ///
    /// # Errors
    /// As [`FaceIndex::seal`], [`FaceIndex::rebuild`] and [`FaceIndex::compact`].
    pub fn maintain(
        &self,
        exact: &dyn ExactVectors,
        progress: &dyn Fn(&TrainProgress),
    ) -> Result<bool, IndexError> {
        let (live, gone) = {
            let state = self.read_state()?;
            (state.live.len() as u64, state.gone.len())
        };
        // Removals become durable with a seal too: many of them are a reason as well.
        let unsealed = live.max(gone.saturating_sub(self.lock_maintenance()?.gone.len()));
        if unsealed >= self.config.seal_at {
            self.seal()?;
        }
        let due = self.promotion_due()?;
        if let Some(factory) = &due {
            tracing::info!(factory, vectors = self.vectors()?, "promoting the face index");
            self.promote(factory, exact, progress)?;
        }
        self.compact(false, Some(exact))?;
        Ok(due.is_some())
    }

    /// Trains a factory on the vectors of the index and rebuilds the index with it.
    ///
    /// # Errors
    /// As [`train`] and [`FaceIndex::rebuild`].
    pub fn promote(
        &self,
        factory: &str,
        exact: &dyn ExactVectors,
        progress: &dyn Fn(&TrainProgress),
    ) -> Result<(), IndexError> {
        if Factory::parse(factory) == Ok(Factory::Flat) {
            return self.rebuild(None, Some(exact), progress);
        }
        self.seal()?;
        // Of hundreds of millions a sample is enough.
        let wanted = (SAMPLE_PER_LIST * named_lists(factory) as u64).max(SAMPLE_LEAST);
        let ordinals = self.sample(wanted, self.config.seed)?;
        let params = TrainParams {
            factory: factory.to_owned(),
            metric: self.config.metric,
            seed: self.config.seed,
            two_level_from: self.config.two_level_from,
            checkpoint: Some(self.folder.join("training")),
            runtime: self.runtime.clone(),
            ..TrainParams::default()
        };
        let model = train(exact, &ordinals, self.dimension, &params, &self.folder, progress)?;
        self.rebuild(Some(Arc::new(model.accelerated(self.runtime.as_ref()))), Some(exact), progress)
    }

    /// Moves the index to a model that was trained elsewhere, finding lists the quick way where there is a runtime.
    ///
    /// # Errors
    /// As [`FaceIndex::rebuild`].
    pub fn adopt(
        &self,
        model: Model,
        exact: &dyn ExactVectors,
        progress: &dyn Fn(&TrainProgress),
    ) -> Result<(), IndexError> {
        self.rebuild(Some(Arc::new(model.accelerated(self.runtime.as_ref()))), Some(exact), progress)
    }

    /// Builds the index anew with a model (exact search without one) from the exact vectors and swaps it in. An exact
    /// index gives its vectors itself; otherwise `exact` is needed unless the index is empty. Vectors that the store no
    /// longer has are dropped.
    ///
    /// # Errors
    /// [`IndexError::NeedsExact`], [`IndexError::Mismatch`] if the model has another dimension or metric, and as
    /// [`FaceIndex::seal`].
    pub fn rebuild(
        &self,
        model: Option<Arc<Model>>,
        exact: Option<&dyn ExactVectors>,
        progress: &dyn Fn(&TrainProgress),
    ) -> Result<(), IndexError> {
        let form = match model {
            None => Form::Flat,
            Some(model) => {
                let facts = &model.facts;
                if facts.dimension != self.dimension || facts.metric != self.config.metric {
                    return Err(IndexError::Mismatch {
                        path: model.file.clone(),
                        found: format!(
                            "a model of {} dimensions, metric {}",
                            facts.dimension,
                            facts.metric.as_str()
                        ),
                        expected: format!("{}, {}", self.dimension, self.config.metric.as_str()),
                    });
                }
                Form::of(model)
            }
        };
        let report = |done, total| {
            progress(&TrainProgress { phase: "encoding", done, total, fraction: None });
        };
        self.rebuild_held(&mut *self.lock_maintenance()?, &form, exact, &report)
    }

    pub(crate) fn rebuild_held(
        &self,
        held: &mut Maintenance,
        form: &Form,
        exact: Option<&dyn ExactVectors>,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(), IndexError> {
        let form = &self.adopt_model(form)?;
        let mut build = Build {
            index: self,
            form,
            exact,
            rows: Rows::new(form)?,
            files: Vec::new(),
            segments: Vec::new(),
            dropped: 0,
            lost: Vec::new(),
            generation: held.manifest.generation,
        };
        let mut converted = 0;
        // What was sealed while earlier segments were converted is converted in the next round.
        loop {
            self.seal_held(held)?;
            let sealed = self.read_state()?.sealed.clone();
            let total: u64 = sealed.iter().map(|segment| segment.rows()).sum();
            for segment in &sealed[converted..] {
                build.take(&segment.part(), &held.gone, &|done| progress(done, total))?;
            }
            converted = sealed.len();
            if self.read_state()?.live.len() <= LAST_ROWS {
                break;
            }
        }
        build.flush()?;
        let writer = self.lock_writer()?;
        let mut last = Rows::new(form)?;
        let mut lost_live = Vec::new();
        if let Some(part) = self.read_state()?.live.part() {
            let mut sink =
                |ordinals: &[u64], vectors: &[f32]| last.push(ordinals, vectors, &form.prepare(vectors)?);
            lost_live = build.convert(&part, &OrdinalSet::default(), &mut sink)?.1;
        }
        let mut next = held.manifest.clone();
        next.generation += 1;
        next.model = form.model().map(|model| model.facts.id.clone());
        next.segments = build.files;
        let mut gone = held.gone.clone();
        build.lost.iter().for_each(|ordinal| {
            gone.insert(*ordinal);
        });
        next.purged += build.dropped + build.lost.len() as u64;
        let name = format!("ordinals-{}.bits", next.generation);
        write_ordinals(&self.folder.join(&name), &held.known, &gone)?;
        next.ordinals = Some(name);
        next.write(&self.folder)?;
        next.remove_replaced(&held.manifest, &self.folder);
        next.purged += lost_live.len() as u64;
        (held.gone, held.manifest) = (gone, next);
        let mut state = self.write_state()?;
        state.form = form.clone();
        state.sealed = Arc::new(build.segments);
        state.live = last;
        state.purged = held.manifest.purged;
        state.durable = Arc::new(held.manifest.clone());
        for ordinal in build.lost.into_iter().chain(lost_live) {
            state.gone.insert(ordinal);
        }
        drop(state);
        drop(writer);
        Ok(())
    }

    /// Brings a model that lies elsewhere into the folder.
    fn adopt_model(&self, form: &Form) -> Result<Form, IndexError> {
        let Some(model) = form.model() else { return Ok(Form::Flat) };
        let file = self.folder.join(Model::file_name(&model.facts.id));
        if model.file == file {
            return Ok(form.clone());
        }
        tracing::debug!(model = %model.facts.id, "copying a model into the index folder");
        for extension in ["faiss", "json"] {
            let (from, to) = (model.file.with_extension(extension), file.with_extension(extension));
            crate::files::write_durably(&to, |writer| {
                let mut source = std::fs::File::open(&from).map_err(IndexError::io("opening", &from))?;
                std::io::copy(&mut source, writer).map(|_| ()).map_err(IndexError::io("copying", &from))
            })?;
        }
        let copied = Model::open(&self.folder, &model.facts.id)?.accelerated(self.runtime.as_ref());
        Ok(Form::of(Arc::new(copied)))
    }
}

/// Takes ordinals and their vectors.
type Sink<'a> = dyn FnMut(&[u64], &[f32]) -> Result<(), IndexError> + 'a;

/// The segments of the new form while they are made.
struct Build<'a> {
    index: &'a FaceIndex,
    form: &'a Form,
    exact: Option<&'a dyn ExactVectors>,
    rows: Rows,
    files: Vec<SegmentEntry>,
    segments: Vec<Arc<Segment>>,
    /// Deleted vectors that were left out.
    dropped: u64,
    /// Ordinals whose vectors the store no longer has.
    lost: Vec<u64>,
    /// Names the files: that of the manifest when the rebuild began.
    generation: u64,
}

impl Build<'_> {
    fn take(&mut self, part: &Part<'_>, gone: &OrdinalSet, progress: &dyn Fn(u64)) -> Result<(), IndexError> {
        let form = self.form.clone();
        let mut rows = std::mem::replace(&mut self.rows, Rows::new(&form)?);
        let (mut files, mut segments) = (std::mem::take(&mut self.files), std::mem::take(&mut self.segments));
        let before: u64 = segments.iter().map(|segment| segment.rows()).sum();
        let mut done = before + rows.len() as u64;
        let result = self.convert(part, gone, &mut |ordinals, vectors| {
            rows.push(ordinals, vectors, &form.prepare(vectors)?)?;
            done += ordinals.len() as u64;
            progress(done);
            if rows.len() >= SEGMENT_ROWS {
                let full = std::mem::replace(&mut rows, Rows::new(&form)?);
                self.write(&full, &mut files, &mut segments)?;
            }
            Ok(())
        });
        (self.rows, self.files, self.segments) = (rows, files, segments);
        let (dropped, lost) = result?;
        self.dropped += dropped;
        self.lost.extend(lost);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), IndexError> {
        let rows = std::mem::replace(&mut self.rows, Rows::new(self.form)?);
        let (mut files, mut segments) = (std::mem::take(&mut self.files), std::mem::take(&mut self.segments));
        let result = self.write(&rows, &mut files, &mut segments);
        (self.files, self.segments) = (files, segments);
        result
    }

    fn write(
        &self,
        rows: &Rows,
        files: &mut Vec<SegmentEntry>,
        segments: &mut Vec<Arc<Segment>>,
    ) -> Result<(), IndexError> {
        let Some(part) = rows.part() else { return Ok(()) };
        let name = format!("segment-{}-{}.seg", self.generation, files.len());
        let path = self.index.folder.join(&name);
        let none = OrdinalSet::default();
        let source = Source { part, gone: &none, offset: 0 };
        let written = Segment::write(&path, self.form, self.index.dimension, &[source])?;
        segments.push(Arc::new(Segment::open(&path, self.form, self.index.dimension)?));
        files.push(SegmentEntry { file: name, checksum: format!("{:016x}", written.checksum) });
        Ok(())
    }

    /// Gives the exact vectors of a part in batches; returns how many were left out as deleted, and the ordinals whose
    /// vectors the store no longer has.
    fn convert(
        &self,
        part: &Part<'_>,
        gone: &OrdinalSet,
        sink: &mut Sink<'_>,
    ) -> Result<(u64, Vec<u64>), IndexError> {
        let d = self.index.dimension;
        let (mut dropped, mut lost) = (0, Vec::new());
        if let Part::Flat { ordinals, vectors } = part {
            for (ordinals, vectors) in ordinals.chunks(BATCH).zip(vectors.chunks(BATCH * d)) {
                let (mut kept, mut values) = (Vec::new(), Vec::new());
                for (ordinal, vector) in ordinals.iter().zip(vectors.chunks_exact(d)) {
                    if !gone.contains(*ordinal) {
                        kept.push(*ordinal);
                        values.extend_from_slice(vector);
                    }
                }
                dropped += (ordinals.len() - kept.len()) as u64;
                if !kept.is_empty() {
                    sink(&kept, &values)?;
                }
            }
            return Ok((dropped, lost));
        }
        let exact = self.exact.ok_or(IndexError::NeedsExact("rebuilding an index that keeps codes only"))?;
        let mut all = part.ordinals()?;
        let before = all.len();
        all.retain(|ordinal| !gone.contains(*ordinal));
        dropped += (before - all.len()) as u64;
        all.sort_unstable();
        let mut values = Vec::new();
        for ordinals in all.chunks(BATCH) {
            let mut ordinals = ordinals.to_vec();
            read_exact(exact, d, &ordinals, &mut values)?;
            lost.extend(drop_missing(d, &mut ordinals, &mut values));
            crate::exact::check_vectors(d, &values)?;
            if !ordinals.is_empty() {
                sink(&ordinals, &values)?;
            }
        }
        Ok((dropped, lost))
    }
}
