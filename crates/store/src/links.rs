//! Links as the state keeps them: by the numbers of their faces, a list for each face.
//!
//! Invariants:
//! - A link stands in the list of its newer face, which is written once, with the commit that brings the face.
//! - The older face has back lists that name the newer ones, one for each commit that brought any. A face that goes is
//!   taken out of them, so whoever they name is there.
//! - Lists may still name older faces that went: numbers are never used again, so they are passed over when read.
//!   Forgetting takes them out of the lists as well.

use std::collections::{BTreeMap, HashSet};

use fjall::Readable;
use records::{Cosine, FaceLink, FaceOrdinal, PhotoRelation};

use crate::codec::{Dec, Enc, Malformed, Row};
use crate::reader::RawRow;
use crate::writes::Writes;
use crate::{Reader, StoreError, keys};

/// An older face in the list of a newer one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Near {
    /// Its number.
    pub older: u64,
    pub cosine: Cosine,
    pub relation: PhotoRelation,
}

/// What a face is linked to among those before it, by their numbers. Its own number is the key.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct LinkList(pub Vec<Near>);

/// Faces of one commit whose lists name a face, by their numbers.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct BackList(pub Vec<u64>);

impl Row for LinkList {
    const KEYSPACE: &'static str = "links";

    fn encode(&self, to: &mut Enc) {
        let mut before = 0;
        for near in &self.0 {
            to.u64(near.older - before);
            before = near.older;
            to.f32(near.cosine.get());
            to.opt(near.relation.pdq_distance, |to, distance| to.u64(distance.into()));
            to.opt(near.relation.crop_distance, |to, distance| to.u64(distance.into()));
            to.bool(near.relation.mirrored);
        }
    }

    fn decode(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        let (mut list, mut before) = (Vec::new(), 0u64);
        while !from.is_empty() {
            before = before.checked_add(from.u64()?).ok_or(Malformed("a number is too large"))?;
            list.push(Near {
                older: before,
                cosine: Cosine::new(from.f32()?),
                relation: PhotoRelation {
                    pdq_distance: from.opt(Dec::u16)?,
                    crop_distance: from.opt(Dec::u16)?,
                    mirrored: from.bool()?,
                },
            });
        }
        Ok(Self(list))
    }
}

impl Row for BackList {
    const KEYSPACE: &'static str = "links_back";

    fn encode(&self, to: &mut Enc) {
        let mut before = 0;
        for newer in &self.0 {
            to.u64(newer - before);
            before = *newer;
        }
    }

    fn decode(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        let (mut list, mut before) = (Vec::new(), 0u64);
        while !from.is_empty() {
            before = before.checked_add(from.u64()?).ok_or(Malformed("a number is too large"))?;
            list.push(before);
        }
        Ok(Self(list))
    }
}

/// What a commit changes in lists that are there already.
#[derive(Default)]
pub(crate) struct Changes {
    /// Faces that go.
    gone: HashSet<u64>,
    /// Links that go, newer face first.
    removed: HashSet<(u64, u64)>,
    /// Back lists as they will be, by their keys: the older face, and a number before which none of the list stands.
    backs: BTreeMap<(u64, u64), Vec<u64>>,
    /// Lists from which forgotten faces are taken.
    lists: BTreeMap<u64, Vec<Near>>,
}

