//! Taking changes in.
//!
//! Invariant: afterwards the rows are those of the whole population as it is now, and whoever stood in any relation to what
//! went or came is touched, or has a face that is marked as fresh.

use std::collections::{BTreeSet, HashMap, HashSet};

use records::{AccountId, FaceKey, PhotoKey};

use super::rows::Rows;
use super::walk::Meaning;
use crate::input::Input;

/// A face by its key.
type Named = (PhotoKey, u64);

impl Rows {
    /// Takes changes in (`rows` canonical, `photos` those that are listed whole beside the ones of changed accounts); gives
    /// the accounts they touch: the changed ones, whoever shared something with them before, and whoever resembled what
    /// went.
    pub(super) fn take(
        &mut self,
        rows: &Input,
        photos: &[PhotoKey],
        deleted: &[AccountId],
        meaning: &Meaning<'_>,
    ) -> BTreeSet<u32> {
        self.frame.as_of = self.frame.as_of.max(rows.as_of);
        self.frame.take_decisions(rows);
        let mut touched = BTreeSet::new();
        let mut before: BTreeSet<u32> = BTreeSet::new();
        let changed = rows.accounts.iter().map(|a| &a.id).chain(deleted);
        for at in changed.filter_map(|id| self.account_at.get(id).copied()).collect::<Vec<_>>() {
            for own in &self.shown[at as usize] {
                before.insert(own.photo);
                // Whoever shares a popular photo is not touched by one owner less.
                if !self.popular_photo(own.photo, meaning) {
                    touched.extend(self.owners[own.photo as usize].iter().copied());
                }
            }
        }
        let mut whole: BTreeSet<PhotoKey> = photos.iter().copied().collect();
        for photo in whole.iter().filter_map(|key| self.photo_at.get(key).copied()).collect::<Vec<_>>() {
            touched.extend(self.owners(photo));
            self.unsettle(photo, meaning, &mut touched);
        }
        whole.extend(rows.ownerships.iter().map(|own| rows.photos[own.photo as usize].key));
        let known: HashSet<u32> = whole.iter().filter_map(|key| self.photo_at.get(key).copied()).collect();
        let new_owner: Vec<u32> = known.iter().copied().filter(|photo| !self.owned(*photo)).collect();
        self.drop_unlisted(rows, &whole, meaning, &mut touched);
        for id in deleted {
            if let Some(at) = self.account_at.get(id) {
                self.accounts[*at as usize] = None;
                self.shown[*at as usize].clear();
            }
        }
        touched.extend(self.add(rows, false));
        for photo in before.into_iter().filter(|photo| !self.owned(*photo)).collect::<Vec<_>>() {
            self.unsettle(photo, meaning, &mut touched);
        }
        let described = photos.iter().filter_map(|key| self.photo_at.get(key));
        for photo in described.copied().chain(new_owner).collect::<Vec<_>>() {
            self.fresh.extend(self.faces[photo as usize].iter().copied());
        }
        touched
    }

    /// Marks what resembles a photo that goes or changes: what held together by it, or was kept apart, is looked at again.
    fn unsettle(&mut self, photo: u32, meaning: &Meaning<'_>, touched: &mut BTreeSet<u32>) {
        if self.popular_photo(photo, meaning) {
            return;
        }
        for face in self.faces[photo as usize].clone() {
            self.unsettle_face(face, meaning, touched);
        }
    }

    fn unsettle_face(&mut self, face: u32, meaning: &Meaning<'_>, touched: &mut BTreeSet<u32>) {
        if self.popular_face(face, meaning) {
            return;
        }
        let near: Vec<(u32, u32)> = self
            .alike(face, meaning)
            .filter(|(other, there, _)| {
                !self.popular_photo(*there, meaning) && !self.popular_face(*other, meaning)
            })
            .map(|(other, there, _)| (other, there))
            .collect();
        for (other, there) in near {
            touched.extend(self.owners(there));
            self.fresh.insert(other);
        }
    }

    /// Drops faces of these photos, and links of their faces, that are not listed any more.
    fn drop_unlisted(
        &mut self,
        rows: &Input,
        whole: &BTreeSet<PhotoKey>,
        meaning: &Meaning<'_>,
        touched: &mut BTreeSet<u32>,
    ) {
        let name = |face: u32| -> Named {
            let face = &rows.faces[face as usize];
            (rows.photos[face.photo as usize].key, face.tag)
        };
        let mut listed: HashMap<Named, HashSet<Named>> = HashMap::new();
        for face in (0..rows.faces.len() as u32).map(name).filter(|(photo, _)| whole.contains(photo)) {
            listed.insert(face, HashSet::new());
        }
        for link in &rows.links {
            let (a, b) = (name(link.a), name(link.b));
            for (one, other) in [(a, b), (b, a)] {
                if let Some(others) = listed.get_mut(&one) {
                    others.insert(other);
                }
            }
        }
        for photo in whole.iter().filter_map(|key| self.photo_at.get(key).copied()).collect::<Vec<_>>() {
            for face in self.faces[photo as usize].clone() {
                let others = listed.get(&self.named(face));
                let gone: Vec<u32> = self.links_of[face as usize]
                    .iter()
                    .copied()
                    .filter(|link| {
                        let link = &self.links[*link as usize];
                        let other = if link.a == face { link.b } else { link.a };
                        !others.is_some_and(|others| others.contains(&self.named(other)))
                    })
                    .collect();
                if others.is_none() || !gone.is_empty() {
                    self.unsettle_face(face, meaning, touched);
                    self.fresh.insert(face);
                }
                for link in gone {
                    let (a, b) = (self.links[link as usize].a, self.links[link as usize].b);
                    // A link without a cosine means nothing.
                    self.links[link as usize].cosine = f32::NAN;
                    self.links_of[a as usize].retain(|l| *l != link);
                    self.links_of[b as usize].retain(|l| *l != link);
                }
                if others.is_none() {
                    self.faces[photo as usize].retain(|f| *f != face);
                    self.fresh.remove(&face);
                }
            }
        }
    }

    fn named(&self, face: u32) -> Named {
        let face = &self.face[face as usize];
        (self.photos[face.photo as usize].key, face.tag)
    }
}

/// Whether a face or photo among changes is popular, so that what changes about it may change everything.
pub(super) fn touches_popular(photos: &[PhotoKey], background: &crate::background::Background) -> bool {
    let photos: HashSet<&PhotoKey> = photos.iter().collect();
    photos.iter().any(|key| background.popular_photos.contains_key(key))
        || (!photos.is_empty()
            && background.popular_people.keys().any(|face: &FaceKey| photos.contains(&face.photo)))
}
