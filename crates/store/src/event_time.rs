//! The event-time rules for one account. They are stated at [`crate::Account`] and [`crate::Ownership`].

use std::collections::BTreeMap;

use records::{EmbeddedEvent, EmbeddedPhoto, PhotoId, PhotoKey, ProfileFacts, StagedBody};
use sha2::{Digest, Sha256};

use crate::account::{AccountRow, Base, OwnershipRow, VersionedFacts, encode_facts};
use crate::codec::Enc;

/// Rows of an account's photos, those shown now and earlier ones.
pub(crate) type OwnershipRows = BTreeMap<(PhotoId, PhotoKey), OwnershipRow>;

/// An account as it is being changed by a batch.
#[derive(Clone, Default)]
pub(crate) struct AccountDraft {
    pub row: AccountRow,
    pub photos: OwnershipRows,
}

/// Whether an event counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Applied,
    Superseded,
}

impl AccountDraft {
    /// Applies one event of this account.
    pub fn apply(&mut self, event: &EmbeddedEvent) -> Verdict {
        let at = event.observed_at.as_micros();
        for photo in event.photos() {
            let row = self.photos.entry((photo.photo_id.clone(), photo.key)).or_insert(OwnershipRow {
                first: at,
                last: at,
                current: None,
            });
            row.first = row.first.min(at);
            row.last = row.last.max(at);
        }
        if !matches!(event.body, StagedBody::Deleted) {
            let (first, last) = self.row.seen.unwrap_or((at, at));
            self.row.seen = Some((first.min(at), last.max(at)));
        }
        match &event.body {
            StagedBody::Replace { photos, facts } => {
                let base = Base { at, hash: event.content_hash, deleted: false };
                self.rebase(base, photos, Some(facts))
            }
            StagedBody::Deleted => {
                self.rebase(Base { at, hash: event.content_hash, deleted: true }, &[], None)
            }
            StagedBody::Add { photos, facts } => self.add(at, photos, facts.as_ref()),
        }
    }

    /// What the photos of adding events must be later than to count.
    pub fn floor(&self) -> Option<i64> {
        self.row.base.map(|base| base.at)
    }

    fn rebase(&mut self, new: Base, photos: &[EmbeddedPhoto], facts: Option<&ProfileFacts>) -> Verdict {
        let newer = match self.row.base {
            Some(old) if (old.at, old.hash) > (new.at, new.hash) => return Verdict::Superseded,
            Some(old) => (old.at, old.hash) < (new.at, new.hash),
            None => true,
        };
        if newer {
            self.row.base = Some(new);
            for row in self.photos.values_mut() {
                row.current = row.current.filter(|at| *at > new.at);
            }
            if self.row.facts.as_ref().is_none_or(|old| old.at <= new.at) {
                self.row.facts =
                    facts.map(|facts| VersionedFacts { at: new.at, hash: new.hash, facts: facts.clone() });
            }
        }
        self.claim(photos, new.at);
        Verdict::Applied
    }

    fn add(&mut self, at: i64, photos: &[EmbeddedPhoto], facts: Option<&ProfileFacts>) -> Verdict {
        self.row.added_at = self.row.added_at.max(Some(at));
        if self.floor().is_some_and(|floor| floor >= at) {
            return Verdict::Superseded;
        }
        self.claim(photos, at);
        if let Some(facts) = facts {
            // The hash of the event would depend on how its rows were cut into events.
            let hash = facts_hash(facts);
            if self.row.facts.as_ref().is_none_or(|old| (old.at, old.hash) < (at, hash)) {
                self.row.facts = Some(VersionedFacts { at, hash, facts: facts.clone() });
            }
        }
        Verdict::Applied
    }

    fn claim(&mut self, photos: &[EmbeddedPhoto], at: i64) {
        for photo in photos {
            let of_key = |byte| (photo.photo_id.clone(), PhotoKey::from_sha256([byte; 32]));
            let latest = self
                .photos
                .range(of_key(0)..=of_key(0xff))
                .filter_map(|((_, key), row)| Some((row.current?, *key)))
                .max();
            if latest.is_some_and(|latest| latest > (at, photo.key)) {
                continue;
            }
            if let Some((_, key)) = latest
                && let Some(row) = self.photos.get_mut(&(photo.photo_id.clone(), key))
            {
                row.current = None;
            }
            if let Some(row) = self.photos.get_mut(&(photo.photo_id.clone(), photo.key)) {
                row.current = Some(at);
            }
        }
    }
}

/// Orders facts of one time.
pub(crate) fn facts_hash(facts: &ProfileFacts) -> [u8; 32] {
    let mut form = Enc::default();
    encode_facts(facts, &mut form);
    Sha256::digest(form.into_bytes()).into()
}
