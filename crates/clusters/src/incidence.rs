//! Which account has which photo entity and which person, both ways round, and how popular each is.
//!
//! Invariant: rows are sorted by account, then entity (and by entity, then account), with one row for a pair: an account that
//! holds three copies of a photo holds it once, since the earliest time it was seen there.

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::entities::Entities;
use crate::input::Input;

/// No person: the photo shows no face that may make links.
pub(crate) const NOBODY: u32 = u32::MAX;

/// An account's hold of a photo entity or person.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Hold {
    /// Account.
    pub(crate) account: u32,
    /// Photo entity, or person.
    pub(crate) entity: u32,
    /// Earliest observation there, in microseconds.
    pub(crate) since: i64,
    /// Photo entities behind it (1 for a photo entity).
    pub(crate) count: u32,
}

/// Rows by account and by entity.
#[derive(Debug)]
pub(crate) struct Table {
    by_account: Vec<Hold>,
    account_start: Vec<u32>,
    by_entity: Vec<Hold>,
    entity_start: Vec<u32>,
}

fn starts(rows: &[Hold], groups: usize, group: impl Fn(&Hold) -> u32) -> Vec<u32> {
    let mut starts = vec![0u32; groups + 1];
    for row in rows {
        starts[group(row) as usize + 1] += 1;
    }
    for i in 0..groups {
        starts[i + 1] += starts[i];
    }
    starts
}

impl Table {
    fn new(mut rows: Vec<Hold>, accounts: usize, entities: usize) -> Self {
        rows.par_sort_unstable_by_key(|h| (h.account, h.entity, h.since));
        rows.dedup_by(|later, first| {
            let same = (later.account, later.entity) == (first.account, first.entity);
            if same {
                first.count += later.count;
            }
            same
        });
        let account_start = starts(&rows, accounts, |h| h.account);
        let mut by_entity = rows.clone();
        by_entity.par_sort_unstable_by_key(|h| (h.entity, h.account));
        let entity_start = starts(&by_entity, entities, |h| h.entity);
        Self { by_account: rows, account_start, by_entity, entity_start }
    }

    /// What an account holds, by entity.
    pub(crate) fn of_account(&self, account: u32) -> &[Hold] {
        let at = account as usize;
        &self.by_account[self.account_start[at] as usize..self.account_start[at + 1] as usize]
    }

    /// Who holds an entity, by account.
    pub(crate) fn owners(&self, entity: u32) -> &[Hold] {
        let at = entity as usize;
        &self.by_entity[self.entity_start[at] as usize..self.entity_start[at + 1] as usize]
    }

    /// Number of entities, held or not.
    pub(crate) fn entities(&self) -> u32 {
        self.entity_start.len() as u32 - 1
    }

    /// An account's hold of one entity.
    pub(crate) fn hold(&self, account: u32, entity: u32) -> Option<&Hold> {
        let rows = self.of_account(account);
        rows.binary_search_by_key(&entity, |h| h.entity).ok().map(|at| &rows[at])
    }
}

/// Accounts against photos and people.
#[derive(Debug)]
pub(crate) struct Incidence {
    /// Photo entities. `count` is always 1.
    pub(crate) photos: Table,
    /// People alone on a photo: who is one of several says little about whose account it is. `count` is the number of the
    /// account's photo entities with that person.
    pub(crate) people: Table,
    /// Photo entity -> person of its main face, or [`NOBODY`].
    pub(crate) person_of: Vec<u32>,
    /// Photo entity -> most faces on any copy.
    pub(crate) faces: Vec<u16>,
    /// Photo entity or person barred by an allow-list.
    barred_photo: Vec<bool>,
    barred_person: Vec<bool>,
    /// Accounts that popularity is measured against.
    accounts: usize,
    /// When photos were first seen on accounts, sorted.
    posts: Arc<Vec<i64>>,
    /// Photo entity or person -> accounts that show it, if it is popular: shown by many, without a creation burst.
    popular_photo: HashMap<u32, u32>,
    popular_person: HashMap<u32, u32>,
}

