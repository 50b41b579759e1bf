//! Whether the parts of a state fit together, asked when it is opened.
//!
//! Every commit writes its number into every keyspace. A damaged page in a journal makes the engine drop the commits
//! after it silently, but only from keyspaces that were not yet folded into tables, so that the numbers then differ.
//! Where all keyspaces lost the same commits, the state is whole as of an earlier commit and its checkpoint is that
//! commit's, so the source replays them; an index that has seen more is told so by [`crate::Reader::log_since`].

use std::path::Path;

use fjall::{Readable, Snapshot};

use crate::engine::{Keyspaces, META_KEY};
use crate::{Reader, StoreError, decisions, keys};

/// Refuses a state without its own row that holds other rows.
pub(crate) fn is_empty(path: &Path, snapshot: &Snapshot, keyspaces: &Keyspaces) -> Result<(), StoreError> {
    for (name, keyspace) in keyspaces.all() {
        if !snapshot.is_empty(keyspace).map_err(|source| StoreError::engine(path, source))? {
            return Err(StoreError::Damaged {
                path: path.to_owned(),
                what: format!("{name} has rows, but the state's own row is missing"),
            });
        }
    }
    Ok(())
}

/// Compares the commit numbers of all keyspaces, and the ends of ordinals, log and dead letters with the state's own row.
pub(crate) fn fits_together(path: &Path, reader: &Reader) -> Result<(), StoreError> {
    let fail = |source| StoreError::engine(path, source);
    let meta = &reader.meta;
    let damaged = |what| Err(StoreError::Damaged { path: path.to_owned(), what });
    let keyspaces = &reader.keyspaces;
    for (name, keyspace) in keyspaces.all() {
        let stamp = reader.snapshot.get(keyspace, keys::STAMP).map_err(fail)?;
        let stamp = stamp.map(|value| keys::parse_number(&value, name)).transpose()?;
        if stamp != Some(meta.commit) && !decisions::may_be_new(name, reader)? {
            let found = stamp.map_or("none".to_owned(), |commit| commit.to_string());
            return damaged(format!("{name} is at commit {found}, but the state is at {}", meta.commit));
        }
    }
    let ends = [
        ("ordinals", &keyspaces.ordinals, meta.next_ordinal),
        ("vectors", &keyspaces.vectors, meta.next_ordinal),
        ("log", &keyspaces.log, meta.log_end),
        ("dead_letters", &keyspaces.dead, meta.next_dead),
    ];
    for (name, keyspace, end) in ends {
        let Some(last) = reader.snapshot.last_key_value(keyspace) else { continue };
        let key = last.key().map_err(fail)?;
        if *key != keys::STAMP && keys::parse_number(&key, name)? >= end {
            return damaged(format!("{name} reaches further than the state's own row says"));
        }
    }
    if meta.log_end > meta.log_start {
        let last = (meta.log_end - 1).to_be_bytes();
        if !reader.snapshot.contains_key(&keyspaces.log, last).map_err(fail)? {
            return damaged("the last entry of the log is missing".to_owned());
        }
    }
    debug_assert_ne!(META_KEY, keys::STAMP);
    Ok(())
}
