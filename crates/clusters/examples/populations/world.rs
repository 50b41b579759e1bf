//! A population as the detector reads it.

use std::collections::HashMap;

use clusters::{Account, Face, Input, Link, Ownership, PackCalibration, Photo};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use records::{Pdq, PhotoKey, PhotoRelation, ProfileFacts, Timestamp};
use simulate::faces::{Space, embedding, photo_pdq, photo_sha256};
use simulate::{Truth, population};

use crate::Error;

/// Narrowest face that makes links, as in the configuration.
const NARROWEST: f32 = 45.0;
/// Links of one face to earlier ones, as the pipeline keeps them.
const MOST_LINKS: usize = 512;

/// What the source tells.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    hashes: bool,
    pdq: bool,
    profiles: bool,
    created: bool,
    times: bool,
}

impl Default for Known {
    fn default() -> Self {
        Self { hashes: true, pdq: true, profiles: true, created: true, times: true }
    }
}

impl Known {
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut known = Self::default();
        for word in text.split(',').filter(|w| !w.is_empty()) {
            match word {
                "nohash" => (known.hashes, known.pdq) = (false, false),
                "nopdq" => known.pdq = false,
                "noprofile" => known.profiles = false,
                "nocreated" => known.created = false,
                "notime" => (known.times, known.created) = (false, false),
                "all" => {}
                other => return Err(format!("--known does not know {other}").into()),
            }
        }
        Ok(known)
    }
}

pub struct World {
    pub input: Input,
    pub truth: Truth,
}

/// One face of a distinct picture, with what decides whom it resembles.
struct Seen {
    family: u64,
    first: i64,
    values: Vec<f32>,
}

