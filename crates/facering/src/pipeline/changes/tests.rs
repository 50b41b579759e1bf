//! Updates through the real store, index and desk give what a full run over the same state gives, whatever was committed.

use std::sync::Arc;

use clusters::{ClustersConfig, Incremental, PackCalibration, TailPoint};
use index::{FaceIndex, IndexConfig};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use records::{
    AccountId, Batch, CheckpointDelta, EmbeddedEvent, EmbeddedPhoto, Embedding, Face, FaceOrdinal, Origin,
    PackId, PartitionId, PhotoContent, PhotoFacts, PhotoId, PhotoKey, Position, ProfileFacts, Quality,
    Staged, StagedBody, Timestamp,
};
use store::{Store, StoreConfig};

use super::super::calibration::Floor;
use super::super::desk::{Desk, Embedded, Verdict};
use super::super::progress::Progress;
use super::super::touched::Touched;
use super::super::vector_cache::VectorCache;
use super::super::{changes, input};

const DIMENSION: usize = 64;
const DAY: i64 = 86_400_000_000;
const START: i64 = 1_600_000_000_000_000;

/// A picture file: the faces on it.
struct File {
    key: PhotoKey,
    faces: Vec<Vec<f32>>,
}

struct Shower {
    id: AccountId,
    facts: ProfileFacts,
    photos: Vec<usize>,
    gone: bool,
}

/// Accounts, their pictures, and the state they are in.
struct World {
    rng: StdRng,
    files: Vec<File>,
    accounts: Vec<Shower>,
    /// Who showed a picture of which only given faces are known, and shows all of it next.
    pending: Vec<usize>,
    clock: i64,
}

impl World {
    fn vector(&mut self) -> Vec<f32> {
        let gauss = |rng: &mut StdRng| (0..12).map(|_| rng.random_range(-0.5..0.5f32)).sum::<f32>();
        let values: Vec<f32> = (0..DIMENSION).map(|_| gauss(&mut self.rng)).collect();
        unit(values)
    }

    /// Something as like a vector as this cosine says.
    fn like(&mut self, vector: &[f32], cosine: f32) -> Vec<f32> {
        let noise = self.vector();
        let sine = (1.0 - cosine * cosine).sqrt();
        unit(vector.iter().zip(noise).map(|(v, n)| cosine * v + sine * n).collect())
    }

    fn file(&mut self, faces: Vec<Vec<f32>>) -> usize {
        let key = PhotoKey::of_bytes(&(self.files.len() as u64).to_le_bytes());
        self.files.push(File { key, faces });
        self.files.len() - 1
    }

    fn photo_of(&mut self, person: &[f32]) -> usize {
        let face = self.like(person, 0.86);
        self.file(vec![face])
    }

    fn copy_of(&mut self, file: usize) -> usize {
        let faces: Vec<Vec<f32>> = self.files[file].faces.clone();
        let faces = faces.iter().map(|face| self.like(face, 0.985)).collect();
        self.file(faces)
    }

    fn account(&mut self, bot: bool, born: i64, photos: Vec<usize>) -> usize {
        let number = self.accounts.len();
        let facts = ProfileFacts {
            username: Some(format!("u{number}")),
            full_name: Some(if bot { String::new() } else { format!("Person {number}") }),
            followers: Some(if bot { 3 } else { 300 }),
            following: Some(if bot { 2000 } else { 250 }),
            posts: Some(if bot { 0 } else { 50 }),
            created_at: Timestamp::from_micros(START + born * DAY).ok(),
            verified: Some(false),
        };
        let id = AccountId::new(format!("a{number:05}")).unwrap();
        self.accounts.push(Shower { id, facts, photos, gone: false });
        number
    }

    fn honest(&mut self) -> usize {
        let person = self.vector();
        let photos = (0..self.rng.random_range(1..4)).map(|_| self.photo_of(&person)).collect();
        let born = self.rng.random_range(0..2000);
        self.account(false, born, photos)
    }

