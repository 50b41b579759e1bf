//! The bulk road: many vectors taken in together, as a backfill brings them, here called a block (in memory; the blocks of
//! `block.rs` are folders).
//!
//! A block's vectors are assigned to lists once, and that serves both for visiting lists and for being added to one. They
//! are compared with each list once for all of them instead of one after the other, and the codes made for the search
//! are what is added, so nothing is read back from the store. The rows go to disk as a sealed segment as soon as there
//! are enough of them for one.
//!
//! Invariants:
//! - What is found is what [`FaceIndex::find_neighbours`] finds, up to candidates at the very edge of its margin; with
//!   exact search nothing is missed and nothing depends on how vectors were cut into blocks.
//! - A block is compared with what is committed and with itself.
//! - The ordinals of a block are dense, and greater than all that were added before.

use rayon::prelude::*;

use crate::IndexError;
use crate::bulk_scan::{Scan, flat_part, list_part};
use crate::exact::{ExactVectors, Neighbour, Reach, check_vectors};
use crate::index::{FaceIndex, State};
use crate::ordinals::{OrdinalSet, check_ordinal};
use crate::rows::{Form, Part, Prepared, Rows};
use crate::search::Hit;

/// Vectors that are searched for and added together.
pub struct Block {
    form: Form,
    first: u64,
    vectors: Vec<f32>,
    ordinals: Vec<u64>,
    /// Lists that each vector visits, best first; none without lists.
    nprobe: usize,
    visits: Vec<i64>,
    prepared: Prepared,
    /// The block's own codes, searched like any other part.
    own: Option<Rows>,
}

impl Block {
    /// Vectors in it.
    pub fn len(&self) -> usize {
        self.ordinals.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ordinals.is_empty()
    }

    /// The row of one of its ordinals.
    pub(crate) fn row(&self, ordinal: u64) -> Option<u32> {
        let row = ordinal.checked_sub(self.first).filter(|row| *row < self.ordinals.len() as u64)?;
        u32::try_from(row).ok()
    }

    /// The ordinal of a row.
    pub(crate) fn ordinal(&self, row: u32) -> u64 {
        self.first + u64::from(row)
    }

    fn own_part(&self) -> Option<Part<'_>> {
        match &self.own {
            Some(rows) => rows.part(),
            None => Some(Part::Flat { ordinals: &self.ordinals, vectors: &self.vectors }),
        }
    }
}

/// What can be worked out of vectors while it is not yet known which of them will be a block, and under which numbers.
pub struct Ahead {
    form: Form,
    dimension: usize,
    vectors: Vec<f32>,
    /// Lists that each vector visits, best first; none without lists.
    nprobe: usize,
    visits: Vec<i64>,
    codes: Vec<u8>,
}

impl Ahead {
    /// Vectors in it.
    pub fn len(&self) -> usize {
        self.vectors.len() / self.dimension
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// These rows of it, in this order.
    fn take(&self, rows: &[u32]) -> Self {
        let count = self.len().max(1);
        Self {
            form: self.form.clone(),
            dimension: self.dimension,
            vectors: gathered(&self.vectors, self.dimension, rows),
            nprobe: self.nprobe,
            visits: gathered(&self.visits, self.visits.len() / count, rows),
            codes: gathered(&self.codes, self.codes.len() / count, rows),
        }
    }
}

/// The rows of a table with so many values each.
fn gathered<T: Copy>(values: &[T], each: usize, rows: &[u32]) -> Vec<T> {
    let mut out = Vec::with_capacity(each * rows.len());
    for row in rows {
        out.extend_from_slice(
            values.get(*row as usize * each..(*row as usize + 1) * each).unwrap_or_default(),
        );
    }
    out
}

impl FaceIndex {
    /// Works ahead on vectors (row-major, of unit length, as the store will keep them).
    ///
    /// # Errors
    /// As [`FaceIndex::apply`].
    pub fn work_ahead(&self, vectors: Vec<f32>) -> Result<Ahead, IndexError> {
        check_vectors(self.dimension, &vectors)?;
        let form = self.read_state()?.form.clone();
        let mut ahead = Ahead {
            form: form.clone(),
            dimension: self.dimension,
            vectors,
            nprobe: 1,
            visits: Vec::new(),
            codes: Vec::new(),
        };
        if let (Form::Lists(model), false) = (&form, ahead.is_empty()) {
            let transformed = model.native.transformed_cow(&ahead.vectors)?;
            ahead.nprobe = self.nprobe(&form).clamp(1, model.lists().max(1));
            ahead.visits = model.coarse.best_lists(&transformed, ahead.nprobe)?.0;
            let lists: Vec<i64> = ahead.visits.iter().step_by(ahead.nprobe).copied().collect();
            ahead.codes = model.native.encode(&transformed, &lists)?;
        }
        Ok(ahead)
    }

    /// Prepares vectors (row-major, of unit length, as the store will keep them) whose ordinals count up from `first`.
    ///
    /// # Errors
    /// As [`FaceIndex::apply`].
    pub fn block(&self, first: u64, vectors: Vec<f32>) -> Result<Block, IndexError> {
        self.numbered(first, self.work_ahead(vectors)?)
    }

    /// The same of these rows of vectors that were worked on ahead.
    ///
    /// # Errors
    /// As [`FaceIndex::apply`].
    pub fn block_of(&self, first: u64, ahead: &Ahead, rows: &[u32]) -> Result<Block, IndexError> {
        let taken = ahead.take(rows);
        let same = self.read_state()?.form.same_as(&taken.form);
        // Otherwise the index was promoted meanwhile.
        if same { self.numbered(first, taken) } else { self.block(first, taken.vectors) }
    }

