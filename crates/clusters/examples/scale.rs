//! Time and memory of a full detection: `cargo run --release -p clusters --example scale -- 1000000`.
//! With a folder as second argument the snapshot is written there.
//!
//! The population has, for each thousand accounts: 3 rings of 20 bots with 5 of 30 stolen photos each, 150 accounts that share
//! one of 20 memes, 40 fans of one celebrity, 20 pairs of accounts of one person, own photos of everybody else, and one link
//! between strangers for each 100 faces.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use clusters::{
    Account, Changes, ClustersConfig, Face, Incremental, Input, Link, Ownership, PackCalibration, Photo,
    TailPoint, detect, write_snapshot,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use records::tables::{RunInfo, TABLES_VERSION};
use records::{AccountId, PhotoId, PhotoKey, PhotoRelation, ProfileFacts, Timestamp};

struct Maker {
    input: Input,
    rng: ChaCha8Rng,
    /// Faces of each shown source photo and person, to link new ones with a few of them.
    of_source: Vec<Vec<u32>>,
    of_person: Vec<Vec<u32>>,
}

impl Maker {
    fn show(
        &mut self,
        account: u32,
        source: usize,
        person: usize,
        at: i64,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let number = self.input.photos.len() as u32;
        let key = PhotoKey::of_bytes(&number.to_le_bytes());
        self.input.photos.push(Photo { key, hashed: false });
        let face = self.input.faces.len() as u32;
        self.input.faces.push(Face {
            photo: number,
            tag: 1,
            linkable: true,
            main: true,
            width_px: 80.0,
            eye_alignment: None,
        });
        let photo_id = PhotoId::new(format!("p{number}"))?;
        let observed_at = Timestamp::from_micros(at)?;
        self.input.ownerships.push(Ownership { account, photo: number, photo_id, observed_at });
        for (faces, low, count) in [(&self.of_source[source], 0.93, 12), (&self.of_person[person], 0.7, 3)] {
            for _ in 0..count.min(faces.len()) {
                let other = faces[self.rng.random_range(0..faces.len())];
                let cosine = low + self.rng.random_range(0.0..0.06f32);
                self.input.links.push(Link { a: other, b: face, cosine, relation: PhotoRelation::default() });
            }
        }
        self.of_source[source].push(face);
        self.of_person[person].push(face);
        Ok(())
    }

    fn person(&mut self) -> usize {
        self.of_person.push(Vec::new());
        self.of_person.len() - 1
    }

