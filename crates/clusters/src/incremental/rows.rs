//! The rows of a population, indexed so that a neighbourhood is found without looking at the rest.

use std::collections::{BTreeSet, HashMap, HashSet};

use records::tables::LinkKind;
use records::{AccountId, PhotoKey};

use super::labels::Labels;
use super::walk::Meaning;
use crate::entities::Entities;
use crate::input::{Account, Face, Input, Link, Ownership, Photo};

/// All rows, indexed. Numbers stay as they are; what goes is marked.
#[derive(Debug)]
pub(super) struct Rows {
    /// Everything but accounts, photos and the like: pack, decisions, time.
    pub(super) frame: Input,
    pub(super) accounts: Vec<Option<Account>>,
    pub(super) account_at: HashMap<AccountId, u32>,
    pub(super) photos: Vec<Photo>,
    pub(super) photo_at: HashMap<PhotoKey, u32>,
    /// By photo.
    pub(super) faces: Vec<Vec<u32>>,
    pub(super) face: Vec<Face>,
    /// By account.
    pub(super) shown: Vec<Vec<Ownership>>,
    /// By photo: accounts that show it or did; `shown` decides.
    pub(super) owners: Vec<Vec<u32>>,
    pub(super) links: Vec<Link>,
    /// By face.
    pub(super) links_of: Vec<Vec<u32>>,
    /// Copies of one photo, and faces of one person, as last found.
    pub(super) copies: Labels,
    pub(super) people: Labels,
    /// Faces that came with the last changes: their links may join what stood apart.
    pub(super) fresh: HashSet<u32>,
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
    pub(super) fn add(&mut self, input: &Input, first: bool) -> Vec<u32> {
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
            if !first && let Some(known) = self.link_between(a, b) {
                let known = &mut self.links[known as usize];
                let told = Link { a: known.a, b: known.b, ..*link };
                if *known != told {
                    *known = told;
                    self.fresh.extend([a, b]);
                }
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

    fn link_between(&self, a: u32, b: u32) -> Option<u32> {
        let (of_a, of_b) = (&self.links_of[a as usize], &self.links_of[b as usize]);
        let shorter = if of_a.len() < of_b.len() { of_a } else { of_b };
        let joins = |link: &Link| (link.a, link.b) == (a, b) || (link.a, link.b) == (b, a);
        shorter.iter().copied().find(|link| joins(&self.links[*link as usize]))
    }

    fn shows(&self, account: u32, photo: u32) -> bool {
        self.shown[account as usize].iter().any(|own| own.photo == photo)
    }

    pub(super) fn owners(&self, photo: u32) -> impl Iterator<Item = u32> + '_ {
        self.owners[photo as usize].iter().copied().filter(move |a| self.shows(*a, photo))
    }

    /// Whether anybody shows the picture; one that nobody shows is as if it were not there.
    pub(super) fn owned(&self, photo: u32) -> bool {
        self.owners(photo).next().is_some()
    }

    /// The faces that mean something beside this one, with their photos and what the link means.
    pub(super) fn alike<'a>(
        &'a self,
        face: u32,
        meaning: &'a Meaning<'_>,
    ) -> impl Iterator<Item = (u32, u32, LinkKind)> + 'a {
        self.links_of[face as usize].iter().filter_map(move |link| {
            let link = &self.links[*link as usize];
            let other = if link.a == face { link.b } else { link.a };
            let (one, two) = (&self.face[face as usize], &self.face[other as usize]);
            let kind = meaning.of(link).filter(|_| one.linkable && two.linkable)?;
            self.owned(two.photo).then_some((other, two.photo, kind))
        })
    }

    /// Everything, for a full run.
    pub(super) fn whole(&self) -> Input {
        let accounts: BTreeSet<u32> =
            (0..self.accounts.len() as u32).filter(|a| self.accounts[*a as usize].is_some()).collect();
        let photos: Vec<u32> = (0..self.photos.len() as u32).filter(|photo| self.owned(*photo)).collect();
        self.some(&accounts, &photos)
    }

    /// An input of some accounts and photos, canonical.
    pub(super) fn some(&self, accounts: &BTreeSet<u32>, photos: &[u32]) -> Input {
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