impl Writes<'_> {
    /// Puts links of new faces. Returns how many, and how many were passed over since one of their faces is gone or
    /// neither is new.
    pub fn links(&mut self, links: &[FaceLink]) -> (u64, u64) {
        let new = self.before.meta.next_ordinal..self.meta.next_ordinal;
        let mut kept: Vec<&FaceLink> = links
            .iter()
            .filter(|link| {
                new.contains(&link.newer.0)
                    && link.older < link.newer
                    && !self.changes.gone.contains(&link.older.0)
            })
            .collect();
        let dropped = (links.len() - kept.len()) as u64;
        kept.sort_unstable_by_key(|link| (link.newer, link.older));
        kept.dedup_by_key(|link| (link.newer, link.older));
        let keyspaces = &self.keyspaces().clone();
        for list in kept.chunk_by(|one, other| one.newer == other.newer) {
            let near = list.iter().map(|link| Near {
                older: link.older.0,
                cosine: link.cosine,
                relation: link.relation,
            });
            self.put(&keyspaces.links, list[0].newer.0.to_be_bytes(), LinkList(near.collect()).to_bytes());
        }
        kept.sort_unstable_by_key(|link| (link.older, link.newer));
        for list in kept.chunk_by(|one, other| one.older == other.older) {
            let key = keys::back_list(list[0].older.0, list[0].newer.0);
            let newer = list.iter().map(|link| link.newer.0).collect();
            self.put(&keyspaces.links_back, key, BackList(newer).to_bytes());
        }
        self.meta.counts.links += kept.len() as u64;
        (kept.len() as u64, dropped)
    }

    /// Removes the links of a face that goes; returns how many. If it is forgotten, its number leaves the lists of newer
    /// faces too.
    pub fn erase_links(&mut self, face: FaceOrdinal, forgotten: bool) -> Result<u64, StoreError> {
        let keyspaces = &self.keyspaces().clone();
        let (before, mut gone) = (self.before.clone(), 0);
        self.changes.gone.insert(face.0);
        let list = before.link_list(face.0)?;
        if !list.0.is_empty() {
            self.remove(&keyspaces.links, face.0.to_be_bytes());
        }
        for near in list.0 {
            if !self.changes.gone.contains(&near.older) {
                if before.face_at(FaceOrdinal(near.older))?.is_none() {
                    continue;
                }
                self.take_back(near.older, face.0)?;
            }
            gone += u64::from(self.changes.removed.insert((face.0, near.older)));
        }
        for row in before.scan_prefix(&keyspaces.links_back, &face.0.to_be_bytes()) {
            let (key, list) = row?;
            self.remove(&keyspaces.links_back, &key);
            for newer in BackList::from_bytes(&list)?.0 {
                gone += u64::from(self.changes.removed.insert((newer, face.0)));
                if forgotten {
                    if let std::collections::btree_map::Entry::Vacant(empty) = self.changes.lists.entry(newer)
                    {
                        empty.insert(before.link_list(newer)?.0);
                    }
                    let list = self.changes.lists.entry(newer).or_default();
                    list.retain(|near| near.older != face.0);
                }
            }
        }
        self.meta.counts.links = self.meta.counts.links.saturating_sub(gone);
        Ok(gone)
    }

    /// Takes a newer face out of the back list of an older one that names it.
    fn take_back(&mut self, older: u64, newer: u64) -> Result<(), StoreError> {
        let (from, to) = (keys::back_list(older, 0), keys::back_list(older, newer));
        let range = self.before.snapshot.range(&self.keyspaces().links_back, from..=to);
        let Some(row) = self.before.rows(range.rev()).next() else { return Ok(()) };
        let (key, list) = row?;
        let (_, first) = keys::parse_back_list(&key)?;
        if let std::collections::btree_map::Entry::Vacant(empty) = self.changes.backs.entry((older, first)) {
            empty.insert(BackList::from_bytes(&list)?.0);
        }
        self.changes.backs.entry((older, first)).or_default().retain(|other| *other != newer);
        Ok(())
    }

    /// Puts the lists that changed.
    pub(crate) fn put_changed_lists(&mut self) {
        let keyspaces = self.keyspaces().clone();
        let Changes { gone, backs, lists, .. } = std::mem::take(&mut self.changes);
        for ((older, first), list) in backs.into_iter().filter(|((older, _), _)| !gone.contains(older)) {
            let key = keys::back_list(older, first);
            if list.is_empty() {
                self.remove(&keyspaces.links_back, key);
            } else {
                self.put(&keyspaces.links_back, key, BackList(list).to_bytes());
            }
        }
        for (newer, list) in lists.into_iter().filter(|(newer, _)| !gone.contains(newer)) {
            if list.is_empty() {
                self.remove(&keyspaces.links, newer.to_be_bytes());
            } else {
                self.put(&keyspaces.links, newer.to_be_bytes(), LinkList(list).to_bytes());
            }
        }
    }
}

impl Reader {
    /// The links of the face, to older faces first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn links_of(&self, face: FaceOrdinal) -> Result<Vec<FaceLink>, StoreError> {
        let mut links = Vec::new();
        for near in self.link_list(face.0)?.0 {
            if self.face_at(FaceOrdinal(near.older))?.is_some() {
                links.push(link(face.0, &near));
            }
        }
        for row in self.scan_prefix(&self.keyspaces.links_back, &face.0.to_be_bytes()) {
            for newer in BackList::from_bytes(&row?.1)?.0 {
                let list = self.link_list(newer)?.0;
                if let Ok(at) = list.binary_search_by_key(&face.0, |near| near.older) {
                    links.push(link(newer, &list[at]));
                }
            }
        }
        Ok(links)
    }

    /// All links, each once, by the newer and then the older face.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn links(
        &self,
    ) -> Result<impl Iterator<Item = Result<FaceLink, StoreError>> + Send + use<>, StoreError> {
        // A bit for each number that is in use.
        let mut there = vec![0u64; self.next_ordinal().0.div_ceil(64) as usize];
        for row in self.scan(&self.keyspaces.ordinals) {
            let ordinal = keys::parse_number(&row?.0, "ordinals")?;
            if let Some(word) = there.get_mut((ordinal / 64) as usize) {
                *word |= 1 << (ordinal % 64);
            }
        }
        let is_there = move |ordinal: u64| {
            there.get((ordinal / 64) as usize).is_some_and(|word| word >> (ordinal % 64) & 1 == 1)
        };
        let parse = |row: RawRow| -> Result<(u64, LinkList), StoreError> {
            let (key, list) = row?;
            Ok((keys::parse_number(&key, "links")?, LinkList::from_bytes(&list)?))
        };
        Ok(self.scan(&self.keyspaces.links).flat_map(move |row| match parse(row) {
            Ok((newer, list)) => {
                let near = list.0.iter().filter(|near| is_there(near.older));
                near.map(|near| Ok(link(newer, near))).collect()
            }
            Err(error) => vec![Err(error)],
        }))
    }

    fn link_list(&self, face: u64) -> Result<LinkList, StoreError> {
        let row = self.get(&self.keyspaces.links, face.to_be_bytes())?;
        row.map_or_else(|| Ok(LinkList::default()), |row| LinkList::from_bytes(&row))
    }
}