impl Incidence {
    /// Joins ownerships with entities and allow-lists.
    pub(crate) fn new(input: &Input, entities: &Entities) -> Self {
        let mut person_of = vec![NOBODY; input.photos.len()];
        for (at, face) in input.faces.iter().enumerate() {
            let entity = entities.photo[face.photo as usize] as usize;
            if face.main && face.linkable && person_of[entity] == NOBODY {
                person_of[entity] = entities.person[at];
            }
        }
        let mut holds: Vec<Hold> = input
            .ownerships
            .iter()
            .map(|o| Hold {
                account: o.account,
                entity: entities.photo[o.photo as usize],
                since: o.observed_at.as_micros(),
                count: 1,
            })
            .collect();
        holds.par_sort_unstable_by_key(|h| (h.account, h.entity, h.since));
        holds.dedup_by_key(|h| (h.account, h.entity));
        let people: Vec<Hold> = holds
            .iter()
            .filter(|h| person_of[h.entity as usize] != NOBODY && entities.faces[h.entity as usize] == 1)
            .map(|h| Hold { entity: person_of[h.entity as usize], ..*h })
            .collect();

        let mut barred_person = vec![false; input.faces.len()];
        for key in &input.allow.faces {
            let Ok(photo) = input.photos.binary_search_by_key(&key.photo, |p| p.key) else { continue };
            if let Ok(at) = input.faces.binary_search_by_key(&(photo as u32, key.tag), |f| (f.photo, f.tag)) {
                barred_person[entities.person[at] as usize] = true;
            }
        }
        let mut barred_photo = vec![false; input.photos.len()];
        for key in &input.allow.photos {
            if let Ok(photo) = input.photos.binary_search_by_key(key, |p| p.key) {
                barred_photo[entities.photo[photo] as usize] = true;
            }
        }
        for (entity, person) in person_of.iter().enumerate() {
            barred_photo[entity] |= *person != NOBODY && barred_person[*person as usize];
        }
        Self {
            photos: Table::new(holds, input.accounts.len(), input.photos.len()),
            people: Table::new(people, input.accounts.len(), input.faces.len()),
            person_of,
            faces: entities.faces.clone(),
            barred_photo,
            barred_person,
            accounts: input.accounts.len(),
            posts: Arc::default(),
            popular_photo: HashMap::new(),
            popular_person: HashMap::new(),
        }
    }

    /// When photos were first seen on accounts, sorted.
    pub(crate) fn posts(&self) -> Vec<i64> {
        let mut posts: Vec<i64> = self.photos.by_account.iter().map(|h| h.since).collect();
        posts.par_sort_unstable();
        posts
    }

    /// Takes the figures of the population as a whole: how many accounts there are, when they posted, and what is popular.
    pub(crate) fn against(
        &mut self,
        accounts: usize,
        posts: Arc<Vec<i64>>,
        popular_photo: HashMap<u32, u32>,
        popular_person: HashMap<u32, u32>,
    ) {
        self.accounts = accounts;
        self.posts = posts;
        self.popular_photo = popular_photo;
        self.popular_person = popular_person;
    }

    /// Whether many show a photo without having been made together.
    pub(crate) fn popular(&self, photo: u32) -> bool {
        self.popular_photo.contains_key(&photo)
    }

    /// Whether many show a person without having been made together.
    pub(crate) fn popular_person(&self, person: u32) -> bool {
        self.popular_person.contains_key(&person)
    }

    /// Accounts that show a photo. Of a popular one they are counted once for the whole population, so that one account
    /// more changes nothing elsewhere.
    pub(crate) fn photo_owners(&self, photo: u32) -> usize {
        match self.popular_photo.get(&photo) {
            Some(owners) => *owners as usize,
            None => self.photos.owners(photo).len(),
        }
    }

    /// Accounts that show a person; of a popular one as above.
    pub(crate) fn person_owners(&self, person: u32) -> usize {
        match self.popular_person.get(&person) {
            Some(owners) => *owners as usize,
            None => self.people.owners(person).len(),
        }
    }

    /// Share of all photos of all accounts that were first seen within a time, both ends included.
    pub(crate) fn posted_within(&self, from: i64, to: i64) -> f64 {
        let inside = self.posts.partition_point(|t| *t <= to) - self.posts.partition_point(|t| *t < from);
        inside as f64 / self.posts.len().max(1) as f64
    }

    /// Whether an analyst vouched for the photo or for the person on it.
    pub(crate) fn photo_barred(&self, entity: u32) -> bool {
        self.barred_photo[entity as usize]
    }

    /// Whether an analyst vouched for the person.
    pub(crate) fn person_barred(&self, person: u32) -> bool {
        self.barred_person[person as usize]
    }

    /// What a photo is worth as evidence by what it shows, 0 to 1: a portrait all, one too small or blurred to be compared
    /// nearly as much (then it was the bytes that were equal), a picture without a face (a landscape, a logo, a default
    /// avatar) a fifth. Friends share group photos, so these are worth a quarter, as long as
    /// being on them can explain why somebody shows them: a photo of two people on thirty accounts is no souvenir.
    pub(crate) fn worth(&self, entity: u32) -> f64 {
        match usize::from(self.faces[entity as usize]) {
            0 => 0.2,
            1 if self.person_of[entity as usize] == NOBODY => 0.7,
            1 => 1.0,
            faces => {
                let explained = if faces == 2 { 4 } else { 3 * faces } as f64;
                let owners = self.photo_owners(entity) as f64;
                1.0 - 0.75 * (explained / owners.max(1.0)).min(1.0)
            }
        }
    }

    /// Inverse document frequency of something with `owners` owners, scaled so that two owners give 1 and everybody 0.
    pub(crate) fn rarity(&self, owners: usize) -> f64 {
        let all = self.accounts as f64 + 1.0;
        // In a handful of accounts frequency means nothing, so as few as a thousand count as a thousand.
        let all = all.max(1001.0);
        ((all / (owners as f64 + 1.0)).ln() / (all / 3.0).ln()).clamp(0.0, 1.0)
    }
}
