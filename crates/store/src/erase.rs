//! Taking things out: pictures that nobody owns, and accounts that are to be forgotten.

use std::collections::{BTreeMap, BTreeSet};

use records::{AccountId, PhotoKey};

use crate::account::OwnershipRow;
use crate::codec::Row;
use crate::commit::Committer;
use crate::writes::Writes;
use crate::{LogEntry, StoreError, decisions, keys};

/// What a sweep did.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Swept {
    /// Its commit.
    pub commit: u64,
    /// What the index has to do.
    pub log: Vec<(u64, LogEntry)>,
    /// Pictures removed.
    pub photos: u64,
    /// Faces removed.
    pub faces: u64,
    /// Links removed.
    pub links: u64,
    /// Whether more orphans of that age are left.
    pub more: bool,
}

/// What forgetting an account erased. Holds no id, so that it can be kept as a receipt.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Forgotten {
    /// Its commit.
    pub commit: u64,
    /// What the index has to do.
    pub log: Vec<(u64, LogEntry)>,
    /// Whether the state knew the account at all.
    pub known: bool,
    /// Rows that said which photos it shows or once showed.
    pub ownerships: u64,
    /// Pictures that only this account showed, removed with their faces.
    pub photos: u64,
    /// Pictures it showed that stay, since other accounts show them too.
    pub photos_kept: u64,
    /// Faces removed.
    pub faces: u64,
    /// Links removed.
    pub links: u64,
    /// Dead letters removed.
    pub dead_letters: u64,
    /// Decisions that named it, or pictures that went with it.
    pub decisions: u64,
}

impl Committer {
    /// Removes pictures that lost their last owner in a commit before this one, at most so many at a time, oldest first:
    /// rows, faces, vectors, links and thumbnails. The caller leaves enough commits between, so that no batch in flight
    /// still takes such a picture for known (one that does is told by [`crate::Planned::Missing`]).
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn sweep_orphans(&mut self, before_commit: u64, at_most: usize) -> Result<Swept, StoreError> {
        let engine = self.engine.clone();
        let mut writes = Writes::new(&engine);
        let state = writes.before.clone();
        let mut swept = Swept { commit: state.commit(), ..Swept::default() };
        for row in state.scan(&engine.keyspaces.orphans) {
            let (commit, photo) = keys::parse_orphan(&row?.0)?;
            if commit >= before_commit {
                break;
            }
            if swept.photos == at_most as u64 {
                swept.more = true;
                break;
            }
            let what = "an orphan has no picture";
            let row = state.photo_row(&photo)?.ok_or(StoreError::Malformed { keyspace: "orphans", what })?;
            let (faces, links) = writes.erase_photo(photo, &row)?;
            swept.photos += 1;
            swept.faces += faces;
            swept.links += links;
        }
        if swept.photos > 0 {
            (swept.commit, swept.log) = self.write(writes)?;
        }
        Ok(swept)
    }

    /// Erases everything the state knows of an account: its row, what it shows and once showed, pictures that nobody else
    /// shows with their faces, vectors and links, its dead letters, and its name in decisions. Nothing remembers it afterwards, so an event still
    /// on its way brings it back as new; take it out of the source first. Readers see it gone at once; the bytes are gone
    /// from disk after [`Committer::compact`].
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn forget(&mut self, account: &AccountId) -> Result<Forgotten, StoreError> {
        let engine = self.engine.clone();
        let keyspaces = &engine.keyspaces;
        let mut writes = Writes::new(&engine);
        let state = writes.before.clone();
        writes.forgetting = true;
        let mut forgotten = Forgotten::default();
        if let Some(row) = state.account_row(account)? {
            forgotten.known = true;
            writes.remove(&keyspaces.accounts, account.as_str());
            let live = u64::from(!row.deleted());
            writes.meta.counts.accounts = writes.meta.counts.accounts.saturating_sub(live);
        }
        let mut lost: BTreeMap<PhotoKey, u64> = BTreeMap::new();
        for row in state.scan_prefix(&keyspaces.ownerships, &keys::account_prefix(account)) {
            let (key, value) = row?;
            let (_, photo_id, photo) = keys::parse_ownership(&key)?;
            let shown = u64::from(OwnershipRow::from_bytes(&value)?.current.is_some());
            *lost.entry(photo).or_default() += shown;
            writes.remove(&keyspaces.ownerships, &key);
            writes.remove(&keyspaces.owners, keys::owner(&photo, account, &photo_id));
            writes.meta.counts.ownerships = writes.meta.counts.ownerships.saturating_sub(shown);
            forgotten.ownerships += 1;
        }
        let mut gone = BTreeSet::new();
        for (photo, lost) in lost {
            let Some(mut row) = state.photo_row(&photo)? else { continue };
            row.owners = row.owners.saturating_sub(lost);
            if row.owners == 0 {
                gone.insert(photo);
                let (faces, links) = writes.erase_photo(photo, &row)?;
                forgotten.photos += 1;
                forgotten.faces += faces;
                forgotten.links += links;
            } else if lost > 0 {
                writes.put(&keyspaces.photos, photo.as_bytes(), row.to_bytes());
                forgotten.photos_kept += 1;
            }
        }
        for stored in state.dead_letters(0) {
            let stored = stored?;
            let of_key = stored.letter.origin.key.as_deref() == Some(account.as_str().as_bytes());
            if of_key || stored.letter.account.as_ref() == Some(account) {
                writes.remove_dead_letter(stored.sequence, &stored.letter);
                forgotten.dead_letters += 1;
            }
        }
        forgotten.decisions = decisions::erase(&mut writes, account, &gone)?;
        (forgotten.commit, forgotten.log) = self.write(writes)?;
        Ok(forgotten)
    }
}