    fn numbered(&self, first: u64, ahead: Ahead) -> Result<Block, IndexError> {
        let ordinals: Vec<u64> = (first..first + ahead.len() as u64).collect();
        ordinals.last().map_or(Ok(()), |last| check_ordinal(*last))?;
        let Ahead { form, vectors, nprobe, visits, codes, .. } = ahead;
        let (mut prepared, mut own) = (Prepared::Plain, None);
        if let (Form::Lists(model), false) = (&form, ordinals.is_empty()) {
            prepared = Prepared::Codes { lists: visits.iter().step_by(nprobe).copied().collect(), codes };
            if model.native.fits_bulk() {
                let rows = own.insert(Rows::new(&form)?);
                rows.push(&ordinals, &vectors, &prepared)?;
            }
        }
        Ok(Block { form, first, vectors, ordinals, nprobe, visits, prepared, own })
    }

    /// Every stored face, and every other one of the block, within `reach` of a vector of the block by exact cosine,
    /// nearest first; one list for each of `asking` (row numbers).
    ///
    /// # Errors
    /// As [`FaceIndex::find_neighbours`].
    pub fn block_neighbours(
        &self,
        block: &mut Block,
        asking: &[u32],
        reach: impl Into<Reach>,
        exact: &dyn ExactVectors,
    ) -> Result<Vec<Vec<Neighbour>>, IndexError> {
        let reach = reach.into();
        loop {
            let state = self.read_state()?;
            if state.form.same_as(&block.form) {
                break self.search_block(state, block, asking, reach, exact);
            }
            drop(state);
            // The index was promoted meanwhile.
            *block = self.block(block.first, std::mem::take(&mut block.vectors))?;
        }
    }

    fn search_block(
        &self,
        state: std::sync::RwLockReadGuard<'_, State>,
        block: &Block,
        asking: &[u32],
        reach: Reach,
        exact: &dyn ExactVectors,
    ) -> Result<Vec<Vec<Neighbour>>, IndexError> {
        let scan = Scan::new(self, &block.form, &block.vectors, asking, reach)?;
        let mut hits: Vec<Vec<Hit>> = vec![Vec::new(); asking.len()];
        let mut committed = Vec::new();
        if scan.fits(block.nprobe) {
            let visits = scan.visits(&block.visits, block.nprobe);
            let search = |part: &Part<'_>, gone: &OrdinalSet, hits: &mut Vec<Vec<Hit>>| match part {
                Part::Lists(view) => list_part(&scan, view, &visits, gone, hits),
                Part::Flat { ordinals, vectors } => flat_part(&scan, ordinals, vectors, gone, hits),
                // An opaque form never fits.
                Part::Opaque { .. } => Ok(()),
            };
            if let Some(part) = state.live.part() {
                search(&part, &state.gone, &mut hits)?;
            }
            let (sealed, frozen, gone) = (state.sealed.clone(), state.frozen.clone(), state.gone.clone());
            drop(state);
            let parts = frozen.iter().filter_map(|rows| rows.part()).chain(sealed.iter().map(|s| s.part()));
            for part in parts.chain(block.own_part()) {
                search(&part, &gone, &mut hits)?;
            }
        } else {
            drop(state);
            committed = self.find_neighbours(&scan.asking_vectors(), reach, None, exact)?;
            let none = OrdinalSet::default();
            flat_part(&scan, &block.ordinals, &block.vectors, &none, &mut hits)?;
        }
        // A vector finds itself in its own block.
        hits.par_iter_mut()
            .zip(asking)
            .for_each(|(hits, row)| hits.retain(|hit| hit.ordinal != block.first + u64::from(*row)));
        let mut found = scan.compare(hits, block, exact)?;
        for (found, more) in found.iter_mut().zip(committed) {
            found.extend(more);
            crate::exact::sort_neighbours(found);
        }
        Ok(found)
    }

    /// Takes in a block with what the log says beside it, up to the entry `sequence`, as [`FaceIndex::apply`] would.
    /// False if the index cannot: it was promoted since the block was made, or knows some of its ordinals; then the
    /// log has to be applied entry by entry.
    ///
    /// # Errors
    /// As [`FaceIndex::apply`] and [`FaceIndex::seal`].
    pub fn apply_block(&self, sequence: u64, block: &Block, removed: &[u64]) -> Result<bool, IndexError> {
        let full = {
            let mut writer = self.lock_writer()?;
            let mut state = self.write_state()?;
            let new = block.ordinals.iter().all(|ordinal| !state.known.contains(*ordinal));
            if !new
                || !state.form.same_as(&block.form)
                || writer.applied.is_some_and(|applied| applied >= sequence)
            {
                return Ok(false);
            }
            if !block.is_empty() {
                state.live.push(&block.ordinals, &block.vectors, &block.prepared)?;
            }
            for ordinal in &block.ordinals {
                state.known.insert(*ordinal);
            }
            for ordinal in removed {
                if state.known.contains(*ordinal) {
                    state.gone.insert(*ordinal);
                }
            }
            writer.applied = Some(sequence);
            state.live.len() as u64 >= self.config.seal_at
        };
        // While the index is being promoted or compacted, that seals; nobody waits for it here.
        if full && let Ok(mut held) = self.maintenance.try_lock() {
            self.seal_held(&mut held)?;
        }
        Ok(true)
    }
}
