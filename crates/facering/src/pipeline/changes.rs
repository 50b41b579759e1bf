//! What the detector needs to know of the accounts that commits touched, taken from one published state of the store.
//!
//! Invariant: every row equals the one that [`super::input`] reads from the same state. Pictures that nobody shows are left
//! out, and so are links with their faces.

use std::collections::{BTreeSet, HashMap};

use anyhow::Context;
use clusters::{Changes, Input, PackCalibration, PreviousCluster};
use records::{FaceKey, FaceOrdinal, PhotoKey, PhotoRelation};
use store::{Reader, Touches};

use super::input;

/// Reads the touched accounts with all they show, the touched pictures, and what these resemble.
pub fn read(
    reader: &Reader,
    pack: PackCalibration,
    previous: Vec<PreviousCluster>,
    touches: &Touches,
) -> anyhow::Result<Changes> {
    let mut reading = Reading {
        reader,
        rows: input::frame(reader, pack, previous)?,
        places: HashMap::new(),
        faces: HashMap::new(),
    };
    let mut deleted = Vec::new();
    let mut whole: BTreeSet<PhotoKey> = BTreeSet::new();
    for id in &touches.accounts {
        let stored = reader.account(id).context("an account cannot be read from the state")?;
        let Some(account) = stored.and_then(|stored| input::account(id.clone(), stored)) else {
            deleted.push(id.clone());
            continue;
        };
        let number = u32::try_from(reading.rows.accounts.len())?;
        reading.rows.accounts.push(account);
        for own in reader.photos_of(id).context("the photos of an account cannot be read from the state")? {
            if let Some(photo) = reading.photo(own.photo)? {
                whole.insert(own.photo);
                reading.rows.ownerships.push(clusters::Ownership {
                    account: number,
                    photo,
                    photo_id: own.photo_id,
                    observed_at: own.first_observed,
                });
            }
        }
    }
    let mut photos = Vec::new();
    for key in &touches.photos {
        if reading.photo(*key)?.is_some() {
            photos.push(*key);
            whole.insert(*key);
        }
    }
    reading.whole(&whole).context("the faces of a picture cannot be read from the state")?;
    Ok(Changes { rows: reading.rows, photos, deleted })
}

/// What a face resembles: the other face, the cosine, how alike the pictures are.
fn links_of(reader: &Reader, face: FaceOrdinal) -> anyhow::Result<Vec<(FaceKey, f32, PhotoRelation)>> {
    let mut links = Vec::new();
    for link in reader.links_of(face)? {
        let other = if link.older == face { link.newer } else { link.older };
        links.extend(reader.face_at(other)?.map(|key| (key, link.cosine.get(), link.relation)));
    }
    Ok(links)
}

struct Reading<'a> {
    reader: &'a Reader,
    rows: Input,
    /// Pictures that were looked up, and their numbers; `None` for those that nobody shows.
    places: HashMap<PhotoKey, Option<u32>>,
    /// The numbers of faces.
    faces: HashMap<FaceKey, u32>,
}

impl Reading<'_> {
    /// The number of a picture; `None` if nobody shows it.
    fn photo(&mut self, key: PhotoKey) -> anyhow::Result<Option<u32>> {
        if let Some(place) = self.places.get(&key) {
            return Ok(*place);
        }
        let stored = self.reader.photo(&key).context("a picture cannot be read from the state")?;
        let place = match stored.filter(|photo| photo.owners > 0) {
            Some(photo) => {
                let place = u32::try_from(self.rows.photos.len())?;
                self.rows.photos.push(clusters::Photo { key, hashed: photo.facts.hashed });
                Some(place)
            }
            None => None,
        };
        self.places.insert(key, place);
        Ok(place)
    }

    fn face(&mut self, photo: u32, key: FaceKey, stored: &store::StoredFace) -> anyhow::Result<u32> {
        let number = u32::try_from(self.rows.faces.len())?;
        self.rows.faces.push(input::face(photo, key, stored));
        self.faces.insert(key, number);
        Ok(number)
    }

    /// All faces of these pictures with all their links.
    fn whole(&mut self, pictures: &BTreeSet<PhotoKey>) -> anyhow::Result<()> {
        let mut listed = Vec::new();
        for key in pictures {
            let Some(photo) = self.photo(*key)? else { continue };
            for row in self.reader.faces_of(*key) {
                let (key, stored) = row?;
                self.face(photo, key, &stored)?;
                listed.push((key, stored.ordinal));
            }
        }
        for (face, ordinal) in listed {
            for (other, cosine, relation) in links_of(self.reader, ordinal)? {
                if pictures.contains(&other.photo) && other < face {
                    // It is met at its other end as well.
                    continue;
                }
                if let (Some(a), Some(b)) = (self.end(face)?, self.end(other)?) {
                    self.rows.links.push(clusters::Link { a, b, cosine, relation });
                }
            }
        }
        Ok(())
    }

    /// The number of a face at the end of a link; `None` if nobody shows its picture.
    fn end(&mut self, key: FaceKey) -> anyhow::Result<Option<u32>> {
        if let Some(number) = self.faces.get(&key) {
            return Ok(Some(*number));
        }
        let Some(photo) = self.photo(key.photo)? else { return Ok(None) };
        match self.reader.face(key)? {
            Some(stored) => self.face(photo, key, &stored).map(Some),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
