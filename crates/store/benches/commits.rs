//! How many batches of 256 events a second the store commits durably, and how much it writes for that.
//! `cargo bench -p store --bench commits -- [batches]`

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, missing_docs)]

use std::time::{Duration, Instant};

use records::{
    AccountId, Batch, CheckpointDelta, Embedding, Face, FaceLink, Origin, PackId, PartitionId, PhotoContent,
    PhotoFacts, PhotoId, PhotoKey, PhotoRelation, Position, ProfileFacts, Quality, Span, Staged, StagedBody,
    Timestamp,
};
use store::{Planned, Store, StoreConfig};

const EVENTS: u64 = 256;
const DIMENSION: usize = 512;

fn embedding(seed: u64) -> Embedding {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    Embedding::normalised(&(0..DIMENSION).map(|_| next()).collect::<Vec<_>>()).unwrap()
}

/// One event with one new picture that shows one face.
fn event(n: u64) -> records::EmbeddedEvent {
    let quality =
        Quality { width_px: 90.0, sharpness: 0.5, turned: 0.1, score: 0.9, figure: 0.8, linkable: true };
    let face = Face {
        place: None,
        quality,
        main: true,
        eye_alignment: None,
        pdq: None,
        pdq_mirrored: None,
        embedding: embedding(n + 1),
    };
    let pack = PackId::new("pack").unwrap();
    let facts = PhotoFacts { size: (640, 640), hashed: true, pdq: None, pdq_mirrored: None, pack };
    let content = PhotoContent { facts, faces: vec![face], partial: false, thumbnail: None };
    let photo = records::EmbeddedPhoto {
        photo_id: PhotoId::new(format!("photo-{n}")).unwrap(),
        key: PhotoKey::of_bytes(&n.to_le_bytes()),
        content: Some(content),
    };
    Staged {
        account: AccountId::new(format!("account-{}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).unwrap(),
        observed_at: Timestamp::from_micros(n as i64).unwrap(),
        content_hash: [1; 32],
        body: StagedBody::Replace { photos: vec![photo], facts: ProfileFacts::default() },
        origin: Origin::row(PartitionId::file("f"), Position(n)),
    }
}

/// Bytes this process has sent to the disk.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or_default()
}

fn main() {
    let batches = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(600u64);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&StoreConfig::at(folder.path())).unwrap();
    let mut committer = store.committer().unwrap();
    let (mut planning, mut committing) = (Duration::ZERO, Vec::new());
    let before = written();
    for n in 0..batches {
        let mut delta = CheckpointDelta::default();
        let span = Span { from: Position(n * EVENTS), to: Position((n + 1) * EVENTS) };
        delta.extend(PartitionId::file("f"), span).unwrap();
        let batch = Batch::new((n * EVENTS..(n + 1) * EVENTS).map(event).collect(), delta);
        let started = Instant::now();
        let Planned::Ready(plan) = committer.plan(batch).unwrap() else { panic!() };
        planning += started.elapsed();
        let faces = plan.new_faces();
        let links: Vec<_> = faces
            .windows(2)
            .filter_map(|pair| {
                let cosine = pair[0].embedding.cosine(&pair[1].embedding)?;
                FaceLink::new(pair[0].ordinal, pair[1].ordinal, cosine, PhotoRelation::default())
            })
            .collect();
        let started = Instant::now();
        committer.commit(*plan, &links).unwrap();
        committing.push(started.elapsed());
    }
    let total: Duration = committing.iter().sum();
    committing.sort();
    let faces = batches * EVENTS;
    println!(
        "{batches} batches of {EVENTS}: {:.0} commits/s ({:.0} with planning), p50 {:?}, p99 {:?}, max {:?}",
        batches as f64 / total.as_secs_f64(),
        batches as f64 / (total + planning).as_secs_f64(),
        committing[committing.len() / 2],
        committing[committing.len() * 99 / 100],
        committing[committing.len() - 1],
    );
    let space = store.disk_space().unwrap();
    let sent = written() - before;
    println!("{} bytes a face on disk, {} written", space / faces, sent / faces);
    let reader = store.reader();
    let started = Instant::now();
    let mut random = 1u64;
    let reads = 20_000;
    for _ in 0..reads {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        assert!(reader.vector_of(records::FaceOrdinal((random >> 20) % faces)).unwrap().is_some());
    }
    println!("{:.0} vectors/s read at random", f64::from(reads) / started.elapsed().as_secs_f64());
}
