//! What the detector reads, and its canonical form.
//!
//! Invariants:
//! - After [`Input::canonical`] everything is sorted by ids and free of doubles, so equal sets of accounts, photos, faces,
//!   ownerships and links give equal bytes whatever order they arrived in.
//! - All indices lie within their tables; a link's ends are two faces of two distinct pictures.

use rayon::prelude::*;
use records::{AccountId, FaceKey, PhotoId, PhotoKey, PhotoRelation, ProfileFacts, Timestamp};

use crate::{ClustersError, PackCalibration};

/// An account with its profile as last seen.
#[derive(Clone, PartialEq, Debug)]
pub struct Account {
    /// The account.
    pub id: AccountId,
    /// Its profile.
    pub facts: ProfileFacts,
    /// First observation of the account.
    pub first_seen: Timestamp,
    /// Latest observation of the account.
    pub last_seen: Timestamp,
}

/// A distinct picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Photo {
    /// Its key.
    pub key: PhotoKey,
    /// Whether the key is the SHA-256 of real bytes, so that two owners of it have the same bytes.
    pub hashed: bool,
}

/// A face in a picture.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Face {
    /// Index into [`Input::photos`].
    pub photo: u32,
    /// The tag of its [`FaceKey`].
    pub tag: u64,
    /// Whether it may make a link (large, sharp and frontal enough).
    pub linkable: bool,
    /// Whether it is the largest of its picture.
    pub main: bool,
    /// Width in pixels of the source picture.
    pub width_px: f32,
    /// Distance of the eyes from where generated portraits put them, if known (`records::Face::eye_alignment`).
    pub eye_alignment: Option<f32>,
}

/// An account that has a picture among its current photos.
#[derive(Clone, PartialEq, Debug)]
pub struct Ownership {
    /// Index into [`Input::accounts`].
    pub account: u32,
    /// Index into [`Input::photos`].
    pub photo: u32,
    /// The account's name for the photo.
    pub photo_id: PhotoId,
    /// When the picture was first observed on this account.
    pub observed_at: Timestamp,
}

/// Two faces that are alike: raw measurements only.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Link {
    /// Index into [`Input::faces`].
    pub a: u32,
    /// Index into [`Input::faces`].
    pub b: u32,
    /// Exact cosine of the embeddings.
    pub cosine: f32,
    /// How alike the two pictures are.
    pub relation: PhotoRelation,
}

/// What analysts vouched for. Expired entries are to be left out by the caller.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct AllowLists {
    /// Accounts that are never members and link nobody.
    pub accounts: Vec<AccountId>,
    /// Pictures (and their copies) that link nobody.
    pub photos: Vec<PhotoKey>,
    /// Faces: no picture of that person links anybody.
    pub faces: Vec<FaceKey>,
}

/// A cluster of the snapshot before, for lineage.
#[derive(Clone, PartialEq, Debug)]
pub struct PreviousCluster {
    /// Its id.
    pub cluster_id: String,
    /// Its accounts of role `member`.
    pub members: Vec<AccountId>,
}

/// A cluster that an analyst dismissed; it stays away until a new member or more evidence arrives.
#[derive(Clone, PartialEq, Debug)]
pub struct Dismissed {
    /// Its accounts of role `member` when it was dismissed.
    pub members: Vec<AccountId>,
    /// Rows it had in `evidence.parquet` then.
    pub evidence: u64,
}

/// A cluster that an analyst confirmed: its members are bots of one network.
#[derive(Clone, PartialEq, Debug)]
pub struct Confirmed {
    /// Its accounts of role `member` when it was confirmed.
    pub members: Vec<AccountId>,
}

/// Clusters that an analyst put together.
#[derive(Clone, PartialEq, Debug)]
pub struct Merged {
    /// All accounts of role `member` of these clusters when they were merged.
    pub members: Vec<AccountId>,
}

/// A cluster that an analyst took apart: nobody of the one side is ever in a cluster with somebody of the other.
#[derive(Clone, PartialEq, Debug)]
pub struct Split {
    /// Accounts of one side.
    pub one: Vec<AccountId>,
    /// Accounts of the other side.
    pub other: Vec<AccountId>,
}

/// Everything the detector reads. Order does not matter; entries must not contradict each other.
#[derive(Clone, Debug)]
pub struct Input {
    /// Greatest `observed_at` of the data.
    pub as_of: Timestamp,
    /// What a cosine means.
    pub pack: PackCalibration,
    /// All accounts, deleted ones left out.
    pub accounts: Vec<Account>,
    /// All distinct pictures.
    pub photos: Vec<Photo>,
    /// All faces.
    pub faces: Vec<Face>,
    /// Who has what. At most one row for an account and `photo_id`.
    pub ownerships: Vec<Ownership>,
    /// Links between faces, each pair once, in either order of its ends.
    pub links: Vec<Link>,
    /// What analysts vouched for.
    pub allow: AllowLists,
    /// The clusters of the snapshot before.
    pub previous: Vec<PreviousCluster>,
    /// What analysts dismissed.
    pub dismissed: Vec<Dismissed>,
    /// What analysts confirmed. An allowed account is not taken as confirmed.
    pub confirmed: Vec<Confirmed>,
    /// What analysts put together.
    pub merged: Vec<Merged>,
    /// What analysts took apart; stronger than `merged`.
    pub split: Vec<Split>,
}

