//! The one that writes: a batch is planned, its neighbours are searched outside, then it is committed as a whole.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use records::{AccountId, Batch, EmbeddedEvent, FaceLink, Stage};

use crate::codec::Row;
use crate::engine::Engine;
use crate::photo_merge::PhotoDraft;
use crate::plan::{AccountChange, Plan, Planned};
use crate::rows::NumberedFace;
use crate::writes::Writes;
use crate::{LogEntry, Reader, StoreError, Tally, keys};

/// What a commit did.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Committed {
    /// Its number.
    pub commit: u64,
    /// What the index has to do, with sequence numbers; the same that [`Reader::log_since`] gives.
    pub log: Vec<(u64, LogEntry)>,
    /// What became of the events.
    pub tally: Tally,
    /// Pictures that are new.
    pub photos: u64,
    /// Pictures that lost their last owner.
    pub orphaned: u64,
    /// Faces that are new.
    pub faces: u64,
    /// Faces that went.
    pub faces_removed: u64,
    /// Links that are new.
    pub links: u64,
    /// Links left out since one of their faces is not (or no longer) in the state.
    pub links_dropped: u64,
    /// Dead letters taken in.
    pub dead_letters: u64,
}

/// The one that writes. There is one at a time; dropping it lets the next one be had.
pub struct Committer {
    pub(crate) engine: Arc<Engine>,
    halted: bool,
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Committer({})", self.engine.path.display())
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.engine.committer_taken.store(false, Ordering::Release);
    }
}

impl Committer {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine, halted: false }
    }

    /// The state as of the last commit.
    pub fn reader(&self) -> Reader {
        self.engine.reader()
    }

    /// Works out what the batch does. Nothing is written.
    ///
    /// # Errors
    /// [`StoreError::Checkpoint`] if the batch does not continue where the source was left, [`StoreError::Pack`] and
    /// [`StoreError::Dimension`] if its faces come from another model, or the store cannot be read.
    pub fn plan(&self, batch: Batch<EmbeddedEvent>) -> Result<Planned, StoreError> {
        crate::plan::plan(&self.engine.reader(), batch)
    }

    /// Writes everything in one batch and waits until it is on disk; then readers see it. `links` are those of the plan's
    /// new faces among themselves and with faces of the state that it was made for.
    ///
    /// # Errors
    /// [`StoreError::StalePlan`] if there was another commit since the plan was made, [`StoreError::Unaccounted`] if an
    /// event of the batch got lost on its way here; otherwise writing failed, it is not
    /// known whether the commit is on disk, and this committer refuses further ones: the process must start again.
    pub fn commit(&mut self, plan: Plan, links: &[FaceLink]) -> Result<Committed, StoreError> {
        let engine = self.engine.clone();
        let mut writes = Writes::new(&engine);
        let current = writes.before.commit();
        if plan.base_commit != current {
            return Err(StoreError::StalePlan { planned: plan.base_commit, current });
        }
        let Plan { batch, accounts, photos, new_faces, pack, dimension, greatest_observed_at, .. } = plan;
        let tally = tally(&batch, plan.applied, plan.superseded)?;
        let mut done = Committed {
            tally,
            faces: new_faces.len() as u64,
            dead_letters: batch.dead.len() as u64,
            ..Committed::default()
        };
        writes.meta.pack = pack;
        writes.meta.dimension = dimension;
        writes.meta.greatest_observed_at = greatest_observed_at;
        writes.meta.tally = writes.meta.tally.plus(tally);
        writes.advance(&batch.delta)?;
        for (account, change) in &accounts {
            put_account(&engine, &mut writes, account, change);
        }
        for draft in &photos {
            put_photo(&engine, &mut writes, draft, &mut done)?;
        }
        (done.links, done.links_dropped) = writes.links(links);
        for letter in &batch.dead {
            writes.dead_letter(letter);
        }
        (done.commit, done.log) = self.write(writes)?;
        Ok(done)
    }

    /// Notes that these dead letters were sent to the dead-letter topic. Unknown numbers are passed over.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn mark_published(&mut self, sequences: &[u64]) -> Result<(), StoreError> {
        let engine = self.engine.clone();
        let mut writes = Writes::new(&engine);
        for sequence in sequences {
            if let Some(stored) = writes.before.dead_letter(*sequence)? {
                let row = crate::rows::DeadRow { published: true, letter: stored.letter };
                writes.put(&engine.keyspaces.dead, sequence.to_be_bytes(), row.to_bytes());
                writes.remove(&engine.keyspaces.unpublished, sequence.to_be_bytes());
            }
        }
        self.write(writes).map(drop)
    }

    /// Deletes dead letters. Returns how many there were.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn delete_dead_letters(&mut self, sequences: &[u64]) -> Result<u64, StoreError> {
        let engine = self.engine.clone();
        let mut writes = Writes::new(&engine);
        let sequences: std::collections::BTreeSet<u64> = sequences.iter().copied().collect();
        let mut deleted = 0;
        for sequence in sequences {
            if let Some(stored) = writes.before.dead_letter(sequence)? {
                writes.remove_dead_letter(sequence, &stored.letter);
                deleted += 1;
            }
        }
        self.write(writes)?;
        Ok(deleted)
    }

    /// Lets go of log entries before this sequence number, which the index has durably taken in.
    ///
    /// # Errors
    /// [`StoreError::LogAhead`] if the log does not reach that far, or the store cannot be read or written.
    pub fn trim_log(&mut self, before: u64) -> Result<(), StoreError> {
        let engine = self.engine.clone();
        let mut writes = Writes::new(&engine);
        let range = writes.before.log_range();
        if before > range.end {
            return Err(StoreError::LogAhead { asked: before, end: range.end });
        }
        for sequence in range.start..before {
            writes.remove(&engine.keyspaces.log, sequence.to_be_bytes());
        }
        writes.meta.log_start = range.start.max(before);
        self.write(writes).map(drop)
    }

    /// Commits, and refuses everything after a failure, since nobody knows what is on disk then.
    pub(crate) fn write(&mut self, writes: Writes<'_>) -> Result<(u64, Vec<(u64, LogEntry)>), StoreError> {
        if self.halted {
            return Err(StoreError::Halted { path: self.engine.path.clone() });
        }
        let result = writes.commit();
        self.halted = result.is_err();
        result
    }
}