fn link(newer: u64, near: &Near) -> FaceLink {
    let Near { older, cosine, relation } = *near;
    FaceLink { newer: FaceOrdinal(newer), older: FaceOrdinal(older), cosine, relation }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lists_are_read_back(
            olders in prop::collection::btree_set(any::<u64>(), 0..9),
            distance in prop::option::of(0u16..257),
            cosine in -1f32..1.0,
        ) {
            let relation = PhotoRelation { pdq_distance: distance, crop_distance: None, mirrored: distance.is_some() };
            let near = olders.iter().map(|older| Near { older: *older, cosine: Cosine::new(cosine), relation });
            let list = LinkList(near.collect());
            prop_assert_eq!(LinkList::from_bytes(&list.to_bytes()).unwrap(), list);
            let back = BackList(olders.into_iter().collect());
            prop_assert_eq!(BackList::from_bytes(&back.to_bytes()).unwrap(), back);
        }
    }

    /// Three faces, each linked with each.
    fn three(folder: &std::path::Path) -> crate::Store {
        let store = crate::Store::open(&crate::StoreConfig::at(folder)).unwrap();
        let mut writes = Writes::new(&store.0);
        writes.meta.next_ordinal = 3;
        for ordinal in 0..3u64 {
            let key = records::FaceKey { photo: records::PhotoKey::of_bytes(&[ordinal as u8]), tag: 0 };
            let face =
                crate::NumberedFace { key, linkable: true, photo_pdq: (None, None), pdq: (None, None) };
            writes.put(&store.0.keyspaces.ordinals, ordinal.to_be_bytes(), face.to_bytes());
        }
        let links = [(1, 0), (2, 0), (2, 1)].map(|(newer, older)| FaceLink {
            newer: FaceOrdinal(newer),
            older: FaceOrdinal(older),
            cosine: Cosine::new(0.5),
            relation: PhotoRelation::default(),
        });
        assert_eq!(writes.links(&links), (3, 0));
        writes.commit().unwrap();
        store
    }

    fn erase(store: &crate::Store, face: u64, forgotten: bool) -> u64 {
        let mut writes = Writes::new(&store.0);
        writes.remove(&store.0.keyspaces.ordinals, face.to_be_bytes());
        let gone = writes.erase_links(FaceOrdinal(face), forgotten).unwrap();
        writes.commit().unwrap();
        gone
    }

    #[test]
    fn a_face_that_goes_is_passed_over_and_one_that_is_forgotten_is_taken_out() {
        for forgotten in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let store = three(folder.path());
            assert_eq!(erase(&store, 0, forgotten), 2);
            let reader = store.reader();
            assert_eq!(reader.counts().links, 1);
            assert_eq!(reader.links_of(FaceOrdinal(2)).unwrap().len(), 1);
            assert_eq!(reader.links().unwrap().count(), 1);
            let named = |face| reader.link_list(face).unwrap().0.iter().any(|near| near.older == 0);
            assert_eq!(
                (named(1), named(2)),
                (!forgotten, !forgotten),
                "numbers stay until somebody is forgotten"
            );
            // The last link goes with its newer face, from the older one's back list too.
            assert_eq!(erase(&store, 2, forgotten), 1);
            let reader = store.reader();
            assert_eq!((reader.counts().links, reader.links_of(FaceOrdinal(1)).unwrap().len()), (0, 0));
            assert_eq!(reader.scan(&store.0.keyspaces.links_back).count(), 0);
        }
    }

    #[test]
    fn a_list_that_overflows_is_refused() {
        let mut to = Enc::default();
        to.u8(BackList::VERSION);
        to.u64(u64::MAX);
        to.u64(2);
        assert!(BackList::from_bytes(&to.into_bytes()).is_err());
    }
}