impl World {
    pub fn new(
        accounts: &[population::Account],
        space: Space,
        known: Known,
        all_pairs: bool,
    ) -> Result<Self, Error> {
        let end = accounts.iter().flat_map(|a| &a.photos).map(|p| p.observed_at).max();
        let end = end.unwrap_or(Timestamp::EPOCH);
        let pack = PackCalibration { link_floor: 0.35, same_photo_cosine: 0.9, tail: vec![] };
        let mut input = Input::empty(end, pack);
        let mut picture_at: HashMap<u64, u32> = HashMap::new();
        let mut pictures: Vec<(&population::Picture, i64)> = Vec::new();
        for (at, account) in accounts.iter().enumerate() {
            let moment = |t: Timestamp| if known.times { t } else { end };
            let mut facts = if known.profiles { account.facts.clone() } else { ProfileFacts::default() };
            facts.created_at = account.facts.created_at.filter(|_| known.created);
            let seen = || account.photos.iter().map(|p| moment(p.observed_at));
            input.accounts.push(Account {
                id: account.id.clone(),
                facts,
                first_seen: seen().min().unwrap_or(end),
                last_seen: seen().max().unwrap_or(end),
            });
            for photo in &account.photos {
                let next = pictures.len() as u32;
                let number = if known.hashes {
                    *picture_at.entry(photo.picture.identity()).or_insert(next)
                } else {
                    next
                };
                let time = moment(photo.observed_at);
                if number == next {
                    pictures.push((&photo.picture, time.as_micros()));
                    let key = if known.hashes {
                        PhotoKey::from_sha256(photo_sha256(&photo.picture))
                    } else {
                        PhotoKey::unhashed(&account.id, &photo.id)
                    };
                    input.photos.push(Photo { key, hashed: known.hashes });
                }
                let first = &mut pictures[number as usize].1;
                *first = (*first).min(time.as_micros());
                input.ownerships.push(Ownership {
                    account: at as u32,
                    photo: number,
                    photo_id: photo.id.clone(),
                    observed_at: time,
                });
            }
        }
        let seen: Vec<Vec<Seen>> = pictures
            .par_iter()
            .map(|(picture, first)| {
                let faces = picture.original.faces.iter();
                faces
                    .map(|face| Seen {
                        family: face.person.family.map_or(face.person.seed, |f| f.0),
                        first: *first,
                        values: embedding(space, picture, face),
                    })
                    .collect()
            })
            .collect();
        let pdq: Vec<Option<Pdq>> =
            pictures.par_iter().map(|(p, _)| known.pdq.then(|| photo_pdq(p))).collect();
        let mut faces: Vec<(u32, Seen)> = Vec::new();
        for (photo, (list, (picture, _))) in seen.into_iter().zip(&pictures).enumerate() {
            for (at, (seen, shown)) in list.into_iter().zip(&picture.original.faces).enumerate() {
                let width_px = picture.face_width(shown);
                input.faces.push(Face {
                    photo: photo as u32,
                    tag: at as u64,
                    linkable: width_px >= NARROWEST,
                    main: true,
                    width_px,
                    eye_alignment: None,
                });
                faces.push((input.faces.len() as u32 - 1, seen));
            }
        }
        faces.retain(|(at, _)| input.faces[*at as usize].linkable);
        input.pack.tail = PackCalibration::tail_of(&impostors(&faces));
        let tau = input.pack.tau(faces.len() as u64, 0.01);
        input.pack.link_floor = (tau - 0.1).max(0.35);
        let pairs = if all_pairs {
            every_pair(&faces, input.pack.link_floor)
        } else {
            let mut pairs = related(&mut faces, input.pack.link_floor);
            pairs.extend(by_chance(&faces, &input.pack, tau));
            pairs
        };
        input.links = pairs
            .into_iter()
            .map(|(a, b, cosine)| {
                let photo = |face: u32| input.faces[face as usize].photo;
                let (x, y) = (&pdq[photo(a) as usize], &pdq[photo(b) as usize]);
                let distance =
                    x.as_ref().zip(y.as_ref()).map(|(x, y)| x.distance(y).min(x.mirrored().distance(y)));
                let relation = PhotoRelation { pdq_distance: distance, crop_distance: None, mirrored: false };
                Link { a, b, cosine, relation }
            })
            .collect();
        Ok(Self { input, truth: Truth::of(accounts) })
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    // Eight sums, so that the compiler may use vector registers.
    let mut sums = [0.0f32; 8];
    for (x, y) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum()
}

/// Cosines of random pairs, as the pipeline samples them.
fn impostors(faces: &[(u32, Seen)]) -> Vec<f32> {
    let step = faces.len().div_ceil(2000).max(1);
    let sample: Vec<&Seen> = faces.iter().step_by(step).map(|f| &f.1).collect();
    (0..sample.len())
        .into_par_iter()
        .flat_map_iter(|at| {
            let sample = &sample;
            sample[at + 1..].iter().map(move |other| cosine(&sample[at].values, &other.values))
        })
        .collect()
}

type Pair = (u32, u32, f32);

fn nearest(mut found: Vec<Pair>) -> Vec<Pair> {
    found.sort_by(|x, y| y.2.total_cmp(&x.2));
    found.truncate(MOST_LINKS);
    found
}

/// Pairs of faces of one person or family.
fn related(faces: &mut [(u32, Seen)], floor: f32) -> Vec<Pair> {
    faces.sort_by_key(|(at, seen)| (seen.family, seen.first, *at));
    let groups: Vec<&[(u32, Seen)]> = faces.chunk_by(|x, y| x.1.family == y.1.family).collect();
    groups
        .into_par_iter()
        .flat_map_iter(|group| {
            (0..group.len()).flat_map(move |at| {
                let (face, seen) = &group[at];
                let near = group[..at].iter().filter_map(|(other, earlier)| {
                    let cosine = cosine(&seen.values, &earlier.values);
                    (cosine >= floor).then_some((*other, *face, cosine))
                });
                nearest(near.collect())
            })
        })
        .collect()
}

/// Every pair, compared.
fn every_pair(faces: &[(u32, Seen)], floor: f32) -> Vec<Pair> {
    const BLOCK: usize = 256;
    let mut pairs: Vec<Pair> = (0..faces.len().div_ceil(BLOCK))
        .into_par_iter()
        .flat_map_iter(|block| {
            let mut found = Vec::new();
            let mine = block * BLOCK..((block + 1) * BLOCK).min(faces.len());
            for column in 0..=block {
                let theirs = column * BLOCK..((column + 1) * BLOCK).min(faces.len());
                for a in mine.clone() {
                    for b in theirs.clone().take_while(|b| *b < a) {
                        let value = cosine(&faces[a].1.values, &faces[b].1.values);
                        if value >= floor {
                            found.push((faces[b].0, faces[a].0, value));
                        }
                    }
                }
            }
            found
        })
        .collect();
    let first: HashMap<u32, i64> = faces.iter().map(|(at, seen)| (*at, seen.first)).collect();
    for pair in &mut pairs {
        if (first[&pair.0], pair.0) > (first[&pair.1], pair.1) {
            (pair.0, pair.1) = (pair.1, pair.0);
        }
    }
    pairs.par_sort_unstable_by_key(|p| p.1);
    pairs.chunk_by(|x, y| x.1 == y.1).flat_map(|group| nearest(group.to_vec())).collect()
}

/// Strangers that look alike, as many as the extrapolated tail leaves above tau.
fn by_chance(faces: &[(u32, Seen)], pack: &PackCalibration, tau: f32) -> Vec<Pair> {
    let mut rng = ChaCha8Rng::seed_from_u64(faces.len() as u64);
    let slope = match pack.tail.as_slice() {
        [.., a, b] => (a.false_match_rate / b.false_match_rate).ln() / f64::from(b.cosine - a.cosine),
        _ => 30.0,
    };
    (0..faces.len() / 200)
        .map(|_| {
            let (a, b) = (rng.random_range(0..faces.len()), rng.random_range(0..faces.len()));
            let above = -(1.0 - rng.random::<f64>()).ln() / slope;
            (faces[a].0, faces[b].0, (f64::from(tau) + above).min(0.95) as f32)
        })
        .collect()
}
