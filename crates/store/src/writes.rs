//! One commit in the making: rows to put and remove in all keyspaces, with counters and log kept in step.

use std::collections::HashSet;
use std::sync::Arc;

use fjall::{Keyspace, OwnedWriteBatch, PersistMode};
use records::{Checkpoint, CheckpointDelta, DeadLetter, FaceKey, FaceOrdinal, PhotoKey};

use crate::codec::Row;
use crate::engine::{Engine, Keyspaces, META_KEY};
use crate::rows::{DeadRow, LogEntry, Meta, PhotoRow};
use crate::{Reader, StoreError, keys, links};

pub(crate) struct Writes<'a> {
    engine: &'a Engine,
    /// The state before this commit.
    pub before: Reader,
    batch: OwnedWriteBatch,
    /// The state's own row after this commit.
    pub meta: Meta,
    checkpoint: Arc<Checkpoint>,
    /// What the index has to do, with sequence numbers.
    pub log: Vec<(u64, LogEntry)>,
    /// Lists of links that change.
    pub(crate) changes: links::Changes,
    /// Whether what goes is to leave no number behind.
    pub forgetting: bool,
    faces_removed: HashSet<FaceKey>,
}

impl<'a> Writes<'a> {
    pub fn new(engine: &'a Engine) -> Self {
        let before = engine.reader();
        let mut meta = (*before.meta).clone();
        meta.commit += 1;
        Self {
            engine,
            batch: engine.db.batch().durability(Some(PersistMode::SyncAll)),
            meta,
            checkpoint: before.checkpoint.clone(),
            log: Vec::new(),
            changes: links::Changes::default(),
            forgetting: false,
            faces_removed: HashSet::new(),
            before,
        }
    }

    pub(crate) fn keyspaces(&self) -> &'a Keyspaces {
        &self.engine.keyspaces
    }

    pub fn put(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.batch.insert(keyspace, key.as_ref(), value.as_ref());
    }

    pub fn remove(&mut self, keyspace: &Keyspace, key: impl AsRef<[u8]>) {
        self.batch.remove(keyspace, key.as_ref());
    }

    pub fn log(&mut self, entry: LogEntry) {
        let sequence = self.meta.log_end;
        self.meta.log_end += 1;
        self.put(&self.engine.keyspaces.log, sequence.to_be_bytes(), entry.to_bytes());
        self.log.push((sequence, entry));
    }

    pub fn dead_letter(&mut self, letter: &DeadLetter) {
        let sequence = self.meta.next_dead.to_be_bytes();
        self.meta.next_dead += 1;
        self.meta.counts.dead_letters += 1;
        *self.meta.dead_by_reason.entry(letter.reason.to_string()).or_default() += 1;
        let row = DeadRow { published: false, letter: letter.clone() };
        self.put(&self.engine.keyspaces.dead, sequence, row.to_bytes());
        self.put(&self.engine.keyspaces.unpublished, sequence, []);
    }

    pub fn remove_dead_letter(&mut self, sequence: u64, letter: &DeadLetter) {
        let keyspaces = &self.engine.keyspaces;
        self.remove(&keyspaces.dead, sequence.to_be_bytes());
        self.remove(&keyspaces.unpublished, sequence.to_be_bytes());
        self.meta.counts.dead_letters = self.meta.counts.dead_letters.saturating_sub(1);
        let reason = letter.reason.as_str();
        if let Some(count) = self.meta.dead_by_reason.get_mut(reason) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.meta.dead_by_reason.remove(reason);
            }
        }
    }

    /// Moves the checkpoint on.
    pub fn advance(&mut self, delta: &CheckpointDelta) -> Result<(), StoreError> {
        let mut checkpoint = (*self.checkpoint).clone();
        checkpoint.apply(delta)?;
        for (partition, span) in delta.iter() {
            self.put(&self.engine.keyspaces.checkpoint, partition.as_str(), span.to.0.to_be_bytes());
        }
        self.checkpoint = Arc::new(checkpoint);
        Ok(())
    }

    /// Removes a face of the state with its vector and links, and tells the log. Returns how many links went.
    pub fn erase_face(&mut self, face: FaceKey, ordinal: FaceOrdinal) -> Result<u64, StoreError> {
        if !self.faces_removed.insert(face) {
            return Ok(0);
        }
        let keyspaces = &self.engine.keyspaces;
        self.remove(&keyspaces.faces, face.to_bytes());
        self.remove(&keyspaces.vectors, ordinal.0.to_be_bytes());
        self.remove(&keyspaces.ordinals, ordinal.0.to_be_bytes());
        self.log(LogEntry::Removed { ordinal });
        self.meta.counts.faces = self.meta.counts.faces.saturating_sub(1);
        self.erase_links(ordinal, self.forgetting)
    }

    /// Removes a picture of the state with its faces. Returns how many faces and links went.
    pub fn erase_photo(&mut self, photo: PhotoKey, row: &PhotoRow) -> Result<(u64, u64), StoreError> {
        let keyspaces = &self.engine.keyspaces;
        self.remove(&keyspaces.photos, photo.as_bytes());
        self.remove(&keyspaces.thumbnails, photo.as_bytes());
        if let Some(commit) = row.orphaned_at {
            self.remove(&keyspaces.orphans, keys::orphan(commit, &photo));
            self.meta.counts.orphans = self.meta.counts.orphans.saturating_sub(1);
        }
        self.meta.counts.photos = self.meta.counts.photos.saturating_sub(1);
        let (mut faces, mut links) = (0, 0);
        for face in self.before.faces_of(photo) {
            let (face, stored) = face?;
            links += self.erase_face(face, stored.ordinal)?;
            faces += 1;
        }
        Ok((faces, links))
    }

    /// Writes everything in one batch, synced, and publishes the new snapshot.
    pub fn commit(mut self) -> Result<(u64, Vec<(u64, LogEntry)>), StoreError> {
        self.put_changed_lists();
        let keyspaces = &self.engine.keyspaces;
        let commit = self.meta.commit;
        for (_, keyspace) in keyspaces.all() {
            self.put(keyspace, keys::STAMP, commit.to_be_bytes());
        }
        let meta = self.meta.to_bytes();
        self.put(&keyspaces.meta, META_KEY, meta);
        let rows = self.batch.len();
        let started = std::time::Instant::now();
        failpoint::pass("commit.before");
        self.batch.commit().map_err(|error| self.engine.fail(error))?;
        failpoint::pass("commit.after");
        metrics::histogram!("facering_store_commit_seconds").record(started.elapsed().as_secs_f64());
        metrics::counter!("facering_store_commits_total").increment(1);
        metrics::counter!("facering_store_rows_total").increment(rows as u64);
        self.engine.publish(self.meta, self.checkpoint);
        Ok((commit, self.log))
    }
}