    fn source(&mut self) -> usize {
        self.of_source.push(Vec::new());
        self.of_source.len() - 1
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wanted: usize = std::env::args().nth(1).map_or(Ok(1_000_000), |n| n.parse())?;
    let point = |cosine, false_match_rate| TailPoint { cosine, false_match_rate };
    let tail = vec![point(0.35, 1.7e-3), point(0.40, 3.8e-4), point(0.45, 6.6e-5)];
    let pack = PackCalibration { link_floor: 0.5, same_photo_cosine: 0.92, tail };
    let as_of = Timestamp::from_micros(1_700_000_000_000_000)?;
    let mut m = Maker {
        input: Input::empty(as_of, pack),
        rng: ChaCha8Rng::seed_from_u64(1),
        of_source: vec![],
        of_person: vec![],
    };
    let start = Instant::now();
    for _ in 0..wanted / 1000 {
        let pools: Vec<Vec<(usize, usize)>> = (0..3)
            .map(|_| {
                let people: Vec<usize> = (0..6).map(|_| m.person()).collect();
                (0..30).map(|i| (m.source(), people[i % 6])).collect()
            })
            .collect();
        let memes: Vec<(usize, usize)> = (0..20).map(|_| (m.source(), m.person())).collect();
        let star = m.person();
        let posters: Vec<usize> = (0..15).map(|_| m.source()).collect();
        let mut twin = (0, 0);
        for i in 0..1000usize {
            let bot = i < 60;
            let born = 1_400_000_000_000_000
                + if bot { 200_000_000_000_000 } else { m.rng.random_range(0..290_000_000_000_000i64) };
            let created = Timestamp::from_micros(born)?;
            let account = m.input.accounts.len() as u32;
            let facts = ProfileFacts {
                full_name: Some(format!("name {account}")),
                followers: Some(if bot { 3 } else { 200 }),
                following: Some(if bot { 900 } else { 250 }),
                posts: Some(if bot { 0 } else { 40 }),
                created_at: Some(created),
                ..Default::default()
            };
            let id = AccountId::new(format!("account-{:08}", (u64::from(account) * 7_368_787) % 99_999_989))?;
            m.input.accounts.push(Account { id, facts, first_seen: created, last_seen: as_of });
            if bot {
                for _ in 0..5 {
                    let at = m.rng.random_range(0..30);
                    let (source, person) = pools[i / 20][at];
                    m.show(account, source, person, born)?;
                }
                continue;
            }
            let second = (300..340).contains(&i) && i % 2 == 1;
            let person = if second { twin.1 } else { m.person() };
            for _ in 0..3 {
                let source = m.source();
                m.show(account, source, person, born)?;
            }
            twin = (account, person);
            if (60..210).contains(&i) {
                let at = m.rng.random_range(0..20);
                let (source, person) = memes[at];
                m.show(account, source, person, born)?;
            } else if (210..250).contains(&i) {
                let at = m.rng.random_range(0..15);
                m.show(account, posters[at], star, born)?;
            }
        }
    }
    let faces = m.input.faces.len() as u32;
    for _ in 0..faces / 100 {
        let (a, b) = (m.rng.random_range(0..faces), m.rng.random_range(0..faces));
        m.input.links.push(Link { a, b, cosine: 0.75, relation: PhotoRelation::default() });
    }
    // Links below tau, as an index that stores everything above its floor leaves them.
    while m.input.links.len() < wanted * 5 {
        let (a, b) = (m.rng.random_range(0..faces), m.rng.random_range(0..faces));
        m.input.links.push(Link { a, b, cosine: 0.55, relation: PhotoRelation::default() });
    }
    let input = m.input;
    if std::env::args().nth(2).as_deref() == Some("update") {
        return update(input);
    }
    println!(
        "made {} accounts, {} faces, {} links in {:.1} s",
        input.accounts.len(),
        input.faces.len(),
        input.links.len(),
        start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    let found = detect(input, &ClustersConfig::default())?;
    println!(
        "detected in {:.1} s: {} communities, {} clusters, {} members",
        start.elapsed().as_secs_f64(),
        found.communities,
        found.tables.clusters.len(),
        found.tables.members.len()
    );
    if let Some(folder) = std::env::args().nth(2) {
        let run = RunInfo {
            tables_version: TABLES_VERSION.to_owned(),
            facering_version: env!("CARGO_PKG_VERSION").to_owned(),
            snapshot: as_of.compact(),
            kind: Default::default(),
            as_of,
            pack: "made up".to_owned(),
            accounts: wanted as u64,
            photos: u64::from(faces),
            faces: u64::from(faces),
            links: wanted as u64 * 5,
            dead_letters: Default::default(),
            checkpoint: Default::default(),
            thresholds: found.thresholds.clone(),
        };
        let place = write_snapshot(folder.as_ref(), &found.tables, &run, [], Default::default())?;
        println!("written to {}", place.display());
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(peak) = status.lines().find(|l| l.starts_with("VmHWM")) {
        println!("{peak} (the made population included)");
    }
    Ok(())
}

/// One account of every thousand comes last, and the detector that has seen the others takes it in.
fn update(input: Input) -> Result<(), Box<dyn std::error::Error>> {
    let late = |account: u32| account % 1000 == 777;
    // Every picture has one owner here.
    let mut owner = vec![0u32; input.photos.len()];
    input.ownerships.iter().for_each(|o| owner[o.photo as usize] = o.account);
    let of_face = |face: u32| owner[input.faces[face as usize].photo as usize];
    let mut other_end = vec![false; input.photos.len()];
    for link in &input.links {
        for (near, far) in [(link.a, link.b), (link.b, link.a)] {
            if late(of_face(near)) {
                other_end[input.faces[far as usize].photo as usize] = true;
            }
        }
    }
    let rows = |wanted: bool| {
        let mut rows = Input::empty(input.as_of, input.pack.clone());
        let place = |keep: &dyn Fn(usize) -> bool, n: usize| -> Vec<u32> {
            let mut next = 0;
            (0..n)
                .map(|at| {
                    if keep(at) {
                        next += 1;
                        next - 1
                    } else {
                        u32::MAX
                    }
                })
                .collect()
        };
        let listed =
            |photo: u32| late(owner[photo as usize]) == wanted || wanted && other_end[photo as usize];
        let accounts = place(&|a| late(a as u32) == wanted, input.accounts.len());
        let photos = place(&|p| listed(p as u32), input.photos.len());
        let faces = place(&|f| listed(input.faces[f].photo), input.faces.len());
        let kept = |places: &[u32], at: usize| places[at] != u32::MAX;
        rows.accounts = (0..input.accounts.len())
            .filter(|a| kept(&accounts, *a))
            .map(|a| input.accounts[a].clone())
            .collect();
        rows.photos =
            (0..input.photos.len()).filter(|p| kept(&photos, *p)).map(|p| input.photos[p]).collect();
        rows.faces = (0..input.faces.len())
            .filter(|f| kept(&faces, *f))
            .map(|f| Face { photo: photos[input.faces[f].photo as usize], ..input.faces[f] })
            .collect();
        rows.ownerships = (input.ownerships.iter())
            .filter(|o| kept(&accounts, o.account as usize))
            .map(|o| Ownership {
                account: accounts[o.account as usize],
                photo: photos[o.photo as usize],
                ..o.clone()
            })
            .collect();
        rows.links = (input.links.iter())
            .filter(|l| (late(of_face(l.a)) || late(of_face(l.b))) == wanted)
            .map(|l| Link { a: faces[l.a as usize], b: faces[l.b as usize], ..*l })
            .collect();
        rows
    };
    let (first, later) = (rows(false), rows(true));
    drop(input);
    println!("{} accounts first, {} later", first.accounts.len(), later.accounts.len());
    let start = Instant::now();
    let (mut detector, found) = Incremental::new(first, &ClustersConfig::default())?;
    println!("detected in {:.1} s: {} clusters", start.elapsed().as_secs_f64(), found.tables.clusters.len());
    drop(found);
    let start = Instant::now();
    let updated = detector.update(Changes { rows: later, photos: vec![], deleted: vec![] })?;
    println!(
        "updated in {:.2} s: {} clusters, {} members",
        start.elapsed().as_secs_f64(),
        updated.tables.clusters.len(),
        updated.tables.members.len()
    );
    let start = Instant::now();
    let again = detector.recomputed();
    println!(
        "recomputed in {:.1} s; the tables are {}",
        start.elapsed().as_secs_f64(),
        if again.tables == updated.tables { "equal" } else { "DIFFERENT" }
    );
    Ok(())
}
