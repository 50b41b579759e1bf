//! From changed accounts to everything that may decide about them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use records::tables::LinkKind;
use records::{AccountId, FaceKey};

use super::rows::Rows;
use crate::ClustersConfig;
use crate::background::Background;
use crate::input::{Input, Link};
use crate::typed::type_link;

/// Neighbours of a neighbour that are looked at, of each kind: enough to know whether it stands alone.
const COMPANY: usize = 3;

/// What links mean and what is popular, as of the last full run.
pub(super) struct Meaning<'a> {
    pub(super) background: &'a Background,
    pub(super) config: &'a ClustersConfig,
    pub(super) same_photo_cosine: f32,
}

impl Meaning<'_> {
    /// What a link means between faces that may make one.
    pub(super) fn of(&self, link: &Link) -> Option<LinkKind> {
        if link.cosine.is_nan() {
            return None;
        }
        type_link(link, self.same_photo_cosine, self.config, self.background.tau).map(|typed| typed.kind)
    }
}

/// What may decide about some accounts.
pub(super) struct Around {
    /// Its rows, canonical.
    pub(super) input: Input,
    /// Accounts that were reached.
    pub(super) accounts: BTreeSet<u32>,
    /// Photos that were reached; the input has those besides which they resemble.
    pub(super) photos: HashSet<u32>,
}

impl Rows {
    pub(super) fn popular_photo(&self, photo: u32, meaning: &Meaning<'_>) -> bool {
        meaning.background.popular_photos.contains_key(&self.photos[photo as usize].key)
    }

    pub(super) fn popular_face(&self, face: u32, meaning: &Meaning<'_>) -> bool {
        let face = &self.face[face as usize];
        let key = FaceKey { photo: self.photos[face.photo as usize].key, tag: face.tag };
        meaning.background.popular_people.contains_key(&key)
    }

    /// Everybody connected to some accounts by photos and people that are not popular, or by what an analyst decided; and
    /// pictures that these photos resemble.
    pub(super) fn around(&self, touched: BTreeSet<u32>, meaning: &Meaning<'_>) -> Around {
        let background = meaning.background;
        let popular_photo = |photo: u32| self.popular_photo(photo, meaning);
        let popular_face = |face: u32| self.popular_face(face, meaning);
        let mut doubles: HashMap<u32, Vec<u32>> = HashMap::new();
        for (one, other) in &background.doubles {
            doubles.entry(*one).or_default().push(*other);
            doubles.entry(*other).or_default().push(*one);
        }
        let number = |photo: u32| background.popular_photos.get(&self.photos[photo as usize].key).copied();
        let mut pictures: HashMap<u32, Vec<u32>> = HashMap::new();
        if !doubles.is_empty() {
            for (key, popular) in background.popular_photos.iter().filter(|(_, n)| doubles.contains_key(*n)) {
                pictures.entry(*popular).or_default().extend(self.photo_at.get(key));
            }
        }
        let together = self.together();
        let mut joined: HashSet<(u32, u32)> = HashSet::new();
        let mut accounts: BTreeSet<u32> = BTreeSet::new();
        let mut photos: HashSet<u32> = HashSet::new();
        let mut queue: Vec<u32> = touched.into_iter().collect();
        let mut through: Vec<u32> = Vec::new();
        while let Some(account) = queue.pop() {
            let Some(row) = &self.accounts[account as usize] else { continue };
            if !accounts.insert(account) {
                continue;
            }
            for decided in together.get(&row.id).into_iter().flatten() {
                queue.extend(decided.iter().filter_map(|id| self.account_at.get(id)));
            }
            let own: Vec<u32> = self.shown[account as usize].iter().map(|o| o.photo).collect();
            let popular: Vec<u32> = own.iter().filter_map(|p| number(*p)).collect();
            for one in &popular {
                for other in doubles.get(one).into_iter().flatten().filter(|o| popular.contains(o)) {
                    if joined.insert((*one.min(other), *one.max(other))) {
                        let owners = pictures.get(one).into_iter().flatten().flat_map(|p| self.owners(*p));
                        let both = |a: &u32| {
                            self.shown[*a as usize].iter().any(|own| number(own.photo) == Some(*other))
                        };
                        queue.extend(owners.filter(both));
                    }
                }
            }
            through.extend(own);
            while let Some(photo) = through.pop() {
                if !self.owned(photo) || !photos.insert(photo) || popular_photo(photo) {
                    continue;
                }
                queue.extend(self.owners(photo));
                through.extend(self.copies.with(photo).iter().filter(|p| !popular_photo(**p)));
                for face in &self.faces[photo as usize] {
                    if !popular_face(*face) {
                        let photos = self.people.with(*face).iter().map(|f| self.face[*f as usize].photo);
                        through.extend(photos.filter(|p| !popular_photo(*p)));
                    }
                    if self.fresh.contains(face) {
                        let others = self.alike(*face, meaning);
                        let ours = others.filter(|(f, p, _)| !popular_photo(*p) && !popular_face(*f));
                        through.extend(ours.map(|(_, p, _)| p));
                    }
                }
            }
        }
        let listed = photos.iter().copied().chain(self.context(&photos, meaning)).collect::<BTreeSet<u32>>();
        let input = self.some(&accounts, &listed.into_iter().collect::<Vec<u32>>());
        Around { input, accounts, photos }
    }

    /// Pictures that some photos resemble, which decide with them, and some that these in turn resemble: a link counts if
    /// one of its ends knows nobody else.
    fn context(&self, photos: &HashSet<u32>, meaning: &Meaning<'_>) -> HashSet<u32> {
        let mut context: HashSet<u32> = HashSet::new();
        for photo in photos.iter().filter(|photo| !self.popular_photo(**photo, meaning)) {
            for face in self.faces[*photo as usize].iter().filter(|face| !self.popular_face(**face, meaning))
            {
                for (other, there, _) in self.alike(*face, meaning) {
                    if photos.contains(&there) || !context.insert(there) {
                        continue;
                    }
                    let (mut copies, mut all) = (0, 0);
                    for (_, next, kind) in self.alike(other, meaning) {
                        let copy = kind == LinkKind::SamePhoto && copies < COMPANY;
                        if copy || all < COMPANY {
                            context.insert(next);
                        }
                        copies += usize::from(copy);
                        all += 1;
                        if copies == COMPANY && all >= COMPANY {
                            break;
                        }
                    }
                }
            }
        }
        context
    }

    /// Accounts that an analyst's decisions put together, by account.
    fn together(&self) -> BTreeMap<&AccountId, Vec<&Vec<AccountId>>> {
        let mut together: BTreeMap<&AccountId, Vec<&Vec<AccountId>>> = BTreeMap::new();
        let (confirmed, merged) = (&self.frame.confirmed, &self.frame.merged);
        let sets = confirmed.iter().map(|c| &c.members).chain(merged.iter().map(|m| &m.members));
        for members in sets {
            for member in members {
                together.entry(member).or_default().push(members);
            }
        }
        together
    }
}
