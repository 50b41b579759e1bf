//! What the detector reads, taken from one published state of the store.
//!
//! The store gives its rows sorted by key, so positions are found by binary search, and those of faces by their numbers,
//! which are dense: nothing is hashed.

use anyhow::Context;
use clusters::{Input, PackCalibration, PreviousCluster};
use records::{AccountId, FaceKey, FaceOrdinal, PhotoKey, Timestamp};
use store::Reader;

use super::decisions;
use crate::clock;

/// Stands for a face that is not read.
const NOWHERE: u32 = u32::MAX;

/// Reads accounts, photos, faces, ownerships and links. Deleted accounts and pictures without owners are left out.
pub fn read(reader: &Reader, pack: PackCalibration, previous: Vec<PreviousCluster>) -> anyhow::Result<Input> {
    let mut input = frame(reader, pack, previous)?;
    read_accounts(reader, &mut input).context("the accounts cannot be read from the state")?;
    let photos = read_photos(reader, &mut input).context("the photos cannot be read from the state")?;
    read_ownerships(reader, &photos, &mut input).context("the owners cannot be read from the state")?;
    let faces = read_faces(reader, &photos, &mut input).context("the faces cannot be read from the state")?;
    read_links(reader, &faces, &mut input).context("the links cannot be read from the state")?;
    Ok(input)
}

/// An input without any rows: the time, what cosines mean, what analysts decided, and the clusters before.
pub fn frame(
    reader: &Reader,
    pack: PackCalibration,
    previous: Vec<PreviousCluster>,
) -> anyhow::Result<Input> {
    let as_of = reader.greatest_observed_at().unwrap_or(Timestamp::EPOCH);
    let mut input = Input::empty(as_of, pack);
    input.previous = previous;
    decisions::apply(
        &mut input,
        &reader.decisions().context("the decisions cannot be read from the state")?,
        clock::now(),
    );
    Ok(input)
}

/// A stored account as the detector takes it; `None` for a deleted one.
pub fn account(id: AccountId, account: store::Account) -> Option<clusters::Account> {
    (!account.deleted).then_some(clusters::Account {
        id,
        facts: account.facts,
        first_seen: account.first_seen,
        last_seen: account.last_seen,
    })
}

/// A stored face as the detector takes it, on the picture with this number.
pub fn face(photo: u32, key: FaceKey, face: &store::StoredFace) -> clusters::Face {
    clusters::Face {
        photo,
        tag: key.tag,
        linkable: face.quality.linkable,
        main: face.main,
        width_px: face.quality.width_px,
        eye_alignment: face.eye_alignment,
    }
}

fn position<K: Ord>(sorted: &[K], key: &K) -> Option<u32> {
    sorted.binary_search(key).ok().and_then(|at| u32::try_from(at).ok())
}

fn read_accounts(reader: &Reader, input: &mut Input) -> anyhow::Result<()> {
    for row in reader.accounts() {
        let (id, stored) = row?;
        input.accounts.extend(account(id, stored));
    }
    Ok(())
}

fn read_photos(reader: &Reader, input: &mut Input) -> anyhow::Result<Vec<PhotoKey>> {
    let mut keys = Vec::new();
    for row in reader.photos() {
        let (key, photo) = row?;
        if photo.owners > 0 {
            keys.push(key);
            input.photos.push(clusters::Photo { key, hashed: photo.facts.hashed });
        }
    }
    Ok(keys)
}

fn read_ownerships(reader: &Reader, photos: &[PhotoKey], input: &mut Input) -> anyhow::Result<()> {
    let accounts: Vec<AccountId> = input.accounts.iter().map(|account| account.id.clone()).collect();
    for row in reader.ownerships() {
        let own = row?;
        if let (Some(account), Some(photo)) =
            (position(&accounts, &own.account), position(photos, &own.photo))
        {
            input.ownerships.push(clusters::Ownership {
                account,
                photo,
                photo_id: own.photo_id,
                observed_at: own.first_observed,
            });
        }
    }
    Ok(())
}

/// Reads faces; gives the position of each by its number, [`NOWHERE`] for those left out.
fn read_faces(reader: &Reader, photos: &[PhotoKey], input: &mut Input) -> anyhow::Result<Vec<u32>> {
    let mut at = vec![NOWHERE; usize::try_from(reader.next_ordinal().0)?];
    for row in reader.faces() {
        let (key, stored) = row?;
        if let Some(photo) = position(photos, &key.photo) {
            if let Some(slot) = at.get_mut(usize::try_from(stored.ordinal.0)?) {
                *slot = u32::try_from(input.faces.len())?;
            }
            input.faces.push(face(photo, key, &stored));
        }
    }
    Ok(at)
}

fn read_links(reader: &Reader, faces: &[u32], input: &mut Input) -> anyhow::Result<()> {
    let at = |ordinal: FaceOrdinal| {
        let position = faces.get(usize::try_from(ordinal.0).ok()?).copied();
        position.filter(|position| *position != NOWHERE)
    };
    input.links.reserve_exact(usize::try_from(reader.counts().links)?);
    for row in reader.links()? {
        let link = row?;
        if let (Some(a), Some(b)) = (at(link.older), at(link.newer)) {
            input.links.push(clusters::Link { a, b, cosine: link.cosine.get(), relation: link.relation });
        }
    }
    Ok(())
}