    /// A bot with three photos of a pool, half of them copies.
    fn bot(&mut self, pool: &[usize], born: i64) -> usize {
        let photos = (0..3)
            .map(|_| {
                let file = pool[self.rng.random_range(0..pool.len())];
                if self.rng.random::<bool>() { file } else { self.copy_of(file) }
            })
            .collect();
        self.account(true, born, photos)
    }

    fn now(&mut self) -> Timestamp {
        self.clock += 60_000_000;
        Timestamp::from_micros(self.clock).unwrap()
    }

    fn event(&mut self, account: usize, body: StagedBody<EmbeddedPhoto>) -> EmbeddedEvent {
        Staged {
            account: self.accounts[account].id.clone(),
            observed_at: self.now(),
            content_hash: [1; 32],
            body,
            origin: Origin::row(PartitionId::file("f"), Position(0)),
        }
    }

    /// The account as it is now.
    fn tell(&mut self, account: usize) -> EmbeddedEvent {
        let shower = &self.accounts[account];
        if shower.gone {
            return self.event(account, StagedBody::Deleted);
        }
        let facts = shower.facts.clone();
        let photos = shower.photos.iter().map(|file| shown(&self.files[*file], false)).collect();
        self.event(account, StagedBody::Replace { photos, facts })
    }

    /// Something happens to somebody.
    fn happen(&mut self, pools: &[Vec<usize>]) -> Vec<EmbeddedEvent> {
        let who = self.rng.random_range(0..self.accounts.len());
        if let Some(who) = self.pending.pop() {
            return vec![self.tell(who)];
        }
        match self.rng.random_range(0..9) {
            0 => {
                let new = self.honest();
                vec![self.tell(new)]
            }
            1 | 2 => {
                let pool = &pools[self.rng.random_range(0..pools.len())];
                let new = self.bot(pool, 1990);
                vec![self.tell(new)]
            }
            3 => {
                self.accounts[who].photos.pop();
                vec![self.tell(who)]
            }
            4 => {
                // Another account's photos instead of its own.
                let other = self.rng.random_range(0..self.accounts.len());
                self.accounts[who].photos = self.accounts[other].photos.clone();
                vec![self.tell(who)]
            }
            5 => {
                self.accounts[who].gone = !self.accounts[who].gone;
                vec![self.tell(who)]
            }
            6 => {
                self.accounts[who].facts.followers = Some(self.rng.random_range(0..900));
                vec![self.tell(who)]
            }
            7 => {
                // A picture that somebody shows or showed, perhaps nobody any more.
                let file = self.rng.random_range(0..self.files.len());
                self.accounts[who].photos.push(file);
                self.accounts[who].gone = false;
                vec![self.tell(who)]
            }
            _ => {
                // A picture that comes first with a face somebody else's network found, then as a whole.
                let pool = &pools[0];
                let stolen = pool[self.rng.random_range(0..pool.len())];
                let file = self.copy_of(stolen);
                let true_faces = self.files[file].faces.clone();
                self.files[file].faces = vec![self.like(&true_faces[0], 0.8)];
                let given = vec![shown(&self.files[file], true)];
                self.files[file].faces = true_faces;
                self.accounts[who].photos.push(file);
                self.accounts[who].gone = false;
                self.pending.push(who);
                vec![self.event(who, StagedBody::Add { photos: given, facts: None })]
            }
        }
    }
}

fn unit(values: Vec<f32>) -> Vec<f32> {
    let length = values.iter().map(|v| v * v).sum::<f32>().sqrt();
    values.into_iter().map(|v| v / length).collect()
}

