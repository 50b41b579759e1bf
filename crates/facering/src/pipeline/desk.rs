//! The one place that changes the state: batches, erasures and sweeps pass here one after the other.
//!
//! Invariants:
//! - Commit first, then the index, then Kafka's advisory commit, then the publishing of dead letters. Whatever is lost
//!   after the commit is done again at the next start, from the commit.
//! - What a commit touches is noted before anybody can read it.
//! - Pictures without owners are swept only when no batch in flight can refer to them any more: the fetch stage takes a
//!   picture without owners for unknown, so only batches that looked before it lost its last owner can.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use embed::Uncommitted;
use index::FaceIndex;
use records::{AccountId, Batch, Decision, Deed, EmbeddedEvent, StagedBody};
use store::{Committed, Committer, Forgotten, Planned, Store};

use super::bulk::{self, FacesAhead};
use super::calibration::Floor;
use super::neighbours::{self, StoredVectors};
use super::progress::{Progress, Stage};
use super::touched::Touched;
use super::vector_cache::VectorCache;
use crate::erase;
use crate::sealing::ThumbnailKey;
use crate::state::feed_index;

/// Batches for which a picture without owners is kept: more than can be in flight between fetch and commit.
const SWEEP_AFTER_BATCHES: usize = 32;

/// Pictures swept after one commit; the rest follow after the next ones, so that no commit takes long.
const SWEEP_AT_MOST: usize = 1000;

/// Log entries let go in one commit, so that no commit takes long.
const TRIMMED_AT_ONCE: u64 = 20_000;

/// A batch that has been through all stages.
pub struct Embedded {
    /// Its events.
    pub batch: Batch<EmbeddedEvent>,
    /// What the index knows of its faces already.
    pub ahead: Option<FacesAhead>,
    /// What later batches may take from it until it is committed.
    pub uncommitted: Option<Uncommitted>,
}

/// What came of a batch.
pub enum Verdict {
    /// It is in the state.
    Committed(Committed),
    /// It refers to pictures that are gone since they were looked up: its events have to be fetched again.
    FetchAgain,
}

/// Owner of the committer.
pub struct Desk {
    store: Store,
    committer: Committer,
    index: Arc<FaceIndex>,
    floor: Floor,
    thumbnails: Option<ThumbnailKey>,
    touched: Arc<Touched>,
    cache: VectorCache,
    /// The commits of the last batches, oldest first.
    batches: VecDeque<u64>,
}

impl Desk {
    /// Takes the store's one committer.
    pub fn new(
        store: Store,
        index: Arc<FaceIndex>,
        floor: Floor,
        thumbnails: Option<ThumbnailKey>,
        touched: Arc<Touched>,
        vector_cache_mib: usize,
    ) -> anyhow::Result<Self> {
        let cache = VectorCache::new(vector_cache_mib, index.dimension());
        let committer = store.committer()?;
        Ok(Self { store, committer, index, floor, thumbnails, touched, cache, batches: VecDeque::new() })
    }

    /// Numbers of an embedding of this state.
    pub fn dimension(&self) -> usize {
        self.index.dimension()
    }

    /// Takes a batch into the state.
    pub fn commit(&mut self, embedded: Embedded, progress: &Progress) -> anyhow::Result<Verdict> {
        let Embedded { batch, ahead, uncommitted } = embedded;
        let start = Instant::now();
        let batch = self.sealed(batch)?;
        let plan = match self.committer.plan(batch)? {
            Planned::Ready(plan) => *plan,
            Planned::Missing { photos, .. } => {
                tracing::info!(
                    photos = photos.len(),
                    "pictures went while a batch referred to them; fetching again"
                );
                return Ok(Verdict::FetchAgain);
            }
        };
        progress.spent(Stage::Commit, start);
        let start = Instant::now();
        let reader = self.store.reader();
        let reach = self.floor.at(&reader)?;
        // Many at once are compared and added as a block, few one by one.
        let (links, block) = if bulk::fits(plan.new_faces()) {
            let (links, block) =
                bulk::links(plan.new_faces(), ahead.as_ref(), &reader, &self.index, &self.cache, reach)?;
            (links, Some(block))
        } else {
            (neighbours::links(plan.new_faces(), &reader, &self.index, &self.cache, reach)?, None)
        };
        progress.spent(Stage::Search, start);
        let start = Instant::now();
        self.touched.record(reader.commit() + 1, plan.touches());
        let committed = self.committer.commit(plan, &links)?;
        drop(uncommitted);
        if committed.faces_removed > 0 {
            self.cache.clear();
        }
        if let Some(block) = block {
            bulk::feed(&self.index, &committed, &block)?;
        }
        feed_index(&self.index, &self.store.reader())?;
        failpoint::pass("index.applied");
        self.batches.push_back(committed.commit);
        if self.batches.len() > SWEEP_AFTER_BATCHES
            && let Some(before) = self.batches.pop_front()
        {
            self.sweep(before)?;
        }
        progress.spent(Stage::Commit, start);
        Ok(Verdict::Committed(committed))
    }

