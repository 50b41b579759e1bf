//! The rows of a population, indexed so that a neighbourhood is found without looking at the rest.

use std::collections::{BTreeSet, HashMap, HashSet};

use records::{AccountId, FaceKey, PhotoKey};

use super::labels::Labels;
use crate::background::Background;
use crate::entities::Entities;
use crate::input::{Account, Face, Input, Link, Ownership, Photo};

/// All rows, indexed. Numbers stay as they are; what goes is marked.
#[derive(Debug)]
pub(super) struct Rows {
    /// Everything but accounts, photos and the like: pack, decisions, time.
    pub(super) frame: Input,
    pub(super) accounts: Vec<Option<Account>>,
    pub(super) account_at: HashMap<AccountId, u32>,
    photos: Vec<Photo>,
    photo_at: HashMap<PhotoKey, u32>,
    /// By photo.
    faces: Vec<Vec<u32>>,
    face: Vec<Face>,
    /// By account.
    shown: Vec<Vec<Ownership>>,
    /// By photo: accounts that show it or did; `shown` decides.
    owners: Vec<Vec<u32>>,
    links: Vec<Link>,
    /// By face.
    links_of: Vec<Vec<u32>>,
    /// Copies of one photo, and faces of one person, as last found.
    copies: Labels,
    people: Labels,
    /// Faces that came with the last changes: their links may join what stood apart.
    fresh: HashSet<u32>,
}

impl Rows {
    pub(super) fn new(input: &Input) -> Self {
        let mut frame = Input::empty(input.as_of, input.pack.clone());
        frame.take_decisions(input);
        let mut rows = Self {
            frame,
            accounts: Vec::with_capacity(input.accounts.len()),
            account_at: HashMap::with_capacity(input.accounts.len()),
            photos: Vec::with_capacity(input.photos.len()),
            photo_at: HashMap::with_capacity(input.photos.len()),
            faces: Vec::with_capacity(input.photos.len()),
            face: Vec::with_capacity(input.faces.len()),
            shown: Vec::with_capacity(input.accounts.len()),
            owners: Vec::with_capacity(input.photos.len()),
            links: Vec::with_capacity(input.links.len()),
            links_of: Vec::with_capacity(input.faces.len()),
            copies: Labels::default(),
            people: Labels::default(),
            fresh: HashSet::new(),
        };
        rows.add(input, true);
        rows
    }

    /// Adds rows and replaces what the accounts among them showed; gives the numbers of these accounts. `first`: there was
    /// nothing before, and a canonical input has no doubles.
    fn add(&mut self, input: &Input, first: bool) -> Vec<u32> {
        let photos: Vec<u32> = input.photos.iter().map(|photo| self.photo(*photo)).collect();
        let mut faces = Vec::with_capacity(input.faces.len());
        for face in &input.faces {
            let photo = photos[face.photo as usize];
            let known = self.faces[photo as usize].iter().find(|f| self.face[**f as usize].tag == face.tag);
            let number = match known.copied() {
                Some(known) => known,
                None => {
                    let number = self.face.len() as u32;
                    self.face.push(Face { photo, ..*face });
                    self.faces[photo as usize].push(number);
                    self.links_of.push(Vec::new());
                    if !first {
                        self.fresh.insert(number);
                    }
                    number
                }
            };
            self.face[number as usize] = Face { photo, ..*face };
            faces.push(number);
        }
        let accounts: Vec<u32> = input.accounts.iter().map(|account| self.account(account)).collect();
        for account in &accounts {
            self.shown[*account as usize].clear();
        }
        for own in &input.ownerships {
            let (account, photo) = (accounts[own.account as usize], photos[own.photo as usize]);
            self.shown[account as usize].push(Ownership { account, photo, ..own.clone() });
            let owners = &mut self.owners[photo as usize];
            if owners.last() != Some(&account) && (first || !owners.contains(&account)) {
                owners.push(account);
            }
        }
        for link in &input.links {
            let (a, b) = (faces[link.a as usize], faces[link.b as usize]);
            let known = |l: &u32| [self.links[*l as usize].a, self.links[*l as usize].b].contains(&b);
            if !first && self.links_of[a as usize].iter().any(known) {
                continue;
            }
            let number = self.links.len() as u32;
            self.links.push(Link { a, b, ..*link });
            self.links_of[a as usize].push(number);
            self.links_of[b as usize].push(number);
            if !first {
                self.fresh.extend([a, b]);
            }
        }
        accounts
    }

