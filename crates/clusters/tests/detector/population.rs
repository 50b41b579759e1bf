//! A compact generator of labelled populations, at the level of cosines: the detector never sees embeddings.
//!
//! Cosines follow what was measured on real portraits: copies of one photo .90 to 1.00, one person on two photos .51 to .88
//! with median .76, strangers at most about .5.

use std::collections::BTreeMap;

use clusters::{
    Account, AllowLists, ClustersConfig, Detection, Face, Input, Link, Ownership, PackCalibration, Photo,
    TailPoint, detect,
};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use records::tables::Role;
use records::{AccountId, PhotoId, PhotoKey, PhotoRelation, ProfileFacts, Timestamp};

/// What the data tells, as real inputs differ in it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Known {
    pub profiles: bool,
    pub times: bool,
    pub hashes: bool,
}

pub const ALL: Known = Known { profiles: true, times: true, hashes: true };
pub const TIMES_ONLY: Known = Known { profiles: false, times: true, hashes: false };
pub const NOTHING: Known = Known { profiles: false, times: false, hashes: false };

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Label {
    Honest(&'static str),
    Victim,
    Bot(u32),
}

struct Shown {
    account: usize,
    source: usize,
    /// Two postings with one `bytes` number are one file.
    bytes: usize,
    day: f64,
}

pub struct World {
    pub rng: ChaCha8Rng,
    known: Known,
    /// Source photo -> people on it, first one main.
    sources: Vec<Vec<usize>>,
    people: usize,
    files: usize,
    accounts: Vec<(Label, ProfileFacts, f64)>,
    shown: Vec<Shown>,
    rings: u32,
}

/// The platform is ten years old.
pub const DAYS: f64 = 3650.0;

impl World {
    pub fn new(seed: u64, known: Known) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            known,
            sources: vec![],
            people: 0,
            files: 0,
            accounts: vec![],
            shown: vec![],
            rings: 0,
        }
    }

    fn int(&mut self, low: usize, high: usize) -> usize {
        self.rng.random_range(low..=high)
    }

    fn uniform(&mut self, low: f64, high: f64) -> f64 {
        self.rng.random_range(low..high)
    }

    pub fn chance(&mut self, p: f64) -> bool {
        self.rng.random::<f64>() < p
    }

    pub fn person(&mut self) -> usize {
        self.people += 1;
        self.people - 1
    }

    pub fn source(&mut self, people: &[usize]) -> usize {
        self.sources.push(people.to_vec());
        self.sources.len() - 1
    }

    pub fn file(&mut self) -> usize {
        self.files += 1;
        self.files - 1
    }

    fn honest_facts(&mut self) -> ProfileFacts {
        let quiet = self.chance(0.15);
        let followers = if quiet { self.int(0, 40) } else { self.int(40, 900) } as i64;
        let following = (followers as f64 * self.uniform(0.4, 2.5)) as i64 + 10;
        let number = self.int(1, 99_999);
        ProfileFacts {
            username: Some(if self.chance(0.2) {
                format!("user{number:05}")
            } else {
                format!("name{}", "x".repeat(number % 9))
            }),
            full_name: Some(if self.chance(0.08) {
                String::new()
            } else {
                format!(
                    "{} Family",
                    (0..6).map(|i| (b'a' + (number >> i) as u8 % 26) as char).collect::<String>()
                )
            }),
            followers: Some(followers),
            following: Some(following),
            posts: Some(if quiet { self.int(0, 5) } else { self.int(4, 300) } as i64),
            ..Default::default()
        }
    }

    fn bot_facts(&mut self) -> ProfileFacts {
        let mut facts = self.honest_facts();
        if self.chance(0.85) {
            facts.following = Some(self.int(300, 4000) as i64);
            facts.followers = Some(self.int(0, 60) as i64);
        }
        if self.chance(0.6) {
            facts.posts = Some(self.int(0, 2) as i64);
        }
        if self.chance(0.35) {
            facts.full_name = Some(String::new());
        }
        if self.chance(0.5) {
            facts.username = Some(format!("bot{:06}", self.int(0, 999_999)));
        }
        facts
    }

    pub fn account(&mut self, label: Label, day: f64) -> usize {
        let facts = match label {
            Label::Bot(_) => self.bot_facts(),
            _ => self.honest_facts(),
        };
        self.accounts.push((label, facts, day.clamp(0.0, DAYS)));
        self.accounts.len() - 1
    }

    pub fn show(&mut self, account: usize, source: usize, bytes: usize) {
        let born = self.accounts[account].2;
        let day = born + self.uniform(0.0, (DAYS - born).max(0.02)).powf(0.8);
        self.show_on(account, source, bytes, day);
    }

    pub fn show_on(&mut self, account: usize, source: usize, bytes: usize, day: f64) {
        self.shown.push(Shown { account, source, bytes, day: day.clamp(0.0, DAYS) });
    }

    /// An account with photos of its own person.
    pub fn honest(&mut self, kind: &'static str) -> (usize, usize) {
        let day = self.uniform(0.0, DAYS);
        let (account, person) = (self.account(Label::Honest(kind), day), self.person());
        let n = self.int(2, 8);
        self.own_photos(account, person, n);
        (account, person)
    }

    pub fn own_photos(&mut self, account: usize, person: usize, n: usize) -> Vec<usize> {
        (0..n)
            .map(|_| {
                let (source, file) = (self.source(&[person]), self.file());
                self.show(account, source, file);
                source
            })
            .collect()
    }

    pub fn crowd(&mut self, n: usize) {
        for _ in 0..n {
            self.honest("ordinary");
        }
    }

    pub fn celebrity(&mut self, fans: usize, pages: usize) {
        let person = self.person();
        let day = self.uniform(0.0, DAYS / 3.0);
        let star = self.account(Label::Honest("celebrity"), day);
        self.accounts[star].1.verified = Some(true);
        self.accounts[star].1.followers = Some(900_000);
        let photos = self.own_photos(star, person, 40);
        let files: Vec<usize> = photos.iter().map(|_| self.file()).collect();
        for at in 0..fans + pages {
            let page = at >= fans;
            let fan = if page {
                let day = self.uniform(0.0, DAYS);
                let page = self.account(Label::Honest("fan page"), day);
                self.accounts[page].1.followers = Some(5000);
                page
            } else {
                self.honest("fan").0
            };
            let n = if page { self.int(6, 15) } else { self.int(1, 4) };
            for _ in 0..n {
                let photo = self.int(0, photos.len() - 1);
                let file = if self.chance(0.5) { files[photo] } else { self.file() };
                self.show(fan, photos[photo], file);
            }
        }
    }

    pub fn memes(&mut self, memes: usize, sharers: usize, most: usize) {
        let pictures: Vec<(usize, usize)> = (0..memes)
            .map(|_| {
                let person = self.person();
                (self.source(&[person]), self.file())
            })
            .collect();
        for _ in 0..sharers {
            let (account, _) = self.honest("meme sharer");
            for _ in 0..self.int(1, most) {
                let (source, file) = pictures[self.int(0, memes - 1)];
                let file = if self.chance(0.6) { file } else { self.file() };
                self.show(account, source, file);
            }
        }
    }

    pub fn default_avatars(&mut self, n: usize) {
        let person = self.person();
        let (source, file) = (self.source(&[person]), self.file());
        for _ in 0..n {
            let day = self.uniform(0.0, DAYS);
            let account = self.account(Label::Honest("default avatar"), day);
            self.show(account, source, file);
        }
    }

    pub fn friends(&mut self, n: usize, photos: usize) {
        let circle: Vec<(usize, usize)> = (0..n).map(|_| self.honest("friend")).collect();
        for _ in 0..photos {
            let mut there = circle.clone();
            there.shuffle(&mut self.rng);
            there.truncate(self.rng.random_range(3..=n.max(3)));
            let people: Vec<usize> = there.iter().map(|f| f.1).collect();
            let (source, file) = (self.source(&people), self.file());
            let day = self.uniform(DAYS * 0.8, DAYS);
            for (account, _) in there {
                self.show_on(account, source, file, day);
            }
        }
    }

    /// Parents and relatives who share portraits of one child.
    pub fn family(&mut self, n: usize, photos: usize) {
        let child = self.person();
        let kin: Vec<usize> = (0..n).map(|_| self.honest("family").0).collect();
        for _ in 0..photos {
            let (source, file) = (self.source(&[child]), self.file());
            for account in &kin {
                if self.chance(0.7) {
                    self.show(*account, source, file);
                }
            }
        }
    }

    /// One person with several accounts that show many of the same photos.
    pub fn several_accounts(&mut self, n: usize) {
        let (first, person) = self.honest("several accounts");
        let photos = self.own_photos(first, person, 8);
        for _ in 1..n {
            let day = self.uniform(0.0, DAYS);
            let other = self.account(Label::Honest("several accounts"), day);
            for source in &photos {
                if self.chance(0.6) {
                    let file = self.file();
                    self.show(other, *source, file);
                }
            }
            self.own_photos(other, person, 2);
        }
    }

    pub fn next_ring(&mut self) -> u32 {
        self.rings += 1;
        self.rings
    }

    pub fn victim(&mut self, photos: usize) -> (usize, usize, Vec<usize>) {
        let day = self.uniform(0.0, DAYS * 0.5);
        let (account, person) = (self.account(Label::Victim, day), self.person());
        let sources: Vec<usize> = (0..photos)
            .map(|_| {
                let (source, file) = (self.source(&[person]), self.file());
                let when = self.uniform(day, DAYS * 0.6);
                self.show_on(account, source, file, when.max(day));
                source
            })
            .collect();
        (account, person, sources)
    }

    /// Bots that each re-use `each` photos of a pool, re-encoded; made within `days` of each other from `start` on.
    pub fn pool_ring(&mut self, bots: usize, pool: &[usize], each: usize, start: f64, days: f64) -> u32 {
        let ring = self.next_ring();
        for _ in 0..bots {
            let born = start + self.uniform(0.0, days);
            let bot = self.account(Label::Bot(ring), born);
            let mut mine = pool.to_vec();
            mine.shuffle(&mut self.rng);
            for source in mine.into_iter().take(each) {
                let file = self.file();
                let day = born + self.uniform(0.0, 5.0);
                self.show_on(bot, source, file, day);
            }
        }
        ring
    }

    /// A pool of photos of `victims` victims; some of their accounts are in the data.
    pub fn stolen_pool(&mut self, victims: usize, photos_each: usize, present: f64) -> Vec<usize> {
        let mut pool = Vec::new();
        for _ in 0..victims {
            if self.chance(present) {
                let extra = self.int(2, 10);
                let (_, _, sources) = self.victim(photos_each + extra);
                pool.extend(&sources[..photos_each]);
            } else {
                let person = self.person();
                pool.extend((0..photos_each).map(|_| self.source(&[person])).collect::<Vec<_>>());
            }
        }
        pool
    }

    /// Bots that each show different photos of one stolen person.
    pub fn one_person_ring(&mut self, bots: usize, each: usize, start: f64, days: f64) -> u32 {
        let ring = self.next_ring();
        let person = self.person();
        for _ in 0..bots {
            let born = start + self.uniform(0.0, days);
            let bot = self.account(Label::Bot(ring), born);
            for _ in 0..each {
                let (source, file) = (self.source(&[person]), self.file());
                self.show_on(bot, source, file, born + 1.0);
            }
        }
        ring
    }

    /// The whole as the detector reads it, with the label of each account.
    pub fn build(mut self) -> (Input, BTreeMap<AccountId, Label>) {
        let at = |day: f64| Timestamp::from_micros(1_400_000_000_000_000 + (day * 86_400e6) as i64).unwrap();
        let end = at(DAYS);
        let moment = |known: Known, day: f64| if known.times { at(day) } else { end };
        let known = self.known;
        let tail = [(0.35, 1.7e-3), (0.40, 3.8e-4), (0.45, 6.6e-5)];
        let pack = PackCalibration {
            link_floor: 0.45,
            same_photo_cosine: 0.9,
            tail: tail.map(|(cosine, false_match_rate)| TailPoint { cosine, false_match_rate }).to_vec(),
        };
        let mut input = Input::empty(end, pack);
        input.allow = AllowLists::default();
        let mut labels = BTreeMap::new();
        for (at_index, (label, facts, day)) in self.accounts.iter().enumerate() {
            let id = AccountId::new(format!("acc{:07}", (at_index * 7919) % 9_999_991)).unwrap();
            labels.insert(id.clone(), *label);
            let mut facts = if known.profiles { facts.clone() } else { ProfileFacts::default() };
            facts.created_at = (known.profiles && known.times).then(|| at(*day));
            input.accounts.push(Account { id, facts, first_seen: moment(known, *day), last_seen: end });
        }
        let mut photo_of: BTreeMap<String, u32> = BTreeMap::new();
        // Face: (person, source) for the links.
        let mut who: Vec<(usize, usize)> = Vec::new();
        for (number, shown) in self.shown.iter().enumerate() {
            let name = if known.hashes { format!("file {}", shown.bytes) } else { format!("row {number}") };
            let next = input.photos.len() as u32;
            let photo = *photo_of.entry(name.clone()).or_insert(next);
            if photo == next {
                input.photos.push(Photo { key: PhotoKey::of_bytes(name.as_bytes()), hashed: known.hashes });
                for (at_face, person) in self.sources[shown.source].iter().enumerate() {
                    input.faces.push(Face {
                        photo,
                        tag: at_face as u64,
                        linkable: true,
                        main: at_face == 0,
                        width_px: 90.0,
                        eye_alignment: None,
                    });
                    who.push((*person, shown.source));
                }
            }
            input.ownerships.push(Ownership {
                account: shown.account as u32,
                photo,
                photo_id: PhotoId::new(format!("p{number}")).unwrap(),
                observed_at: moment(known, shown.day),
            });
        }
        let mut by_person: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        who.iter()
            .enumerate()
            .for_each(|(face, (person, _))| by_person.entry(*person).or_default().push(face as u32));
        for faces in by_person.into_values() {
            for (i, a) in faces.iter().enumerate() {
                let mut near: Vec<(f32, u32, bool)> = Vec::new();
                for b in faces[i + 1..].iter().take(400) {
                    let copy = who[*a as usize].1 == who[*b as usize].1;
                    let normal = (0..12).map(|_| self.rng.random::<f64>()).sum::<f64>() - 6.0;
                    let cosine = if copy {
                        0.97 - 0.02 * normal.abs()
                    } else {
                        (0.76 + 0.07 * normal).clamp(0.4, 0.885)
                    };
                    near.push((cosine as f32, *b, copy));
                }
                near.sort_by(|x, y| y.0.total_cmp(&x.0));
                for (cosine, b, copy) in near.into_iter().take(64).filter(|n| n.0 >= 0.45) {
                    if input.faces[*a as usize].photo == input.faces[b as usize].photo {
                        continue;
                    }
                    let pdq =
                        known.hashes.then(|| if copy && self.rng.random::<f64>() < 0.8 { 8 } else { 110 });
                    let relation = PhotoRelation { pdq_distance: pdq, crop_distance: None, mirrored: false };
                    input.links.push(Link { a: *a, b, cosine, relation });
                }
            }
        }
        // Strangers that look alike: one link in a few hundred faces.
        for _ in 0..who.len() / 300 {
            let (a, b) =
                (self.rng.random_range(0..who.len() as u32), self.rng.random_range(0..who.len() as u32));
            if input.faces[a as usize].photo != input.faces[b as usize].photo {
                input.links.push(Link { a, b, cosine: 0.7, relation: PhotoRelation::default() });
            }
        }
        (input, labels)
    }
}

