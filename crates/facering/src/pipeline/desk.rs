//! The one place that changes the state: batches, erasures and sweeps pass here one after the other.
//!
//! Invariants:
//! - Commit first, then the index, then Kafka's advisory commit, then the publishing of dead letters. Whatever is lost
//!   after the commit is done again at the next start, from the commit.
//! - Pictures without owners are swept only when no batch in flight can refer to them any more.

use std::sync::Arc;

use anyhow::Context;
use index::FaceIndex;
use records::{AccountId, Batch, Decision, Deed, EmbeddedEvent};
use store::{Committed, Committer, Forgotten, Planned, Store};

use super::calibration::Floor;
use super::neighbours::{self, StoredVectors};
use crate::failpoint;
use crate::state::feed_index;

/// Commits for which a picture without owners is kept: more than batches can be in flight between fetch and commit.
const SWEEP_AFTER_COMMITS: u64 = 32;

/// Pictures swept after one commit; the rest follow after the next ones, so that no commit takes long.
const SWEEP_AT_MOST: usize = 1000;

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
}

impl Desk {
    /// Takes the store's one committer.
    pub fn new(store: Store, index: Arc<FaceIndex>, floor: Floor) -> anyhow::Result<Self> {
        let committer = store.committer()?;
        Ok(Self { store, committer, index, floor })
    }

    /// Takes a batch into the state.
    pub fn commit(&mut self, batch: Batch<EmbeddedEvent>) -> anyhow::Result<Verdict> {
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
        let reader = self.store.reader();
        let floor = self.floor.at(&reader)?;
        let links = neighbours::links(plan.new_faces(), &reader, &self.index, floor)?;
        failpoint::pass("commit.before");
        let committed = self.committer.commit(plan, &links)?;
        failpoint::pass("commit.after");
        feed_index(&self.index, &self.store.reader())?;
        failpoint::pass("index.after");
        self.sweep(SWEEP_AFTER_COMMITS)?;
        Ok(Verdict::Committed(committed))
    }

    /// Removes pictures that have had no owner for more than this many commits.
    pub fn sweep(&mut self, older_than: u64) -> anyhow::Result<()> {
        let now = self.store.reader().commit();
        if now > older_than {
            let swept = self.committer.sweep_orphans(now - older_than, SWEEP_AT_MOST)?;
            if swept.photos > 0 {
                feed_index(&self.index, &self.store.reader())?;
            }
        }
        Ok(())
    }

    /// Erases an account and every picture that nobody else owns, physically.
    pub fn forget(&mut self, account: &AccountId) -> anyhow::Result<Forgotten> {
        let forgotten =
            self.committer.forget(account).context("the account cannot be erased from the state")?;
        feed_index(&self.index, &self.store.reader())?;
        let reader = self.store.reader();
        let exact = StoredVectors::new(&reader, self.index.dimension());
        self.index
            .compact(true, Some(&exact))
            .context("the erased faces cannot be removed from the index")?;
        self.committer.compact().context("the erased rows cannot be removed from the disk")?;
        Ok(forgotten)
    }

    /// Adds a decision to the log.
    pub fn decide(&mut self, author: &str, deed: Deed) -> anyhow::Result<Decision> {
        Ok(self.committer.decide(author, crate::clock::now(), deed)?)
    }

    /// Records that these dead letters were sent.
    pub fn mark_published(&mut self, sequences: &[u64]) -> anyhow::Result<()> {
        self.committer.mark_published(sequences).context("published dead letters cannot be recorded")?;
        failpoint::pass("dead_letters.after");
        Ok(())
    }

    /// Removes dead letters, because their events were sent again.
    pub fn drop_letters(&mut self, sequences: &[u64]) -> anyhow::Result<u64> {
        self.committer.delete_dead_letters(sequences).context("dead letters cannot be removed from the state")
    }

    /// The store, for readers.
    pub fn store(&self) -> &Store {
        &self.store
    }
}