    /// Encrypts the batch's thumbnails. Without a key they are left out: none is ever stored in the clear.
    fn sealed(&self, mut batch: Batch<EmbeddedEvent>) -> anyhow::Result<Batch<EmbeddedEvent>> {
        for event in &mut batch.items {
            let (StagedBody::Replace { photos, .. } | StagedBody::Add { photos, .. }) = &mut event.body
            else {
                continue;
            };
            for photo in photos {
                let Some(content) = &mut photo.content else { continue };
                if let Some(jpeg) = content.thumbnail.take()
                    && let Some(key) = &self.thumbnails
                {
                    content.thumbnail = Some(key.seal(&photo.key, &jpeg)?.into());
                }
            }
        }
        Ok(batch)
    }

    /// Removes pictures without owners. Only while no batch is in flight.
    pub fn sweep_all(&mut self) -> anyhow::Result<()> {
        self.sweep(u64::MAX)
    }

    /// Removes some of the pictures that lost their last owner before this commit.
    fn sweep(&mut self, before: u64) -> anyhow::Result<()> {
        let swept = self.committer.sweep_orphans(before, SWEEP_AT_MOST)?;
        if swept.photos > 0 {
            self.cache.clear();
            feed_index(&self.index, &self.store.reader())?;
        }
        Ok(())
    }

    /// Erases accounts and every picture that nobody else owns, physically; one answer for each, in their order.
    ///
    /// # Errors
    /// If it cannot be finished; nobody sees the accounts any more, and the next start or the next call finishes it.
    pub fn forget(&mut self, accounts: &[AccountId]) -> anyhow::Result<Vec<Forgotten>> {
        erase::begin(self.store.path())?;
        self.cache.clear();
        let mut forgotten = Vec::with_capacity(accounts.len());
        for account in accounts {
            self.touched.everything(self.store.reader().commit() + 1);
            let done =
                self.committer.forget(account).context("an account cannot be erased from the state")?;
            forgotten.push(done);
        }
        failpoint::pass("forget.rows");
        self.finish_erasing()?;
        Ok(forgotten)
    }

    /// Makes what was erased leave the disk; does nothing if all of it has.
    pub fn finish_erasing(&mut self) -> anyhow::Result<()> {
        if !erase::unfinished(self.store.path()) {
            return Ok(());
        }
        feed_index(&self.index, &self.store.reader())?;
        {
            let reader = self.store.reader();
            let exact = StoredVectors::new(&reader, self.index.dimension());
            self.index
                .compact(true, Some(&exact))
                .context("the erased faces cannot be removed from the index")?;
            // The store waits for everyone who reads it as it was, so this reader ends here.
        }
        self.committer.compact().context("the erased rows cannot be removed from the disk")?;
        erase::finished(self.store.path())
    }

    /// Adds a decision to the log.
    pub fn decide(&mut self, author: &str, deed: Deed) -> anyhow::Result<Decision> {
        Ok(self.committer.decide(author, crate::clock::now(), deed)?)
    }

    /// Records that these dead letters were sent.
    pub fn mark_published(&mut self, sequences: &[u64]) -> anyhow::Result<()> {
        self.committer.mark_published(sequences).context("published dead letters cannot be recorded")?;
        failpoint::pass("dead_letters.marked");
        Ok(())
    }

    /// Removes dead letters, because their events were sent again.
    pub fn drop_letters(&mut self, sequences: &[u64]) -> anyhow::Result<u64> {
        self.committer.delete_dead_letters(sequences).context("dead letters cannot be removed from the state")
    }

    /// Lets go of the index log before this sequence number, which the index has on disk.
    pub fn trim_log(&mut self, before: u64) -> anyhow::Result<()> {
        loop {
            let log = self.store.reader().log_range();
            let until = before.min(log.end).min(log.start.saturating_add(TRIMMED_AT_ONCE));
            if until <= log.start {
                return Ok(());
            }
            self.committer.trim_log(until).context("the index log cannot be trimmed")?;
        }
    }

    /// The store, for readers.
    pub fn store(&self) -> &Store {
        &self.store
    }
}
