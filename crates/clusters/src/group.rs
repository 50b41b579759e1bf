//! What can be counted about a group of accounts, before anything is judged.

use std::collections::{HashMap, HashSet};

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
    /// How many of these show several people, as far as that explains who shows them.
    pub(crate) group_photos: f64,
    /// Photos with a face that may make links.
    pub(crate) photos: usize,
    /// Share of its portraits that show a photo or a person which others of the group have too, 0 to 1.
    pub(crate) cover: f64,
    /// Whether it shows a person whom a quarter of the group shows.
    pub(crate) kin: bool,
    /// Members with whom it shares something that is the group's own: those of each photo, and half of those of each
    /// person. Somebody met twice counts twice.
    pub(crate) links: f64,
    /// When it first showed something that others of the group show too, in microseconds.
    pub(crate) since: Option<i64>,
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
    /// Of all showings of people whom several members show, the share of the one shown most, 0 to 1.
    pub(crate) main_person: f64,
    /// Of all showings of shared photos, the share of pictures without a face, 0 to 1.
    pub(crate) faceless: f64,
    /// Accounts outside that show the most widely shown of these people.
    pub(crate) fans: usize,
    /// Of what members share, by worth: how much of the photo's owners stand outside, 0 to 1.
    pub(crate) popular: f64,
    /// Of the people whom members share, how much of those who show them stand outside, 0 to 1.
    pub(crate) famous: f64,
    /// Showings of people whom members share, for each member, 1 at most: how far people explain the group at all.
    pub(crate) shown: f64,
}

