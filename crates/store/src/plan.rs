//! What a batch will do to the state, worked out before anything is written, so that the neighbours of its new faces can
//! be searched for meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use records::{
    AccountId, Batch, Checkpoint, EmbeddedEvent, Embedding, FaceKey, FaceOrdinal, PackId, Pdq, PhotoId,
    PhotoKey, Timestamp,
};

use crate::account::OwnershipRow;
use crate::codec::Row;
use crate::event_time::{AccountDraft, OwnershipRows, Verdict};
use crate::photo_merge::{FaceDraft, PhotoDraft, Said};
use crate::rows::PhotoRow;
use crate::{Reader, StoreError, StoredFace, keys};

/// A face that a batch brings and the state does not have.
#[derive(Clone, Debug)]
pub struct NewFace {
    /// Its key.
    pub key: FaceKey,
    /// The ordinal it gets if this plan is committed.
    pub ordinal: FaceOrdinal,
    /// Its embedding, before rounding to fp16.
    pub embedding: Embedding,
    /// Whether it may make a link.
    pub linkable: bool,
    /// PDQ of the picture.
    pub photo_pdq: Option<Pdq>,
    /// PDQ of the mirrored picture.
    pub photo_pdq_mirrored: Option<Pdq>,
    /// PDQ of the aligned face.
    pub pdq: Option<Pdq>,
    /// PDQ of the same, mirrored.
    pub pdq_mirrored: Option<Pdq>,
}

/// What a commit changes for those who follow the state.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Touches {
    /// Accounts, deleted ones included.
    pub accounts: Vec<AccountId>,
    /// Pictures.
    pub photos: Vec<PhotoKey>,
}

/// A photo that an event took for known, while the state does not have its picture (any more).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MissingPhoto {
    /// The account.
    pub account: AccountId,
    /// Its name for the photo.
    pub photo_id: PhotoId,
    /// The picture.
    pub photo: PhotoKey,
}

/// What became of planning.
#[derive(Debug)]
pub enum Planned {
    /// Ready to be committed.
    Ready(Box<Plan>),
    /// The batch as it was given, and the photos of it that must be fetched and embedded again before it can be planned.
    Missing {
        /// The batch.
        batch: Batch<EmbeddedEvent>,
        /// The photos, each once.
        photos: Vec<MissingPhoto>,
    },
}

/// What a batch will do to the state of one commit.
pub struct Plan {
    pub(crate) base_commit: u64,
    pub(crate) batch: Batch<EmbeddedEvent>,
    pub(crate) accounts: BTreeMap<AccountId, AccountChange>,
    pub(crate) photos: Vec<PhotoDraft>,
    pub(crate) new_faces: Vec<NewFace>,
    pub(crate) pack: Option<PackId>,
    pub(crate) dimension: Option<u32>,
    pub(crate) greatest_observed_at: Option<Timestamp>,
    pub(crate) applied: usize,
    pub(crate) superseded: usize,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan")
            .field("base_commit", &self.base_commit)
            .field("applied", &self.applied)
            .field("superseded", &self.superseded)
            .field("photos", &self.photos.len())
            .field("new_faces", &self.new_faces.len())
            .finish_non_exhaustive()
    }
}

/// An account before and after a batch.
pub(crate) struct AccountChange {
    pub existed: bool,
    pub before: AccountDraft,
    pub after: AccountDraft,
}

impl Plan {
    /// The faces to search neighbours for, in the order of their ordinals.
    pub fn new_faces(&self) -> &[NewFace] {
        &self.new_faces
    }

    /// Faces that this plan takes away (given ones, where the picture itself was examined since, or whose event was
    /// superseded). Links to them are dropped.
    pub fn removed_faces(&self) -> impl Iterator<Item = (FaceKey, FaceOrdinal)> {
        self.photos.iter().flat_map(|photo| photo.removed.iter().copied())
    }

    /// What readers will see changed: accounts whose row or shown photos change, and pictures that are described otherwise
    /// than before or have other faces. A picture that only gains or loses owners is not named, its accounts are.
    pub fn touches(&self) -> Touches {
        let mut touches = Touches::default();
        for (account, change) in &self.accounts {
            if !change.existed
                || change.before.row != change.after.row
                || change.before.photos != change.after.photos
            {
                touches.accounts.push(account.clone());
            }
        }
        for draft in &self.photos {
            // When a face was last given is nothing that anybody follows, and changes with every further owner.
            let same = |before: &StoredFace, after: &StoredFace| {
                StoredFace { given_at: after.given_at, ..before.clone() } == *after
            };
            let changed = |face: &FaceDraft| !face.before.as_ref().is_some_and(|b| same(b, &face.after));
            let faces = draft.faces.values().any(changed);
            let described = draft.before.as_ref().is_some_and(|before| {
                let PhotoRow { owners, orphaned_at, .. } = draft.row;
                PhotoRow { owners, orphaned_at, ..before.clone() } != draft.row
            });
            if faces || described || !draft.removed.is_empty() {
                touches.photos.push(draft.key);
            }
        }
        touches
    }