impl Input {
    /// An input without any rows.
    pub fn empty(as_of: Timestamp, pack: PackCalibration) -> Self {
        Self {
            as_of,
            pack,
            accounts: Vec::new(),
            photos: Vec::new(),
            faces: Vec::new(),
            ownerships: Vec::new(),
            links: Vec::new(),
            allow: AllowLists::default(),
            previous: Vec::new(),
            dismissed: Vec::new(),
            confirmed: Vec::new(),
            merged: Vec::new(),
            split: Vec::new(),
        }
    }

    /// Takes over what analysts decided, and the clusters before.
    pub(crate) fn take_decisions(&mut self, from: &Self) {
        self.allow = from.allow.clone();
        self.previous = from.previous.clone();
        self.dismissed = from.dismissed.clone();
        self.confirmed = from.confirmed.clone();
        self.merged = from.merged.clone();
        self.split = from.split.clone();
    }

    /// Sorts everything by ids, removes doubles and re-numbers the references.
    ///
    /// # Errors
    /// [`ClustersError::Reference`] if an index points past its table, [`ClustersError::TooMany`] past 2^32 rows.
    pub(crate) fn canonical(self) -> Result<Self, ClustersError> {
        let tables = [
            ("accounts", self.accounts.len()),
            ("photos", self.photos.len()),
            ("faces", self.faces.len()),
            ("ownerships", self.ownerships.len()),
            ("links", self.links.len()),
        ];
        if let Some((table, rows)) = tables.into_iter().find(|(_, rows)| *rows >= u32::MAX as usize) {
            return Err(ClustersError::TooMany { table, rows });
        }
        let (photos, accounts, faces) = (self.photos.len(), self.accounts.len(), self.faces.len());
        let check = |table, fine: bool| if fine { Ok(()) } else { Err(ClustersError::Reference { table }) };
        check("faces", self.faces.iter().all(|f| (f.photo as usize) < photos))?;
        check(
            "ownerships",
            self.ownerships.iter().all(|o| (o.photo as usize) < photos && (o.account as usize) < accounts),
        )?;
        check("links", self.links.iter().all(|l| (l.a as usize) < faces && (l.b as usize) < faces))?;
        Ok(self.sorted())
    }

    /// The same without looking whether references are right.
    pub(crate) fn sorted(mut self) -> Self {
        let account_at = sort_by_key(&mut self.accounts, |a| a.id.clone());
        let photo_at = sort_by_key(&mut self.photos, |p| p.key);
        for face in &mut self.faces {
            face.photo = photo_at[face.photo as usize];
        }
        let face_at = sort_by_key(&mut self.faces, |f| (f.photo, f.tag));
        for own in &mut self.ownerships {
            own.account = account_at[own.account as usize];
            own.photo = photo_at[own.photo as usize];
        }
        self.ownerships.par_sort_by(|x, y| {
            (x.account, x.photo, &x.photo_id, x.observed_at).cmp(&(
                y.account,
                y.photo,
                &y.photo_id,
                y.observed_at,
            ))
        });
        self.ownerships
            .dedup_by(|x, y| (x.account, x.photo, &x.photo_id) == (y.account, y.photo, &y.photo_id));
        for link in &mut self.links {
            let (a, b) = (face_at[link.a as usize], face_at[link.b as usize]);
            (link.a, link.b) = (a.min(b), a.max(b));
        }
        let faces = &self.faces;
        self.links.retain(|l| !l.cosine.is_nan() && faces[l.a as usize].photo != faces[l.b as usize].photo);
        // Of two measurements of one pair the more alike counts, then the smaller distances.
        self.links.par_sort_unstable_by(|x, y| {
            let rank = |l: &Link| {
                let far = |d: Option<u16>| d.unwrap_or(u16::MAX);
                (far(l.relation.pdq_distance), far(l.relation.crop_distance), l.relation.mirrored)
            };
            (x.a, x.b)
                .cmp(&(y.a, y.b))
                .then(y.cosine.total_cmp(&x.cosine))
                .then_with(|| rank(x).cmp(&rank(y)))
        });
        self.links.dedup_by(|x, y| (x.a, x.b) == (y.a, y.b));
        self.previous.sort_by(|x, y| x.cluster_id.cmp(&y.cluster_id));
        self
    }
}

/// Sorts and removes doubles by key; gives the new index of every old one. Of doubles the first in the old order stays,
/// so a caller with contradicting rows of one id gets an arbitrary one of them.
fn sort_by_key<T: Clone + Send + Sync, K: Ord + Send>(
    rows: &mut Vec<T>,
    key: impl Fn(&T) -> K + Sync,
) -> Vec<u32> {
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    if !rows.is_sorted_by(|x, y| key(x) <= key(y)) {
        order.par_sort_by(|x, y| key(&rows[*x as usize]).cmp(&key(&rows[*y as usize])));
    }
    let mut new_at = vec![0u32; rows.len()];
    let mut sorted: Vec<T> = Vec::with_capacity(rows.len());
    for old in order {
        let row = &rows[old as usize];
        if sorted.last().is_none_or(|last| key(last) != key(row)) {
            sorted.push(row.clone());
        }
        new_at[old as usize] = sorted.len() as u32 - 1;
    }
    *rows = sorted;
    new_at
}