impl Group {
    /// Counts. `owner(account)` says whether an account is the likely owner of stolen photos (it is never in the group).
    ///
    /// `common` is the number of owners from which on a photo is taken for a common one (a stock portrait, a meme), whoever
    /// shows it; without a limit where a creation burst explains them.
    pub(crate) fn new(accounts: Vec<u32>, inc: &Incidence, common: f64, owner: impl Fn(u32) -> bool) -> Self {
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
        // Photo or person -> others of the group behind it, as far as it is the group's own.
        let mut quality: HashMap<u32, f64> = HashMap::new();
        let mut company: HashMap<u32, f64> = HashMap::new();
        let mut ours: HashSet<u32> = HashSet::new();
        let mut shared = Vec::new();
        for (entity, inside) in inside {
            let all = inc.photo_owners(entity);
            if all < 2 || inc.photo_barred(entity) {
                continue;
            }
            // What is popular was stolen from nobody. The scan for owners stops early on photos of thousands, where a victim
            // more or less changes nothing.
            let owners = if inc.popular(entity) {
                0
            } else {
                inc.photos.owners(entity).iter().take(200).filter(|h| owner(h.account)).count()
            };
            let outside = all.saturating_sub(inside + owners);
            if inside + usize::from(owners > 0) < 2 {
                continue;
            }
            let exclusive = inside as f64 / (inside + outside) as f64;
            let known = (common / (inside + outside) as f64).min(1.0);
            let worth = known * inc.worth(entity) * inc.rarity(outside + 2) * (1.5 * exclusive).min(1.0);
            if worth >= LEAST_QUALITY {
                quality.insert(entity, worth);
                company.insert(entity, worth * inside.saturating_sub(1) as f64);
            }
            if 2 * inside >= all {
                ours.insert(entity);
            }
            shared.push(SharedPhoto { entity, inside, outside, quality: worth });
        }
        shared.sort_unstable_by_key(|s| s.entity);
        let own_people: HashMap<u32, f64> = people
            .iter()
            .filter(|(_, inside)| **inside >= 2)
            .map(|(person, inside)| {
                let all = inc.person_owners(*person).max(*inside);
                (*person, 0.5 * (*inside - 1) as f64 * (1.5 * *inside as f64 / all as f64).min(1.0))
            })
            .collect();
        let counts = Counts { quality, company, ours, people, own_people, accounts: accounts.len() };
        let parts = accounts.iter().map(|a| part(*a, inc, &counts)).collect();
        let people = counts.people;
        let portrait = |s: &&SharedPhoto| inc.worth(s.entity) >= 1.0;
        let mut faces: Vec<u32> =
            shared.iter().filter(portrait).map(|s| inc.person_of[s.entity as usize]).collect();
        faces.extend(people.iter().filter(|(_, n)| **n >= 2).map(|(p, _)| *p));
        faces.sort_unstable();
        faces.dedup();
        let outside: Vec<(usize, usize)> = faces
            .iter()
            .map(|p| {
                let owners = if inc.popular_person(*p) {
                    0
                } else {
                    inc.people.owners(*p).iter().take(200).filter(|h| owner(h.account)).count()
                };
                let inside = people.get(p).copied().unwrap_or(0);
                (inside, inc.person_owners(*p).saturating_sub(inside + owners))
            })
            .collect();
        // People whom mostly outsiders show say little about who the group's person is.
        let showings: Vec<usize> = outside
            .iter()
            .filter(|(inside, outside)| *inside >= 2 && outside <= inside)
            .map(|t| t.0)
            .collect();
        let all: usize = showings.iter().sum();
        let main_person = showings.iter().max().map_or(0.0, |most| *most as f64 / all as f64);
        let (blank, all) = shared.iter().fold((0, 0), |(blank, all), s| {
            let no_face = inc.faces[s.entity as usize] == 0;
            (blank + if no_face { s.inside } else { 0 }, all + s.inside)
        });
        let faceless = if all > 0 { blank as f64 / all as f64 } else { 0.0 };
        let fans = outside.iter().map(|(_, outside)| *outside).max().unwrap_or(0);
        // Weighed by the members that show it: one celebrity on two of thirty bots explains two of them, not the ring.
        let mean = |terms: &mut dyn Iterator<Item = (f64, f64, f64)>| {
            let (sum, all) = terms.fold((0.0, 0.0), |(sum, all), (weight, inside, outside)| {
                (sum + weight * outside / (inside + outside).max(1.0), all + weight)
            });
            if all > 0.0 { sum / all } else { 0.0 }
        };
        let popular = mean(
            &mut shared
                .iter()
                .map(|s| (inc.worth(s.entity) * s.inside as f64, s.inside as f64, s.outside as f64)),
        );
        let famous =
            mean(&mut outside.iter().map(|(i, o)| (*i as f64, *i as f64, *o as f64)).filter(|t| t.0 >= 1.0));
        let showings: usize = outside.iter().map(|(inside, _)| *inside).sum();
        let shown = (showings as f64 / accounts.len().max(1) as f64).min(1.0);
        Self { accounts, parts, shared, people: faces, main_person, faceless, fans, popular, famous, shown }
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

/// What is counted over a group, for its members' parts.
struct Counts {
    /// Shared photo -> what it is worth.
    quality: HashMap<u32, f64>,
    /// Shared photo -> others who show it, by worth.
    company: HashMap<u32, f64>,
    /// Shared photos that at least half of those who show them show here.
    ours: HashSet<u32>,
    /// Person -> members who show it.
    people: HashMap<u32, usize>,
    /// Person -> half of the others who show it, as far as it is the group's own.
    own_people: HashMap<u32, f64>,
    accounts: usize,
}

fn part(account: u32, inc: &Incidence, counts: &Counts) -> Part {
    let Counts { quality, people, .. } = counts;
    let mut part = Part::default();
    let kin = (counts.accounts / 4).max(3);
    for hold in inc.people.of_account(account) {
        part.links += counts.own_people.get(&hold.entity).copied().unwrap_or(0.0);
    }
    let (mut covered, mut all) = (0.0, 0.0);
    for hold in inc.photos.of_account(account) {
        let worth = inc.worth(hold.entity);
        let person = inc.person_of[hold.entity as usize];
        part.photos += usize::from(person != NOBODY);
        // What everybody shows, most of them elsewhere, is neither its own nor re-used.
        let photo = inc.popular(hold.entity) && !counts.ours.contains(&hold.entity);
        let here = people.get(&person).copied().unwrap_or(0);
        let everybodys =
            photo || person != NOBODY && inc.popular_person(person) && 2 * here < inc.person_owners(person);
        if !everybodys {
            all += worth;
        }
        if let Some(value) = quality.get(&hold.entity) {
            part.shared += value;
            part.shared_photos += 1;
            part.links += counts.company.get(&hold.entity).copied().unwrap_or(0.0);
            if inc.faces[hold.entity as usize] > 1 {
                part.group_photos += (1.0 - worth) / 0.75;
            }
            if !everybodys {
                covered += worth;
            }
            part.since = Some(part.since.map_or(hold.since, |t| t.min(hold.since)));
        } else if person != NOBODY && worth >= 1.0 && people.get(&person).is_some_and(|n| *n >= 2) {
            if !everybodys {
                covered += worth;
            }
            part.since = Some(part.since.map_or(hold.since, |t| t.min(hold.since)));
        }
        part.kin |= worth >= 1.0 && people.get(&person).is_some_and(|n| *n >= kin);
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
