//! Making removed rows leave the disk.
//!
//! The engine keeps removed rows in three places: in the journal, in tables below the removal, and in versions that an
//! open snapshot can still see. So: the journal is made to turn over by writing it full, everything in memory is folded
//! into tables (then the engine deletes the old journals), each keyspace is merged into its last level, where removals and
//! what they cover are dropped, and then the engine is brought to let go of the tables that were merged.

use std::time::{Duration, Instant};

use fjall::PersistMode;

use crate::StoreError;
use crate::commit::Committer;
use crate::engine::Engine;

/// The engine turns a journal over at 64 MB; one write more than that is needed.
const JOURNAL_TURNS_AT: usize = 64_000_000;
const PIECE: usize = 1 << 20;

/// What a compaction did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompactReport {
    /// Bytes on disk before, journals included.
    pub bytes_before: u64,
    /// Bytes on disk after.
    pub bytes_after: u64,
}

impl Committer {
    /// Merges every keyspace into its last level and turns the journal over, so that removed rows are gone from disk.
    /// Rewrites all rows: it needs as much free space as the largest keyspace takes, and hours at full size. Readers made
    /// before the removal keep its rows alive, so this waits for them: the caller must hold none.
    ///
    /// # Errors
    /// [`StoreError::Readers`] if one is held for over two minutes, or reading or writing fails; then start again.
    pub fn compact(&mut self) -> Result<CompactReport, StoreError> {
        let engine = self.engine.clone();
        let fail = |error| engine.fail(error);
        let bytes_before = engine.db.disk_space().map_err(fail)?;
        fill_journal(&engine)?;
        settle(&engine)?;
        for (_, keyspace) in engine.keyspaces.all() {
            keyspace.rotate_memtable().map_err(fail)?;
        }
        wait_for_tables(&engine)?;
        for keyspace in everything(&engine) {
            keyspace.major_compact().map_err(fail)?;
        }
        settle(&engine)?;
        wait_for_tables(&engine)?;
        let bytes_after = engine.db.disk_space().map_err(fail)?;
        tracing::info!(bytes_before, bytes_after, "state compacted");
        Ok(CompactReport { bytes_before, bytes_after })
    }
}

fn everything(engine: &Engine) -> impl Iterator<Item = &fjall::Keyspace> {
    let rows = engine.keyspaces.all().into_iter().map(|(_, keyspace)| keyspace);
    std::iter::once(&engine.keyspaces.filler).chain(rows)
}

/// How long readers of an earlier state are waited for: writing a snapshot of a large state is among them.
const PATIENCE: Duration = Duration::from_secs(120);

/// Publishes a snapshot that is younger than all that was done so far (what readers see does not change), and seals the
/// filler's memory: at that occasion the engine drops versions that no snapshot needs any more, in all keyspaces.
fn settle(engine: &Engine) -> Result<(), StoreError> {
    for _ in 0..3 {
        let mut batch = engine.db.batch().durability(Some(PersistMode::Buffer));
        batch.insert(&engine.keyspaces.filler, [1], []);
        batch.commit().map_err(|error| engine.fail(error))?;
    }
    let current = engine.reader();
    engine.publish((*current.meta).clone(), current.checkpoint.clone());
    drop(current);
    let start = Instant::now();
    while engine.has_older_readers() {
        if start.elapsed() > PATIENCE {
            return Err(StoreError::Readers { path: engine.path.clone(), seconds: PATIENCE.as_secs() });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    engine.keyspaces.filler.rotate_memtable().map(drop).map_err(|error| engine.fail(error))
}

/// Waits until everything sealed is folded into tables.
fn wait_for_tables(engine: &Engine) -> Result<(), StoreError> {
    while everything(engine).any(|keyspace| keyspace.sealed_memtable_count() > 0) {
        // Fails once a background thread has given up, which would otherwise be waited for in vain.
        engine.db.persist(PersistMode::Buffer).map_err(|error| engine.fail(error))?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Writes the journal past the size at which it turns over, with noise, since it is compressed.
fn fill_journal(engine: &Engine) -> Result<(), StoreError> {
    let mut noise: u64 = 0x9e37_79b9_7f4a_7c15;
    for _ in 0..=JOURNAL_TURNS_AT / PIECE {
        let mut piece = Vec::with_capacity(PIECE);
        while piece.len() < PIECE {
            // Xorshift (Marsaglia 2003).
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            piece.extend_from_slice(&noise.to_le_bytes());
        }
        let mut batch = engine.db.batch().durability(Some(PersistMode::Buffer));
        batch.insert(&engine.keyspaces.filler, [1], piece);
        batch.commit().map_err(|error| engine.fail(error))?;
    }
    let mut batch = engine.db.batch().durability(Some(PersistMode::SyncAll));
    batch.remove(&engine.keyspaces.filler, [1]);
    batch.commit().map_err(|error| engine.fail(error))
}