/// What came of a population.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Honest accounts and victims that were accused, by kind.
    pub accused: BTreeMap<String, usize>,
    pub victims_shown: usize,
    /// Ring -> (members found together, size, clusters that hold them).
    pub rings: BTreeMap<u32, (usize, usize, usize)>,
    /// Clusters that hold two rings.
    pub mixed: usize,
}

impl Outcome {
    pub fn accused_in_all(&self) -> usize {
        self.accused.values().sum()
    }

    pub fn recall(&self) -> f64 {
        let (found, all) = self.rings.values().fold((0, 0), |(f, n), r| (f + r.0, n + r.1));
        found as f64 / all.max(1) as f64
    }
}

pub fn run(world: World) -> (Outcome, Detection) {
    let (input, labels) = world.build();
    let detection = detect(input, &ClustersConfig::default()).unwrap();
    let mut outcome = Outcome::default();
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    for label in labels.values() {
        if let Label::Bot(ring) = label {
            *sizes.entry(*ring).or_default() += 1;
        }
    }
    let mut by_ring: BTreeMap<u32, BTreeMap<String, usize>> = BTreeMap::new();
    let mut by_cluster: BTreeMap<String, BTreeMap<u32, usize>> = BTreeMap::new();
    for row in &detection.tables.members {
        match (row.role, labels[&row.account_id]) {
            (Role::Victim, Label::Victim) => outcome.victims_shown += 1,
            (Role::Member, Label::Bot(ring)) => {
                *by_ring.entry(ring).or_default().entry(row.cluster_id.clone()).or_default() += 1;
                *by_cluster.entry(row.cluster_id.clone()).or_default().entry(ring).or_default() += 1;
            }
            (Role::Member, label) => *outcome.accused.entry(format!("{label:?}")).or_default() += 1,
            (Role::Victim, _) => {}
        }
    }
    for (ring, size) in sizes {
        let parts = by_ring.remove(&ring).unwrap_or_default();
        let most = parts.values().max().copied().unwrap_or(0);
        outcome.rings.insert(ring, (most, size, parts.len()));
    }
    outcome.mixed = by_cluster.values().filter(|rings| rings.len() > 1).count();
    (outcome, detection)
}