fn shown(file: &File, partial: bool) -> EmbeddedPhoto {
    let quality =
        Quality { width_px: 90.0, sharpness: 0.5, turned: 0.1, score: 0.9, figure: 0.8, linkable: true };
    let faces = file.faces.iter().enumerate().map(|(at, face)| Face {
        place: None,
        quality,
        main: at == 0,
        eye_alignment: None,
        pdq: None,
        pdq_mirrored: None,
        embedding: Embedding::normalised(face).unwrap(),
    });
    let facts = PhotoFacts {
        size: (0, 0),
        hashed: true,
        pdq: None,
        pdq_mirrored: None,
        pack: PackId::new("pack").unwrap(),
    };
    let content = PhotoContent { facts, faces: faces.collect(), partial, thumbnail: None };
    let photo_id = PhotoId::new(file.key.to_string()).unwrap();
    EmbeddedPhoto { photo_id, key: file.key, content: Some(content) }
}

/// A crowd, rings on pools of stolen photos, a meme, a celebrity's fans, friends on group photos.
fn world(seed: u64) -> (World, Vec<Vec<usize>>) {
    let mut w = World {
        rng: StdRng::seed_from_u64(seed),
        files: vec![],
        accounts: vec![],
        pending: vec![],
        clock: START + 2000 * DAY,
    };
    for _ in 0..500 {
        w.honest();
    }
    let mut pools = Vec::new();
    for ring in 0..4 {
        let people: Vec<Vec<f32>> = (0..3).map(|_| w.vector()).collect();
        let pool: Vec<usize> = (0..6).map(|at| w.photo_of(&people[at % 3])).collect();
        for bot in 0..10 {
            w.bot(&pool, 1900 + 20 * ring + bot % 3);
        }
        pools.push(pool);
    }
    let person = w.vector();
    let meme = w.photo_of(&person);
    let star = w.vector();
    for fan in 0..70 {
        let file = if fan % 2 == 0 { meme } else { w.copy_of(meme) };
        w.accounts[fan].photos.push(file);
        if fan < 50 {
            let file = w.photo_of(&star);
            w.accounts[100 + fan].photos.push(file);
        }
    }
    for circle in 0..6 {
        let friends: Vec<usize> = (0..4).map(|at| 200 + 4 * circle + at).collect();
        for first in 0..3 {
            let faces: Vec<Vec<f32>> =
                friends[first..].iter().map(|f| w.files[w.accounts[*f].photos[0]].faces[0].clone()).collect();
            let faces = faces.iter().map(|face| w.like(face, 0.85)).collect();
            let file = w.file(faces);
            friends[first..].iter().for_each(|f| w.accounts[*f].photos.push(file));
        }
    }
    (w, pools)
}

fn pack() -> PackCalibration {
    let point = |cosine, false_match_rate| TailPoint { cosine, false_match_rate };
    let tail = vec![point(0.35, 1.7e-3), point(0.40, 3.8e-4), point(0.45, 6.6e-5)];
    PackCalibration { link_floor: 0.4, same_photo_cosine: 0.92, tail }
}

fn commit(desk: &mut Desk, events: Vec<EmbeddedEvent>) -> u64 {
    let batch = Batch::new(events, CheckpointDelta::default());
    let verdict =
        desk.commit(Embedded { batch, ahead: None, uncommitted: None }, &Progress::default()).unwrap();
    match verdict {
        Verdict::Committed(done) => done.faces_removed,
        Verdict::FetchAgain => panic!("every picture comes with its content"),
    }
}

fn opened(folder: &std::path::Path) -> (Store, Desk, Arc<Touched>) {
    let store =
        Store::open(&StoreConfig { cache_mib: 16, journal_mib: 64, ..StoreConfig::at(folder) }).unwrap();
    let config = IndexConfig { factory: "Flat".into(), ..IndexConfig::default() };
    let index = Arc::new(FaceIndex::open(folder.join("index"), DIMENSION, &config).unwrap());
    let calibration = embed::Calibration {
        same_person_floor: 0.4,
        same_photo_cosine: 0.92,
        impostor_mean: 0.0,
        impostor_sd: 0.125,
        impostor_tail: vec![[0.35, 1.7e-3], [0.4, 3.8e-4], [0.45, 6.6e-5]],
        basis: "made up".into(),
    };
    let floor = Floor::new(&calibration, 0.4, 0.7, 0.01);
    let touched = Arc::new(Touched::default());
    let desk = Desk::new(store.clone(), index, floor, None, Arc::clone(&touched), 1).unwrap();
    (store, desk, touched)
}

