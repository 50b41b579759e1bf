//! Events to feed a store with, and an audit of everything in it.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};

use records::{
    AccountId, Batch, CheckpointDelta, Cosine, EmbeddedEvent, EmbeddedPhoto, Embedding, Face, FaceLink,
    FaceOrdinal, Origin, PackId, PartitionId, PhotoContent, PhotoFacts, PhotoId, PhotoKey, PhotoRelation,
    Position, ProfileFacts, Quality, Span, Staged, StagedBody, Timestamp,
};
use store::{Committed, Committer, LogEntry, Planned, Reader, Store, StoreConfig};

pub const DIMENSION: usize = 16;

pub fn open(path: &std::path::Path) -> Store {
    Store::open(&config(path)).unwrap()
}

pub fn config(path: &std::path::Path) -> StoreConfig {
    StoreConfig { cache_mib: 16, journal_mib: 64, ..StoreConfig::at(path) }
}

pub fn account(name: &str) -> AccountId {
    AccountId::new(name).unwrap()
}

pub fn photo_id(name: &str) -> PhotoId {
    PhotoId::new(name).unwrap()
}

pub fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap()
}

pub fn pack() -> PackId {
    PackId::new("pack").unwrap()
}

/// A vector that only this seed gives.
pub fn embedding(seed: u64) -> Embedding {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let values: Vec<f32> = (0..DIMENSION)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Embedding::normalised(&values).unwrap()
}

pub fn face(seed: u64) -> Face {
    let quality = Quality {
        width_px: 50.0 + (seed % 50) as f32,
        sharpness: 0.5,
        turned: 0.1,
        score: 0.9,
        figure: 0.8,
        linkable: true,
    };
    Face {
        place: None,
        quality,
        main: true,
        eye_alignment: None,
        pdq: None,
        pdq_mirrored: None,
        embedding: embedding(seed),
    }
}

pub fn content(faces: impl IntoIterator<Item = u64>, hashed: bool, partial: bool) -> PhotoContent {
    let facts = PhotoFacts { size: (0, 0), hashed, pdq: None, pdq_mirrored: None, pack: pack() };
    PhotoContent { facts, faces: faces.into_iter().map(face).collect(), partial, thumbnail: None }
}

pub fn photo(id: &str, key: PhotoKey, content: Option<PhotoContent>) -> EmbeddedPhoto {
    EmbeddedPhoto { photo_id: photo_id(id), key, content }
}

/// An examined picture with these faces; its key follows from its name.
pub fn picture(id: &str, name: &str, faces: &[u64]) -> EmbeddedPhoto {
    photo(id, PhotoKey::of_bytes(name.as_bytes()), Some(content(faces.iter().copied(), true, false)))
}

pub fn facts(name: &str) -> ProfileFacts {
    ProfileFacts { username: Some(name.to_owned()), ..ProfileFacts::default() }
}

pub fn event(name: &str, time: i64, hash: u8, body: StagedBody<EmbeddedPhoto>) -> EmbeddedEvent {
    Staged {
        account: account(name),
        observed_at: at(time),
        content_hash: [hash; 32],
        body,
        origin: Origin::row(PartitionId::file("f"), Position(0)),
    }
}

pub fn replace(name: &str, time: i64, photos: Vec<EmbeddedPhoto>) -> EmbeddedEvent {
    event(name, time, 1, StagedBody::Replace { photos, facts: facts(&format!("{name}@{time}")) })
}

pub fn delete(name: &str, time: i64) -> EmbeddedEvent {
    event(name, time, 1, StagedBody::Deleted)
}

/// A batch that takes its items from the partition, one position each.
pub fn batch(items: Vec<EmbeddedEvent>, from: u64) -> Batch<EmbeddedEvent> {
    let mut delta = CheckpointDelta::default();
    let span = Span { from: Position(from), to: Position(from + items.len() as u64) };
    delta.extend(PartitionId::file("f"), span).unwrap();
    Batch::new(items, delta)
}

/// Commits items that belong to no position, with links between all new faces of a batch, as the index would find them.
pub fn commit(committer: &mut Committer, items: Vec<EmbeddedEvent>) -> Committed {
    let plan = match committer.plan(Batch::new(items, CheckpointDelta::default())).unwrap() {
        Planned::Ready(plan) => *plan,
        Planned::Missing { photos, .. } => panic!("missing {photos:?}"),
    };
    let faces = plan.new_faces();
    let pairs = faces.iter().enumerate().flat_map(|(i, a)| faces[i + 1..].iter().map(move |b| (a, b)));
    let links: Vec<_> = pairs
        .filter_map(|(a, b)| {
            let apart = a.key.photo != b.key.photo;
            let cosine = a.embedding.cosine(&b.embedding)?;
            apart.then(|| FaceLink::new(a.ordinal, b.ordinal, cosine, PhotoRelation::default())).flatten()
        })
        .collect();
    committer.commit(plan, &links).unwrap()
}

