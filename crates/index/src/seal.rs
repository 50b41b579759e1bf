//! Sealing the live rows and merging segments.
//!
//! Invariant: a manifest is written only when every file it names is durable, and readers get the new segments only
//! after that; files that it no longer names are removed last. A crash at any point leaves the old index or the new.

use std::sync::Arc;

use crate::IndexError;
use crate::exact::ExactVectors;
use crate::index::{FaceIndex, Frozen, Maintenance};
use crate::manifest::{SegmentEntry, write_ordinals};
use crate::rows::{Form, Rows};
use crate::segment::{Segment, Source};

impl FaceIndex {
    /// Writes the live rows to disk as a segment. Afterwards [`FaceIndex::applied_sequence`] has caught up with what
    /// had been applied when the call began. Adding and searching go on meanwhile.
    ///
    /// # Errors
    /// [`IndexError::Io`] if the disk is full or fails; the rows stay in memory and searchable, and the next call
    /// tries again.
    pub fn seal(&self) -> Result<(), IndexError> {
        self.seal_held(&mut *self.lock_maintenance()?)
    }

    pub(crate) fn seal_held(&self, held: &mut Maintenance) -> Result<(), IndexError> {
        // Rows left frozen by a failed attempt come first: log entries must become durable in order.
        if held.frozen.is_some() {
            self.write_frozen(held)?;
        }
        {
            let writer = self.lock_writer()?;
            let mut state = self.write_state()?;
            let unchanged = state.live.len() == 0
                && writer.applied == held.manifest.applied
                && state.gone.len() == held.gone.len();
            if unchanged {
                return Ok(());
            }
            let empty = Rows::new(&state.form)?;
            let rows = Arc::new(std::mem::replace(&mut state.live, empty));
            state.frozen = Some(rows.clone());
            let (known, gone) = (state.known.clone(), state.gone.clone());
            held.frozen = Some(Frozen { rows, known, gone, applied: writer.applied });
        }
        self.write_frozen(held)
    }

    fn write_frozen(&self, held: &mut Maintenance) -> Result<(), IndexError> {
        let Some(frozen) = &held.frozen else { return Ok(()) };
        failpoint::pass("seal.before");
        let form = self.read_state()?.form.clone();
        let mut next = held.manifest.clone();
        next.generation += 1;
        next.applied = frozen.applied;
        let mut sealed = self.read_state()?.sealed.to_vec();
        if let Some(part) = frozen.rows.part() {
            let name = format!("segment-{}.seg", next.generation);
            let path = self.folder.join(&name);
            let source = Source { part, gone: &frozen.gone, offset: 0 };
            let written = Segment::write(&path, &form, self.dimension, &[source])?;
            next.purged += written.dropped;
            if written.rows > 0 {
                sealed.push(Arc::new(Segment::open(&path, &form, self.dimension)?));
                next.segments
                    .push(SegmentEntry { file: name, checksum: format!("{:016x}", written.checksum) });
            }
        }
        let name = format!("ordinals-{}.bits", next.generation);
        write_ordinals(&self.folder.join(&name), &frozen.known, &frozen.gone)?;
        next.ordinals = Some(name);
        next.write(&self.folder)?;
        next.remove_replaced(&held.manifest, &self.folder);
        let Some(frozen) = held.frozen.take() else { return Ok(()) };
        (held.known, held.gone, held.manifest) = (frozen.known, frozen.gone, next);
        let mut state = self.write_state()?;
        state.sealed = Arc::new(sealed);
        state.frozen = None;
        state.purged = held.manifest.purged;
        state.durable = Arc::new(held.manifest.clone());
        failpoint::pass("seal.after");
        Ok(())
    }

    /// Rewrites segments without their deleted vectors: seals and then merges all of them into one if `force` is set,
    /// otherwise some of them when there are more segments or deleted vectors than configured. After a forced one nothing that was removed
    /// before the call is left in any file of the index. An index kept by FAISS in a form of its own (`SQ8`, `HNSW32`)
    /// is built anew for that and needs the exact vectors.
    ///
    /// # Errors
    /// As [`FaceIndex::seal`]; [`IndexError::NeedsExact`].
    pub fn compact(&self, force: bool, exact: Option<&dyn ExactVectors>) -> Result<(), IndexError> {
        let mut held = self.lock_maintenance()?;
        if force {
            self.seal_held(&mut held)?;
        }
        let (form, sealed) = {
            let state = self.read_state()?;
            (state.form.clone(), state.sealed.clone())
        };
        let pending = held.gone.len().saturating_sub(held.manifest.purged);
        let stored: u64 = sealed.iter().map(|segment| segment.rows()).sum();
        let too_many_deleted =
            pending > 0 && pending as f64 > f64::from(self.config.deleted_share) * stored as f64;
        let forced = force && (pending > 0 || sealed.len() > 1);
        if let Form::Opaque(_) = form {
            let due = forced || too_many_deleted || sealed.len() > self.config.segments;
            return match exact {
                Some(exact) if due => self.rebuild_held(&mut held, &form, Some(exact), &|_, _| {}),
                None if forced => Err(IndexError::NeedsExact("compacting an index of this factory")),
                _ => Ok(()),
            };
        }
        // Merging the smaller half keeps the work for each vector logarithmic in the size of the index.
        let mut by_size: Vec<usize> = (0..sealed.len()).collect();
        by_size.sort_by_key(|at| sealed[*at].rows());
        let chosen = if forced || too_many_deleted {
            by_size
        } else if sealed.len() > self.config.segments {
            by_size.truncate(sealed.len() / 2 + 1);
            by_size
        } else {
            return Ok(());
        };
        failpoint::pass("compact.before");
        let sources: Vec<_> = chosen
            .iter()
            .map(|at| Source { part: sealed[*at].part(), gone: &held.gone, offset: 0 })
            .collect();
        let mut next = held.manifest.clone();
        next.generation += 1;
        let name = format!("segment-{}.seg", next.generation);
        let path = self.folder.join(&name);
        let written = Segment::write(&path, &form, self.dimension, &sources)?;
        let keep = |at: &usize| !chosen.contains(at);
        let mut kept: Vec<_> = (0..sealed.len()).filter(keep).map(|i| sealed[i].clone()).collect();
        next.segments = (0..sealed.len()).filter(keep).map(|i| held.manifest.segments[i].clone()).collect();
        if written.rows > 0 {
            kept.push(Arc::new(Segment::open(&path, &form, self.dimension)?));
            next.segments.push(SegmentEntry { file: name, checksum: format!("{:016x}", written.checksum) });
        }
        next.purged += written.dropped;
        next.write(&self.folder)?;
        next.remove_replaced(&held.manifest, &self.folder);
        held.manifest = next;
        let mut state = self.write_state()?;
        state.sealed = Arc::new(kept);
        state.purged = held.manifest.purged;
        state.durable = Arc::new(held.manifest.clone());
        failpoint::pass("compact.after");
        Ok(())
    }
}