#[test]
fn a_vector_is_kept_as_the_state_has_it_until_all_are_cleared() {
    let (full, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, mut desk, _) = opened(full.path());
    let (mut world, _) = world(1);
    commit(&mut desk, (0..world.accounts.len()).map(|account| world.tell(account)).collect());
    let (reader, nothing) = (store.reader(), opened(empty.path()).0.reader());
    let cache = VectorCache::new(1, DIMENSION);
    let read = |reader, ordinal| {
        let mut vector = vec![7.0; DIMENSION];
        cache.read(reader, FaceOrdinal(ordinal), &mut vector).unwrap();
        vector
    };
    let stored: Vec<Vec<f32>> = (0..50).map(|o| reader.vector_of(FaceOrdinal(o)).unwrap().unwrap()).collect();
    // From the state, then from memory: a state that has nothing tells the two apart.
    for reader in [&reader, &nothing] {
        assert!((0..50).all(|ordinal| read(reader, ordinal) == stored[ordinal as usize]));
    }
    cache.clear();
    assert!((0..50).all(|ordinal| read(&nothing, ordinal) == [7.0; DIMENSION]), "nothing is left");
}

fn follow(seed: u64, updates: &mut usize, removed: &mut u64, clusters: &mut usize) {
    let folder = tempfile::tempdir().unwrap();
    let (store, mut desk, touched) = opened(folder.path());

    let (mut world, pools) = world(seed);
    let everybody = (0..world.accounts.len()).map(|account| world.tell(account)).collect();
    commit(&mut desk, everybody);
    let mut detector: Option<Incremental> = None;
    for round in 0..14 {
        for _ in 0..world.rng.random_range(1..4) {
            let mut events = Vec::new();
            for _ in 0..world.rng.random_range(1..4) {
                events.extend(world.happen(&pools));
            }
            *removed += commit(&mut desk, events);
        }
        if round % 5 == 4 {
            desk.sweep_all().unwrap();
        }
        if round == 9 {
            let id = world.accounts[3].id.clone();
            world.accounts[3].gone = true;
            desk.forget(&[id]).unwrap();
        }
        let reader = store.reader();
        let changes = detector.as_ref().and_then(|detector| {
            let touches = touched.take(reader.commit())?;
            let changes = changes::read(&reader, pack(), Vec::new(), &touches).unwrap();
            (!detector.is_due(&changes)).then_some(changes)
        });
        let input = input::read(&reader, pack(), Vec::new()).unwrap();
        match (&mut detector, changes) {
            (Some(detector), Some(changes)) => {
                let found = detector.update(changes).unwrap().tables;
                let full = detector.recomputed_from(input).unwrap().tables;
                assert_eq!(found, full, "seed {seed}, round {round}");
                *updates += 1;
                *clusters = found.clusters.len();
            }
            _ => {
                touched.follow(reader.counts().accounts as usize);
                touched.forget(reader.commit());
                detector = Some(Incremental::new(input, &ClustersConfig::default()).unwrap().0);
            }
        }
    }
}

#[test]
fn updates_through_the_store_give_the_tables_of_a_full_run() {
    let (mut updates, mut removed, mut clusters) = (0, 0, 0);
    for seed in 0..4 {
        follow(seed, &mut updates, &mut removed, &mut clusters);
    }
    assert!(updates >= 20, "only {updates} of the rounds were updates");
    assert!(removed > 0, "no face went away");
    assert!(clusters >= 3, "{clusters} clusters are too few to compare");
}