    /// Takes over which photos are copies and which faces one person, for the photos that were looked at.
    pub(super) fn relabel(&mut self, input: &Input, entities: &Entities, looked_at: impl Fn(u32) -> bool) {
        let photos: Vec<u32> = input.photos.iter().map(|p| self.photo_at[&p.key]).collect();
        let mut copies: HashMap<u32, Vec<u32>> = HashMap::new();
        for (photo, entity) in photos.iter().zip(&entities.photo).filter(|(p, _)| looked_at(**p)) {
            copies.entry(*entity).or_default().push(*photo);
        }
        let mut people: HashMap<u32, Vec<u32>> = HashMap::new();
        for (face, person) in input.faces.iter().zip(&entities.person) {
            let photo = photos[face.photo as usize];
            let number = self.faces[photo as usize].iter().find(|f| self.face[**f as usize].tag == face.tag);
            if let Some(number) = number.filter(|_| looked_at(photo)) {
                people.entry(*person).or_default().push(*number);
            }
        }
        self.copies.renew(copies.into_values());
        self.people.renew(people.into_values());
        self.fresh.clear();
    }

    fn photo(&mut self, photo: Photo) -> u32 {
        let next = self.photos.len() as u32;
        let number = *self.photo_at.entry(photo.key).or_insert(next);
        if number == next {
            self.photos.push(photo);
            self.faces.push(Vec::new());
            self.owners.push(Vec::new());
        } else {
            self.photos[number as usize] = photo;
        }
        number
    }

    fn account(&mut self, account: &Account) -> u32 {
        let next = self.accounts.len() as u32;
        let number = *self.account_at.entry(account.id.clone()).or_insert(next);
        if number == next {
            self.accounts.push(Some(account.clone()));
            self.shown.push(Vec::new());
        } else {
            self.accounts[number as usize] = Some(account.clone());
        }
        number
    }

    /// Takes changes in; gives the accounts they touch: the changed ones and whoever shared something with them before.
    pub(super) fn take(
        &mut self,
        rows: Input,
        deleted: &[AccountId],
        background: &Background,
    ) -> BTreeSet<u32> {
        self.frame.as_of = self.frame.as_of.max(rows.as_of);
        self.frame.take_decisions(&rows);
        let mut touched = BTreeSet::new();
        let changed = rows.accounts.iter().map(|a| &a.id).chain(deleted);
        for at in changed.filter_map(|id| self.account_at.get(id).copied()).collect::<Vec<_>>() {
            for own in &self.shown[at as usize] {
                // Whoever shares a popular photo is not touched by one owner less.
                if !background.popular_photos.contains_key(&self.photos[own.photo as usize].key) {
                    touched.extend(self.owners[own.photo as usize].iter().copied());
                }
            }
        }
        for id in deleted {
            if let Some(at) = self.account_at.get(id) {
                self.accounts[*at as usize] = None;
                self.shown[*at as usize].clear();
            }
        }
        touched.extend(self.add(&rows, false));
        touched
    }

    fn shows(&self, account: u32, photo: u32) -> bool {
        self.shown[account as usize].iter().any(|own| own.photo == photo)
    }