    /// Gives the batch back, to plan it again.
    pub fn into_batch(self) -> Batch<EmbeddedEvent> {
        self.batch
    }
}

/// Works out what the batch does to the state that the reader shows.
pub(crate) fn plan(state: &Reader, batch: Batch<EmbeddedEvent>) -> Result<Planned, StoreError> {
    Checkpoint::clone(&state.checkpoint).apply(&batch.delta)?;
    let (pack, dimension) = one_pack(state, &batch)?;
    let mut said: HashMap<PhotoKey, Vec<Said<'_>>> = HashMap::new();
    let mut said_order = Vec::new();
    for event in &batch.items {
        for photo in event.photos() {
            if let Some(content) = &photo.content {
                let all = said.entry(photo.key).or_default();
                if all.is_empty() {
                    said_order.push(photo.key);
                }
                all.push(Said { at: event.observed_at, content });
            }
        }
    }
    let mut accounts = BTreeMap::new();
    let (mut applied, mut superseded) = (0, 0);
    for event in &batch.items {
        if !accounts.contains_key(&event.account) {
            accounts.insert(event.account.clone(), load_account(state, &event.account)?);
        }
        let Some(change) = accounts.get_mut(&event.account) else { continue };
        match change.after.apply(event) {
            Verdict::Applied => applied += 1,
            Verdict::Superseded => superseded += 1,
        }
    }
    let owners = OwnerChanges::of(&accounts);
    let mut photos: HashMap<PhotoKey, PhotoDraft> = HashMap::new();
    for key in owners.delta.keys().chain(&said_order).chain(&owners.later_than_base) {
        if !photos.contains_key(key) {
            photos.insert(*key, PhotoDraft::new(*key, state.photo_row(key)?));
        }
    }
    let missing = missing(&accounts, &photos, &said);
    if !missing.is_empty() {
        return Ok(Planned::Missing { batch, photos: missing });
    }
    let commit = state.commit() + 1;
    for draft in photos.values_mut() {
        let delta = owners.delta.get(&draft.key).copied().unwrap_or_default();
        draft.row.owners = draft.row.owners.saturating_add_signed(delta);
        if draft.row.owners == 0 {
            draft.row.orphaned_at = draft.row.orphaned_at.or(Some(commit));
            continue;
        }
        let reclaimed = draft.row.orphaned_at.take().is_some();
        let said = said.get(&draft.key).map(Vec::as_slice).unwrap_or_default();
        let given = draft.before.as_ref().is_some_and(|before| !before.complete);
        let rebased = given && (reclaimed || owners.later_than_base.contains(&draft.key));
        if !said.is_empty() || rebased {
            let faces = match draft.before {
                Some(PhotoRow { complete: false, .. }) => {
                    state.faces_of(draft.key).collect::<Result<_, _>>()?
                }
                _ => Vec::new(),
            };
            draft.merge(faces, said, owners.floor.get(&draft.key).copied());
        }
    }
    let mut ordered: Vec<PhotoDraft> = said_order.iter().filter_map(|key| photos.remove(key)).collect();
    let mut others: Vec<PhotoDraft> = photos.into_values().collect();
    others.sort_by_key(|draft| draft.key);
    ordered.extend(others);
    // A picture that nobody owns after the batch is not taken in at all.
    ordered.retain(|draft| draft.before.is_some() || draft.row.owners > 0);
    let new_faces = number(&mut ordered, state.meta.next_ordinal);
    let greatest = batch.items.iter().map(|event| event.observed_at).max();
    Ok(Planned::Ready(Box::new(Plan {
        base_commit: state.commit(),
        accounts,
        photos: ordered,
        new_faces,
        pack,
        dimension,
        greatest_observed_at: state.greatest_observed_at().max(greatest),
        applied,
        superseded,
        batch,
    })))
}

/// Who gained and lost which picture.
struct OwnerChanges {
    delta: HashMap<PhotoKey, i64>,
    /// The base of the account that shows the picture; matters where nobody knows the bytes, and one account owns it.
    floor: HashMap<PhotoKey, i64>,
    /// Shown by adding events of accounts whose base moved: which faces of theirs count must be looked at again.
    later_than_base: BTreeSet<PhotoKey>,
}

