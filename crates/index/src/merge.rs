//! Merging blocks that were filled apart: on disk, list by list, without holding more than one list.
//!
//! Invariants:
//! - Blocks are merged under one model: codes are copied, never made anew.
//! - The ordinals of a block are shifted as a whole; none may meet one that is there.
//! - The merged index is swapped in by one manifest, as in `seal.rs`. Blocks are only read.

use std::path::Path;
use std::sync::Arc;

use crate::IndexError;
use crate::files::write_durably;
use crate::index::FaceIndex;
use crate::manifest::{Manifest, SegmentEntry, SourceEntry, write_ordinals};
use crate::ordinals::OrdinalSet;
use crate::rows::Form;
use crate::segment::{Segment, Source, check_offset};

/// A block as it is when the merge begins.
struct Block<'a> {
    index: &'a FaceIndex,
    offset: u64,
    sealed: Arc<Vec<Arc<Segment>>>,
    gone: OrdinalSet,
    sources: Vec<SourceEntry>,
}

impl FaceIndex {
    /// Takes in the sealed vectors of another index folder with the same model (a block filled elsewhere), adding
    /// `offset` to each of its ordinals; gives their number.
    ///
    /// # Errors
    /// [`IndexError::Mismatch`] if it has another model, [`IndexError::OrdinalOutOfRange`] if its ordinals meet ones
    /// that are here already, [`IndexError::Merged`] if its rows are here already, and as [`FaceIndex::seal`].
    pub fn merge_from(&self, other: &FaceIndex, offset: u64) -> Result<u64, IndexError> {
        self.merge_shifted(&[(other, offset)])
    }

    /// Takes in blocks one behind the other: the ordinals of each begin behind those of the one before. Writes one
    /// segment for all of them; gives the number of vectors.
    ///
    /// # Errors
    /// As [`FaceIndex::merge_from`].
    pub fn merge(&self, blocks: &[&FaceIndex]) -> Result<u64, IndexError> {
        let mut next = self.next_ordinal()?;
        let mut shifted = Vec::with_capacity(blocks.len());
        for block in blocks {
            shifted.push((*block, next));
            next += block.next_ordinal()?;
        }
        self.merge_shifted(&shifted)
    }

    /// The first ordinal behind all that were ever given.
    ///
    /// # Errors
    /// [`IndexError::Poisoned`].
    pub fn next_ordinal(&self) -> Result<u64, IndexError> {
        let state = self.read_state()?;
        let known = state.known.greatest().map_or(0, |ordinal| ordinal + 1);
        let sources = state.durable.sources.iter().map(|source| source.first_ordinal + source.rows);
        Ok(sources.max().unwrap_or(0).max(known))
    }

    fn merge_shifted(&self, blocks: &[(&FaceIndex, u64)]) -> Result<u64, IndexError> {
        let mut theirs = Vec::with_capacity(blocks.len());
        for (index, offset) in blocks {
            index.seal()?;
            let state = index.read_state()?;
            let sources = state.durable.sources.clone();
            let (sealed, gone) = (state.sealed.clone(), state.gone.clone());
            theirs.push(Block { index, offset: *offset, sealed, gone, sources });
        }
        let mut held = self.lock_maintenance()?;
        self.seal_held(&mut held)?;
        let form = self.read_state()?.form.clone();
        theirs.iter().try_for_each(|block| same_model(&form, block))?;
        refuse_repeated(&held.manifest, &theirs)?;

        let mut known = held.known.clone();
        for block in &theirs {
            for segment in block.sealed.iter() {
                segment.part().for_each_ordinal(&mut |ordinal| {
                    if block.gone.contains(ordinal) {
                        return Ok(());
                    }
                    check_offset(ordinal, block.offset)?;
                    if known.insert(ordinal + block.offset) {
                        Ok(())
                    } else {
                        Err(IndexError::OrdinalOutOfRange(ordinal + block.offset))
                    }
                })?;
            }
        }
        let sources: Vec<_> = theirs
            .iter()
            .flat_map(|block| block.sealed.iter().map(move |segment| (block, segment)))
            .map(|(block, segment)| Source { part: segment.part(), gone: &block.gone, offset: block.offset })
            .collect();
        let mut next = held.manifest.clone();
        next.generation += 1;
        let name = format!("segment-{}.seg", next.generation);
        let path = self.folder.join(&name);
        let written = Segment::write(&path, &form, self.dimension, &sources)?;
        if written.rows == 0 {
            return Ok(0);
        }
        let segment = Arc::new(Segment::open(&path, &form, self.dimension)?);
        next.segments.push(SegmentEntry { file: name, checksum: format!("{:016x}", written.checksum) });
        for block in &theirs {
            for source in &block.sources {
                next.sources.push(self.take_source(block, source, next.generation, next.sources.len())?);
            }
        }
        let name = format!("ordinals-{}.bits", next.generation);
        // Adding waits from here on, so that no ordinal of the block is taken by a new vector meanwhile.
        let writer = self.lock_writer()?;
        let live = {
            let state = self.read_state()?;
            let live = state.live.part().map_or(Ok(Vec::new()), |part| part.ordinals())?;
            if let Some(taken) = live.iter().find(|ordinal| known.contains(**ordinal)) {
                return Err(IndexError::OrdinalOutOfRange(*taken));
            }
            live
        };
        write_ordinals(&self.folder.join(&name), &known, &held.gone)?;
        next.ordinals = Some(name);
        next.write(&self.folder)?;
        let mut all = known.clone();
        live.into_iter().for_each(|ordinal| {
            all.insert(ordinal);
        });
        let mut state = self.write_state()?;
        let mut sealed = state.sealed.to_vec();
        sealed.push(segment);
        state.sealed = Arc::new(sealed);
        state.known = all;
        state.durable = Arc::new(next.clone());
        drop(state);
        drop(writer);
        next.remove_replaced(&held.manifest, &self.folder);
        (held.known, held.manifest) = (known, next);
        Ok(written.rows)
    }