    fn owners(&self, photo: u32) -> impl Iterator<Item = u32> + '_ {
        self.owners[photo as usize].iter().copied().filter(move |a| self.shows(*a, photo))
    }

    /// Everything, for a full run.
    pub(super) fn whole(&self) -> Input {
        let accounts: BTreeSet<u32> =
            (0..self.accounts.len() as u32).filter(|a| self.accounts[*a as usize].is_some()).collect();
        let photos: Vec<u32> = (0..self.photos.len() as u32).collect();
        self.some(&accounts, &photos)
    }

    /// Faces that are alike enough to count, with their photos.
    fn alike(&self, face: u32, least: f32) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.links_of[face as usize].iter().filter_map(move |link| {
            let link = &self.links[*link as usize];
            let other = if link.a == face { link.b } else { link.a };
            (link.cosine >= least).then(|| (other, self.face[other as usize].photo))
        })
    }

    /// What may decide about some accounts: everybody connected to them by photos and people that are not popular, the
    /// accounts of which are the second value and the photos the third; and pictures that these photos resemble.
    pub(super) fn around(
        &self,
        touched: BTreeSet<u32>,
        background: &Background,
        copy_cosine: f32,
    ) -> (Input, BTreeSet<u32>, HashSet<u32>) {
        // Copies that a hash confirms may be less alike than tau.
        let least = background.tau.min(copy_cosine);
        let popular_photo =
            |photo: u32| background.popular_photos.contains_key(&self.photos[photo as usize].key);
        let popular_face = |face: u32| {
            let face = &self.face[face as usize];
            let key = FaceKey { photo: self.photos[face.photo as usize].key, tag: face.tag };
            background.popular_people.contains_key(&key)
        };
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
        let mut joined: HashSet<(u32, u32)> = HashSet::new();
        let mut accounts: BTreeSet<u32> = BTreeSet::new();
        let mut photos: HashSet<u32> = HashSet::new();
        let mut queue: Vec<u32> = touched.into_iter().collect();
        let mut through: Vec<u32> = Vec::new();
        while let Some(account) = queue.pop() {
            if self.accounts[account as usize].is_none() || !accounts.insert(account) {
                continue;
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
                if !photos.insert(photo) {
                    continue;
                }
                let common = popular_photo(photo);
                if !common {
                    queue.extend(self.owners(photo));
                    through.extend(self.copies.with(photo).iter().filter(|p| !popular_photo(**p)));
                }
                for face in &self.faces[photo as usize] {
                    if !common && !popular_face(*face) {
                        let photos = self.people.with(*face).iter().map(|f| self.face[*f as usize].photo);
                        through.extend(photos.filter(|p| !popular_photo(*p)));
                    }
                    if self.fresh.contains(face) {
                        let others = self.alike(*face, least);
                        let ours = others.filter(|(f, p)| !popular_photo(*p) && !popular_face(*f));
                        through.extend(ours.map(|(_, p)| p));
                    }
                }
            }
        }
        // What the photos resemble decides with them, and whether that in turn resembles anything else.
        let mut context: HashSet<u32> = HashSet::new();
        for photo in &photos {
            for face in &self.faces[*photo as usize] {
                if popular_photo(*photo) || popular_face(*face) {
                    continue;
                }
                for (other, there) in self.alike(*face, least) {
                    if photos.contains(&there) {
                        continue;
                    }
                    context.insert(there);
                    context.extend(self.alike(other, least).map(|(_, p)| p).take(3));
                }
            }
        }
        let reached = photos.clone();
        photos.extend(context);
        let mut photos: Vec<u32> = photos.into_iter().collect();
        photos.sort_unstable();
        (self.some(&accounts, &photos), accounts, reached)
    }

    /// An input of some accounts and photos, canonical.
    fn some(&self, accounts: &BTreeSet<u32>, photos: &[u32]) -> Input {
        let mut input = self.frame.clone();
        let mut account_place: HashMap<u32, u32> = HashMap::with_capacity(accounts.len());
        for account in accounts {
            if let Some(row) = &self.accounts[*account as usize] {
                account_place.insert(*account, input.accounts.len() as u32);
                input.accounts.push(row.clone());
            }
        }
        let mut photo_place: HashMap<u32, u32> = HashMap::with_capacity(photos.len());
        let mut face_place: HashMap<u32, u32> = HashMap::new();
        for photo in photos {
            let place = input.photos.len() as u32;
            photo_place.insert(*photo, place);
            input.photos.push(self.photos[*photo as usize]);
            for face in &self.faces[*photo as usize] {
                face_place.insert(*face, input.faces.len() as u32);
                input.faces.push(Face { photo: place, ..self.face[*face as usize] });
            }
        }
        for account in accounts {
            for own in &self.shown[*account as usize] {
                if let (Some(account), Some(photo)) =
                    (account_place.get(account), photo_place.get(&own.photo))
                {
                    input.ownerships.push(Ownership { account: *account, photo: *photo, ..own.clone() });
                }
            }
        }
        for face in face_place.keys() {
            for link in &self.links_of[*face as usize] {
                let link = &self.links[*link as usize];
                // Each link once, from its first end.
                if link.a == *face
                    && let (Some(a), Some(b)) = (face_place.get(&link.a), face_place.get(&link.b))
                {
                    input.links.push(Link { a: *a, b: *b, ..*link });
                }
            }
        }
        input.sorted()
    }
}
