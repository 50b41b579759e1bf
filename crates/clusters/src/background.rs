//! What the detector takes from the population as a whole, apart from what it finds in each neighbourhood.
//!
//! Measured over all accounts and then held fixed, it makes the rest local: a new face changes what is found around it and
//! nothing elsewhere, so the clusters of an update are those of a full recomputation against the same background.

use std::collections::HashMap;
use std::sync::Arc;

use records::{FaceKey, PhotoKey};

use crate::ClustersConfig;
use crate::entities::Entities;
use crate::incidence::Incidence;
use crate::input::Input;
use crate::popularity::Popularity;
use crate::profile::Weights;
use crate::times::{Births, births_of, extend};

/// Figures of a population, by key, so that they outlive the numbering of one run.
#[derive(Clone, Default, Debug)]
pub(crate) struct Background {
    /// Cosine from which two faces are one person.
    pub(crate) tau: f32,
    /// Accounts.
    pub(crate) accounts: usize,
    /// Sorted births, gone on with for a while.
    pub(crate) births: Vec<i64>,
    /// Sorted times at which photos were first seen on accounts, likewise.
    pub(crate) posts: Arc<Vec<i64>>,
    /// Weights of the profile rules.
    pub(crate) weights: Weights,
    /// Owners up to which a photo links each owner with each.
    pub(crate) cap: usize,
    /// Every picture of a popular photo -> number of the photo among all popular ones.
    pub(crate) popular_photos: HashMap<PhotoKey, u32>,
    /// Accounts that show each of them.
    pub(crate) photo_owners: Vec<u32>,
    /// Every face of a popular person -> accounts that show that person.
    pub(crate) popular_people: HashMap<FaceKey, u32>,
    /// Pairs of popular photos that belong together.
    pub(crate) doubles: Vec<(u32, u32)>,
}

impl Background {
    /// Of a whole population. `inc` is left as it is.
    pub(crate) fn of(
        input: &Input,
        entities: &Entities,
        inc: &Incidence,
        tau: f32,
        config: &ClustersConfig,
    ) -> Self {
        let births = births_of(&input.accounts);
        let mut posts = inc.posts();
        extend(&mut posts);
        let found = Popularity::of(inc, &Births::new(&input.accounts, &births), config, input.accounts.len());
        let mut number: HashMap<u32, u32> = HashMap::new();
        let mut photo_owners = Vec::new();
        let mut popular: Vec<(u32, u32)> = found.photos.iter().map(|(e, n)| (*e, *n)).collect();
        popular.sort_unstable();
        for (entity, owners) in popular {
            number.insert(entity, photo_owners.len() as u32);
            photo_owners.push(owners);
        }
        let popular_photos = (input.photos.iter().zip(&entities.photo))
            .filter_map(|(photo, entity)| Some((photo.key, *number.get(entity)?)))
            .collect();
        let popular_people = (input.faces.iter().zip(&entities.person))
            .filter_map(|(face, person)| {
                let key = FaceKey { photo: input.photos[face.photo as usize].key, tag: face.tag };
                Some((key, *found.people.get(person)?))
            })
            .collect();
        let doubles = found.doubles.iter().map(|(e, f)| (number[e], number[f])).collect();
        Self {
            tau,
            accounts: input.accounts.len(),
            births,
            posts: Arc::new(posts),
            weights: Weights::of(&input.accounts),
            cap: found.cap,
            popular_photos,
            photo_owners,
            popular_people,
            doubles,
        }
    }

    /// The same in the numbering of a run over some of the population or all of it.
    pub(crate) fn popularity(&self, input: &Input, entities: &Entities) -> Popularity {
        let mut found = Popularity { cap: self.cap, ..Popularity::default() };
        // Popular photo -> its entities here; copies that link two popular photos make one entity of them.
        let mut here: Vec<Vec<u32>> = vec![Vec::new(); self.photo_owners.len()];
        if !self.popular_photos.is_empty() {
            for (photo, entity) in input.photos.iter().zip(&entities.photo) {
                if let Some(number) = self.popular_photos.get(&photo.key) {
                    let owners = self.photo_owners[*number as usize];
                    let slot = found.photos.entry(*entity).or_default();
                    *slot = owners.max(*slot);
                    here[*number as usize].push(*entity);
                }
            }
        }
        here.iter_mut().for_each(|list| {
            list.sort_unstable();
            list.dedup();
        });
        if !self.popular_people.is_empty() {
            for (face, person) in input.faces.iter().zip(&entities.person) {
                let key = FaceKey { photo: input.photos[face.photo as usize].key, tag: face.tag };
                if let Some(owners) = self.popular_people.get(&key) {
                    let slot = found.people.entry(*person).or_default();
                    *slot = (*owners).max(*slot);
                }
            }
        }
        for (one, other) in &self.doubles {
            for e in &here[*one as usize] {
                for f in &here[*other as usize] {
                    if e != f {
                        found.doubles.push((*e.min(f), *e.max(f)));
                    }
                }
            }
        }
        found.doubles.sort_unstable();
        found.doubles.dedup();
        found
    }
}