    /// Brings the exact vectors of a block's source here: a second name for the same file where the file system can,
    /// otherwise a copy.
    fn take_source(
        &self,
        block: &Block<'_>,
        source: &SourceEntry,
        generation: u64,
        number: usize,
    ) -> Result<SourceEntry, IndexError> {
        check_offset(source.first_ordinal + source.rows, block.offset)?;
        let mut taken = source.clone();
        taken.first_ordinal += block.offset;
        if let Some(file) = &source.vectors {
            let name = format!("vectors-{generation}-{number}.f16");
            link_or_copy(&block.index.folder.join(file), &self.folder.join(&name))?;
            taken.vectors = Some(name);
        }
        Ok(taken)
    }
}

fn link_or_copy(from: &Path, to: &Path) -> Result<(), IndexError> {
    // A remain of a crash under this name belongs to no manifest.
    match std::fs::remove_file(to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(IndexError::io("removing", to)(error));
        }
        _ => {}
    }
    if std::fs::hard_link(from, to).is_ok() {
        return crate::files::sync_folder_of(to);
    }
    write_durably(to, |writer| {
        let mut source = std::fs::File::open(from).map_err(IndexError::io("opening", from))?;
        std::io::copy(&mut source, writer).map(|_| ()).map_err(IndexError::io("copying", from))
    })
}

fn same_model(ours: &Form, block: &Block<'_>) -> Result<(), IndexError> {
    let theirs = block.index.read_state()?.form.clone();
    let id = |form: &Form| form.model().map(|model| model.facts.id.clone());
    if id(ours) == id(&theirs) && !matches!(ours, Form::Opaque(_)) {
        return Ok(());
    }
    let told = |form: &Form| match id(form) {
        Some(id) => format!("factory {} of model {id}", form.factory()),
        None => "exact vectors and no model".to_owned(),
    };
    let kept_as_lists = if matches!(ours, Form::Opaque(_)) { ", kept as lists or exact vectors" } else { "" };
    Err(IndexError::Mismatch {
        path: block.index.folder.clone(),
        found: told(&theirs),
        expected: format!("{}{kept_as_lists}", told(ours)),
    })
}

/// The same rows twice would give every face a double.
fn refuse_repeated(manifest: &Manifest, blocks: &[Block<'_>]) -> Result<(), IndexError> {
    let mut seen: Vec<&SourceEntry> = manifest.sources.iter().collect();
    for source in blocks.iter().flat_map(|block| &block.sources) {
        let same = |other: &&SourceEntry| {
            (&other.name, other.first_row, &other.content)
                == (&source.name, source.first_row, &source.content)
        };
        if seen.iter().any(same) {
            let (from, to) = (source.first_row, source.first_row + source.rows);
            return Err(IndexError::Merged { name: source.name.clone(), from, to });
        }
        seen.push(source);
    }
    Ok(())
}
