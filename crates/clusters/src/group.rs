//! What can be counted about a group of accounts, before anything is judged.

use std::collections::HashMap;

use crate::incidence::{Incidence, NOBODY};

/// Below this a shared photo says nothing.
const LEAST_QUALITY: f64 = 0.02;

/// A photo that members of a group share with each other, or with the photo's likely owner.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct SharedPhoto {
    /// Photo entity.
    pub(crate) entity: u32,
    /// Members that have it.
    pub(crate) inside: usize,
    /// Accounts outside the group that have it, likely owners left out.
    pub(crate) outside: usize,
    /// What it is worth as evidence, 0 to 1.
    pub(crate) quality: f64,
}

/// One account within its group.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) struct Part {
    /// Photos that it shares within the group, each counted with its quality.
    pub(crate) shared: f64,
    /// The same, as a plain number.
    pub(crate) shared_photos: usize,
    /// How many of these show several people.
    pub(crate) group_photos: usize,
    /// Photos with a face that may make links.
    pub(crate) photos: usize,
    /// Share of its portraits that show a photo or a person which others of the group have too, 0 to 1.
    pub(crate) cover: f64,
    /// Photos of the one person that it has most photos of, if nobody else of the group has that person; else 0.
    pub(crate) own_life: usize,
}

/// A group of accounts and what they share.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Group {
    /// Accounts, sorted.
    pub(crate) accounts: Vec<u32>,
    /// In the order of accounts.
    pub(crate) parts: Vec<Part>,
    /// By entity.
    pub(crate) shared: Vec<SharedPhoto>,
    /// People on shared portraits, sorted.
    pub(crate) people: Vec<u32>,
    /// Accounts outside that show the most widely shown of these people.
    pub(crate) fans: usize,
}

impl Group {
    /// Counts. `owner(account)` says whether an account is the likely owner of stolen photos (it is never in the group).
    pub(crate) fn new(accounts: Vec<u32>, inc: &Incidence, owner: impl Fn(u32) -> bool) -> Self {
        let mut inside: HashMap<u32, usize> = HashMap::new();
        let mut people: HashMap<u32, usize> = HashMap::new();
        for account in &accounts {
            for hold in inc.photos.of_account(*account) {
                *inside.entry(hold.entity).or_default() += 1;
            }
            for hold in inc.people.of_account(*account) {
                *people.entry(hold.entity).or_default() += 1;
            }
        }
        let mut quality: HashMap<u32, f64> = HashMap::new();
        let mut shared = Vec::new();
        for (entity, inside) in inside {
            let all = inc.photos.owners(entity);
            if all.len() < 2 || inc.photo_barred(entity) {
                continue;
            }
            // The scan for owners stops early on photos of thousands, where a victim more or less changes nothing.
            let owners = all.iter().take(200).filter(|h| owner(h.account)).count();
            let outside = all.len().saturating_sub(inside + owners);
            if inside + usize::from(owners > 0) < 2 {
                continue;
            }
            let exclusive = inside as f64 / (inside + outside) as f64;
            let worth = inc.worth(entity) * inc.rarity(outside + 2) * (1.5 * exclusive).min(1.0);
            if worth >= LEAST_QUALITY {
                quality.insert(entity, worth);
            }
            shared.push(SharedPhoto { entity, inside, outside, quality: worth });
        }
        shared.sort_unstable_by_key(|s| s.entity);
        let parts = accounts.iter().map(|a| part(*a, inc, &quality, &people)).collect();
        let portrait = |s: &&SharedPhoto| inc.worth(s.entity) >= 1.0;
        let mut faces: Vec<u32> =
            shared.iter().filter(portrait).map(|s| inc.person_of[s.entity as usize]).collect();
        if shared.is_empty() {
            faces = people.iter().filter(|(_, n)| **n >= 2).map(|(p, _)| *p).collect();
        }
        faces.sort_unstable();
        faces.dedup();
        let fans = faces
            .iter()
            .map(|p| {
                let all = inc.people.owners(*p);
                let owners = all.iter().take(200).filter(|h| owner(h.account)).count();
                all.len().saturating_sub(people.get(p).copied().unwrap_or(0) + owners)
            })
            .max()
            .unwrap_or(0);
        Self { accounts, parts, shared, people: faces, fans }
    }

    /// Members.
    pub(crate) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Mean over the members.
    pub(crate) fn mean(&self, of: impl Fn(&Part) -> f64) -> f64 {
        self.parts.iter().map(of).sum::<f64>() / self.parts.len().max(1) as f64
    }
}

fn part(account: u32, inc: &Incidence, quality: &HashMap<u32, f64>, people: &HashMap<u32, usize>) -> Part {
    let mut part = Part::default();
    let (mut covered, mut all) = (0.0, 0.0);
    for hold in inc.photos.of_account(account) {
        let worth = inc.worth(hold.entity);
        let person = inc.person_of[hold.entity as usize];
        part.photos += usize::from(person != NOBODY);
        all += worth;
        if let Some(value) = quality.get(&hold.entity) {
            part.shared += value;
            part.shared_photos += 1;
            part.group_photos += usize::from(inc.faces[hold.entity as usize] > 1);
            covered += worth;
        } else if person != NOBODY && worth >= 1.0 && people.get(&person).is_some_and(|n| *n >= 2) {
            covered += worth;
        }
    }
    part.cover = if all > 0.0 { covered / all } else { 0.0 };
    let most = inc
        .people
        .of_account(account)
        .iter()
        .max_by(|x, y| x.count.cmp(&y.count).then(y.entity.cmp(&x.entity)));
    if let Some(most) = most.filter(|m| m.count >= 2 && people.get(&m.entity) == Some(&1)) {
        // A person of whom a photo is shared is no private one.
        let stolen = inc
            .photos
            .of_account(account)
            .iter()
            .any(|h| quality.contains_key(&h.entity) && inc.person_of[h.entity as usize] == most.entity);
        part.own_life = if stolen { 0 } else { most.count as usize };
    }
    part
}