impl OwnerChanges {
    fn of(accounts: &BTreeMap<AccountId, AccountChange>) -> Self {
        let mut changes =
            Self { delta: HashMap::new(), floor: HashMap::new(), later_than_base: BTreeSet::new() };
        for AccountChange { before, after, .. } in accounts.values() {
            for (_, key) in shown(&before.photos) {
                *changes.delta.entry(key).or_default() -= 1;
            }
            let rebased = before.row.base != after.row.base;
            for ((_, key), row) in &after.photos {
                let Some(at) = row.current else { continue };
                *changes.delta.entry(*key).or_default() += 1;
                if let Some(floor) = after.floor() {
                    let lowest = changes.floor.entry(*key).or_insert(floor);
                    *lowest = floor.min(*lowest);
                    if rebased && at > floor {
                        changes.later_than_base.insert(*key);
                    }
                }
            }
        }
        changes.delta.retain(|_, delta| *delta != 0);
        changes
    }
}

/// The photos that these rows show now.
pub(crate) fn shown(rows: &OwnershipRows) -> impl Iterator<Item = (PhotoId, PhotoKey)> {
    rows.iter().filter(|(_, row)| row.current.is_some()).map(|(key, _)| key.clone())
}

fn load_account(state: &Reader, account: &AccountId) -> Result<AccountChange, StoreError> {
    let row = state.account_row(account)?;
    let existed = row.is_some();
    let mut before = AccountDraft { row: row.unwrap_or_default(), photos: OwnershipRows::new() };
    if existed {
        for row in state.scan_prefix(&state.keyspaces.ownerships, &keys::account_prefix(account)) {
            let (key, value) = row?;
            let (_, photo_id, photo) = keys::parse_ownership(&key)?;
            before.photos.insert((photo_id, photo), OwnershipRow::from_bytes(&value)?);
        }
    }
    Ok(AccountChange { existed, after: before.clone(), before })
}

/// Photos that are shown after the batch, while neither the state nor the batch has their picture.
fn missing(
    accounts: &BTreeMap<AccountId, AccountChange>,
    photos: &HashMap<PhotoKey, PhotoDraft>,
    said: &HashMap<PhotoKey, Vec<Said<'_>>>,
) -> Vec<MissingPhoto> {
    let unknown = |key: &PhotoKey| {
        !said.contains_key(key) && photos.get(key).is_some_and(|draft| draft.before.is_none())
    };
    let mut missing = Vec::new();
    for (account, change) in accounts {
        for (photo_id, photo) in shown(&change.after.photos).filter(|(_, key)| unknown(key)) {
            missing.push(MissingPhoto { account: account.clone(), photo_id, photo });
        }
    }
    missing
}

/// The one model pack and dimension of the state and the batch.
fn one_pack(
    state: &Reader,
    batch: &Batch<EmbeddedEvent>,
) -> Result<(Option<PackId>, Option<u32>), StoreError> {
    let (mut pack, mut dimension) = (state.pack().cloned(), state.dimension());
    let photos = batch.items.iter().flat_map(|event| event.photos());
    for content in photos.filter_map(|photo| photo.content.as_ref()) {
        let found = &content.facts.pack;
        let state = pack.get_or_insert_with(|| found.clone());
        if state != found {
            return Err(StoreError::Pack { state: state.clone(), found: found.clone() });
        }
        for face in &content.faces {
            let found = face.embedding.dimension() as u32;
            let state = *dimension.get_or_insert(found);
            if state != found {
                return Err(StoreError::Dimension { state, found });
            }
        }
    }
    Ok((pack, dimension))
}

/// Gives new faces their ordinals: by the order in which the batch names the pictures, then by key.
fn number(photos: &mut [PhotoDraft], mut next: u64) -> Vec<NewFace> {
    let mut new_faces = Vec::new();
    for draft in photos {
        for (key, face) in &mut draft.faces {
            let Some(embedding) = &face.embedding else { continue };
            face.after.ordinal = FaceOrdinal(next);
            next += 1;
            new_faces.push(NewFace {
                key: *key,
                ordinal: face.after.ordinal,
                embedding: embedding.clone(),
                linkable: face.after.quality.linkable,
                photo_pdq: draft.row.pdq,
                photo_pdq_mirrored: draft.row.pdq_mirrored,
                pdq: face.after.pdq,
                pdq_mirrored: face.after.pdq_mirrored,
            });
        }
    }
    new_faces
}