/// What became of a batch's events: each is applied, superseded or given up by the source.
fn tally(batch: &Batch<EmbeddedEvent>, applied: usize, superseded: usize) -> Result<Tally, StoreError> {
    // Later stages give up photos, never events.
    let dead = batch.dead.iter().filter(|letter| letter.stage == Stage::Ingest).count();
    let mut tally =
        Tally { events: 0, applied: applied as u64, superseded: superseded as u64, dead: dead as u64 };
    let found = tally.applied + tally.superseded + tally.dead;
    tally.events = batch.delta.events().unwrap_or(found);
    if tally.adds_up() { Ok(tally) } else { Err(StoreError::Unaccounted { read: tally.events, found }) }
}

fn put_account(engine: &Engine, writes: &mut Writes<'_>, account: &AccountId, change: &AccountChange) {
    let keyspaces = &engine.keyspaces;
    let AccountChange { existed, before, after } = change;
    if !existed || before.row != after.row {
        writes.put(&keyspaces.accounts, account.as_str(), after.row.to_bytes());
    }
    let counted =
        |there: bool, draft: &crate::event_time::AccountDraft| u64::from(there && !draft.row.deleted());
    let counts = &mut writes.meta.counts;
    counts.accounts = counts.accounts + counted(true, after) - counted(*existed, before);
    for ((photo_id, photo), row) in &after.photos {
        let old = before.photos.get(&(photo_id.clone(), *photo));
        if old == Some(row) {
            continue;
        }
        writes.put(&keyspaces.ownerships, keys::ownership(account, photo_id, photo), row.to_bytes());
        let shown = (old.is_some_and(|old| old.current.is_some()), row.current.is_some());
        match shown {
            (false, true) => {
                writes.put(&keyspaces.owners, keys::owner(photo, account, photo_id), []);
                writes.meta.counts.ownerships += 1;
            }
            (true, false) => {
                writes.remove(&keyspaces.owners, keys::owner(photo, account, photo_id));
                writes.meta.counts.ownerships = writes.meta.counts.ownerships.saturating_sub(1);
            }
            _ => {}
        }
    }
}

fn put_photo(
    engine: &Engine,
    writes: &mut Writes<'_>,
    draft: &PhotoDraft,
    done: &mut Committed,
) -> Result<(), StoreError> {
    let keyspaces = &engine.keyspaces;
    let PhotoDraft { key, before, row, faces, removed, thumbnail } = draft;
    if before.as_ref() != Some(row) {
        writes.put(&keyspaces.photos, key.as_bytes(), row.to_bytes());
    }
    let was_orphan = before.as_ref().and_then(|before| before.orphaned_at);
    match (was_orphan, row.orphaned_at) {
        (None, Some(commit)) => {
            writes.put(&keyspaces.orphans, keys::orphan(commit, key), []);
            writes.meta.counts.orphans += 1;
            done.orphaned += 1;
        }
        (Some(commit), None) => {
            writes.remove(&keyspaces.orphans, keys::orphan(commit, key));
            writes.meta.counts.orphans = writes.meta.counts.orphans.saturating_sub(1);
        }
        _ => {}
    }
    if before.is_none() {
        writes.meta.counts.photos += 1;
        done.photos += 1;
    }
    if let Some(jpeg) = thumbnail {
        writes.put(&keyspaces.thumbnails, key.as_bytes(), jpeg);
    }
    for (face, ordinal) in removed {
        writes.erase_face(*face, *ordinal)?;
        done.faces_removed += 1;
    }
    for (face, drafted) in faces {
        if drafted.before.as_ref() != Some(&drafted.after) {
            writes.put(&keyspaces.faces, face.to_bytes(), drafted.after.to_bytes());
        }
        let numbered = NumberedFace::new(*face, &drafted.after, row);
        let known = drafted.before.as_ref().zip(before.as_ref());
        if known.is_none_or(|(face_before, photo)| NumberedFace::new(*face, face_before, photo) != numbered) {
            let ordinal = drafted.after.ordinal.0.to_be_bytes();
            writes.put(&keyspaces.ordinals, ordinal, numbered.to_bytes());
        }
        if let Some(embedding) = &drafted.embedding {
            let ordinal = drafted.after.ordinal;
            writes.put(&keyspaces.vectors, ordinal.0.to_be_bytes(), embedding.to_fp16());
            writes.meta.next_ordinal = writes.meta.next_ordinal.max(ordinal.0 + 1);
            writes.meta.counts.faces += 1;
            writes.log(LogEntry::Added { ordinal });
        }
    }
    Ok(())
}