/// Checks every relation between the parts of the state, and every counter, from the rows themselves.
pub fn audit(reader: &Reader) {
    let counts = reader.counts();
    let live = reader.accounts().filter(|row| !row.as_ref().unwrap().1.deleted).count() as u64;
    assert_eq!(counts.accounts, live, "accounts");
    let mut owners: BTreeMap<PhotoKey, BTreeSet<(AccountId, PhotoId)>> = BTreeMap::new();
    let mut ownerships = 0;
    for ownership in reader.ownerships().map(Result::unwrap) {
        ownerships += 1;
        assert!(ownership.first_observed <= ownership.last_observed);
        assert!(owners.entry(ownership.photo).or_default().insert((ownership.account, ownership.photo_id)));
    }
    assert_eq!(counts.ownerships, ownerships, "ownerships");
    let (mut photos, mut orphans) = (0, 0);
    for (key, photo) in reader.photos().map(Result::unwrap) {
        photos += 1;
        orphans += u64::from(photo.orphaned_at_commit.is_some());
        let expected = owners.remove(&key).unwrap_or_default();
        assert_eq!(reader.owners_of(&key).map(Result::unwrap).collect::<BTreeSet<_>>(), expected);
        assert_eq!(photo.owners, expected.len() as u64);
        assert_eq!(photo.orphaned_at_commit.is_some(), expected.is_empty());
    }
    assert!(owners.is_empty(), "owned pictures that are not there: {owners:?}");
    assert_eq!((counts.photos, counts.orphans), (photos, orphans), "photos");
    let mut ordinals = BTreeMap::new();
    for (key, face) in reader.faces().map(Result::unwrap) {
        assert!(reader.photo(&key.photo).unwrap().is_some(), "a face without a picture");
        let (numbered, photo) =
            (reader.numbered(face.ordinal).unwrap().unwrap(), reader.photo(&key.photo).unwrap().unwrap());
        assert_eq!(numbered.key, key);
        assert_eq!((numbered.linkable, numbered.pdq), (face.quality.linkable, (face.pdq, face.pdq_mirrored)));
        assert_eq!(numbered.photo_pdq, (photo.facts.pdq, photo.facts.pdq_mirrored));
        let vector = reader.vector(key).unwrap().expect("a face without a vector");
        let embedding = Embedding::normalised(&vector).unwrap();
        assert!((vector.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 0.01, "{embedding:?}");
        assert!(ordinals.insert(face.ordinal, key).is_none(), "an ordinal twice");
    }
    assert_eq!(counts.faces, ordinals.len() as u64, "faces");
    let by_ordinal: BTreeMap<_, _> = reader.faces_from(FaceOrdinal(0)).map(Result::unwrap).collect();
    assert_eq!(by_ordinal, ordinals);
    assert!(ordinals.keys().all(|ordinal| *ordinal < reader.next_ordinal()));
    let mut links = 0;
    for link in reader.links().unwrap().map(Result::unwrap) {
        links += 1;
        for face in [link.newer, link.older] {
            assert!(reader.face_at(face).unwrap().is_some(), "a link without a face");
            assert!(reader.links_of(face).unwrap().contains(&link));
        }
    }
    assert_eq!(counts.links, links, "links");
    let both: usize = ordinals.keys().map(|face| reader.links_of(*face).unwrap().len()).sum();
    assert_eq!(both as u64, 2 * links, "links in both directions");
    let letters = reader.dead_letters(0).map(Result::unwrap).count() as u64;
    assert_eq!(counts.dead_letters, letters, "dead letters");
    assert_eq!(reader.dead_letters_by_reason().values().sum::<u64>(), letters);
    let range = reader.log_range();
    let mut followed: BTreeSet<_> = BTreeSet::new();
    let mut next = range.start;
    for (sequence, entry) in reader.log_since(range.start).unwrap().map(Result::unwrap) {
        assert_eq!(sequence, next, "the log has a gap");
        next += 1;
        match entry {
            LogEntry::Added { ordinal } => assert!(followed.insert(ordinal)),
            LogEntry::Removed { ordinal } => assert!(followed.remove(&ordinal) || range.start > 0),
        }
    }
    assert_eq!(next, range.end);
    if range.start == 0 {
        assert!(followed.iter().eq(ordinals.keys()), "the log does not lead to the faces that are there");
    }
}

pub fn link(a: u64, b: u64) -> FaceLink {
    FaceLink::new(FaceOrdinal(a), FaceOrdinal(b), Cosine::new(0.5), PhotoRelation::default()).unwrap()
}
