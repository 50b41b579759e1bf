//! The stage: every photo ends in its event or in the dead letters.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod common;

use common::toys::{self, Shape, ToyEmbedder};
use embed::{EmbedConfig, Embedder, StoredPhotos, embed_events};
use records::{
    AccountId, Batch, CheckpointDelta, DeadLetterReason, Embedding, FetchedEvent, FetchedPhoto, GivenFace,
    Origin, PackId, PartitionId, PhotoId, PhotoKey, Picture, Position, ProfileFacts, Span, Stage, StagedBody,
    Timestamp,
};

fn photo(id: &str, key: &[u8], picture: Picture) -> FetchedPhoto {
    FetchedPhoto {
        photo_id: PhotoId::new(id).unwrap(),
        key: PhotoKey::of_bytes(key),
        file_bytes: 10,
        picture,
    }
}

fn event(account: &str, body: StagedBody<FetchedPhoto>) -> FetchedEvent {
    FetchedEvent {
        account: AccountId::new(account).unwrap(),
        observed_at: Timestamp::EPOCH,
        content_hash: [0; 32],
        body,
        origin: Origin::row(PartitionId::file("f"), Position(3)),
    }
}

fn given(values: &[f32], pack: Option<&str>) -> GivenFace {
    GivenFace {
        photo_id: PhotoId::new("given").unwrap(),
        photo_sha256: None,
        photo_pdq: None,
        face_width_px: None,
        embedding: Some(Embedding::normalised(values).unwrap()),
        pack: pack.map(|pack| PackId::new(pack).unwrap()),
    }
}

/// Toy networks, with small thumbnails.
fn embedder() -> Option<Embedder> {
    let runtime = common::runtime()?;
    let folder = tempfile::tempdir().unwrap();
    let shape = Shape { any_batch: true, axis: true, mixes: false };
    let pack = toys::pack(folder.path(), shape, ToyEmbedder::Plain, |_| {});
    let config = EmbedConfig { thumbnails: true, thumbnail_px: 32, ..EmbedConfig::default() };
    Some(Embedder::new(&runtime, &pack, config).unwrap())
}

/// A state that has every picture, or none.
struct Stored(bool);

impl StoredPhotos for Stored {
    fn stores(&self, _: &PhotoKey) -> bool {
        self.0
    }
}

#[test]
fn a_picture_of_several_batches_is_embedded_once() {
    let Some(embedder) = embedder() else { return };
    let show = |stored: bool| {
        let photos = vec![photo("1", b"x", Picture::Pixels(toys::plain(64, [255, 250, 240])))];
        let body = StagedBody::Replace { photos, facts: ProfileFacts::default() };
        let batch = Batch::new(vec![event("a", body)], CheckpointDelta::default());
        let (done, uncommitted) = embed_events(&embedder, batch, &Stored(stored));
        // Where the thumbnail lies tells whether it is another one.
        let content = done.items[0].photos()[0].content.clone();
        (content.map(|content| content.thumbnail.unwrap().as_ptr()), uncommitted)
    };
    let (first, uncommitted) = show(false);
    let (second, also) = show(false);
    assert!(first.is_some() && first == second, "taken from the first batch");
    drop(uncommitted);
    assert_eq!(show(true).0, second, "the second still holds it, and its content was promised");
    drop(also);
    assert_eq!(show(true).0, None, "the state has it");
    let (again, _uncommitted) = show(false);
    assert!(again.is_some(), "neither has it");
    // Of batches at once one embeds it and the others wait.
    let at_once: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| show(false).0.map(|at| at as usize))).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(at_once, [again.map(|at| at as usize); 4]);
}

#[test]
fn every_photo_ends_in_its_event_or_in_the_dead_letters() {
    let Some(embedder) = embedder() else { return };
    let bright = || Picture::Pixels(toys::plain(64, [255, 250, 240]));
    let nothing = || Picture::Pixels(toys::plain(64, [200; 3]));
    let replace = |photos| StagedBody::Replace { photos, facts: ProfileFacts::default() };
    let mut delta = CheckpointDelta::default();
    delta.extend(PartitionId::file("f"), Span { from: Position(0), to: Position(9) }).unwrap();
    let rows =
        vec![given(&[1.0, 2.0, 3.0], None), given(&[1.0, 2.0], None), given(&[1.0, 2.0, 2.0], Some("other"))];
    let only_wrong = vec![given(&[1.0, 2.0], None)];
    let mut batch = Batch::new(
        vec![
            event("a", replace(vec![photo("1", b"x", bright()), photo("2", b"y", nothing())])),
            event("b", replace(vec![photo("3", b"x", bright()), photo("4", b"z", Picture::Known)])),
            event("c", StagedBody::Deleted),
            event(
                "d",
                StagedBody::Add { photos: vec![photo("given", b"g", Picture::Given(rows))], facts: None },
            ),
            event(
                "e",
                StagedBody::Add { photos: vec![photo("w", b"w", Picture::Given(only_wrong))], facts: None },
            ),
        ],
        delta.clone(),
    );
    let earlier = batch.items[0].origin.dead_letter(Stage::Fetch, DeadLetterReason::NotFound, "gone");
    batch.dead.push(earlier.clone());

    let (done, _) = embed_events(&embedder, batch, &Stored(false));
    assert_eq!(done.delta, delta);
    let accounts: Vec<&str> = done.items.iter().map(|event| event.account.as_str()).collect();
    assert_eq!(accounts, ["a", "b", "c", "d", "e"]);
    let photos: Vec<Vec<&str>> = done
        .items
        .iter()
        .map(|event| event.photos().iter().map(|photo| photo.photo_id.as_str()).collect())
        .collect();
    assert_eq!(photos, [vec!["1"], vec!["3", "4"], vec![], vec!["given"], vec![]]);

    let first = done.items[0].photos()[0].content.as_ref().unwrap();
    assert_eq!(done.items[1].photos()[0].content.as_ref(), Some(first), "one picture, one content");
    assert_eq!((first.facts.size, first.faces.len(), first.partial), ((64, 64), 2, false));
    assert!(first.facts.hashed && first.faces[0].eye_alignment.is_some());
    assert!(first.thumbnail.as_ref().is_some_and(|jpeg| jpeg.starts_with(&[0xff, 0xd8])));
    assert_eq!(done.items[1].photos()[1].content, None);
    let rows = done.items[3].photos()[0].content.as_ref().unwrap();
    assert!(rows.partial && rows.faces.len() == 1 && rows.faces[0].quality.linkable);

    let letters: Vec<(&str, DeadLetterReason)> = done
        .dead
        .iter()
        .skip(1)
        .map(|letter| (letter.account.as_ref().unwrap().as_str(), letter.reason))
        .collect();
    assert_eq!(done.dead[0], earlier);
    assert_eq!(
        letters,
        [
            ("a", DeadLetterReason::InferenceFailed),
            ("d", DeadLetterReason::WrongDimension),
            ("d", DeadLetterReason::WrongPack),
            ("e", DeadLetterReason::WrongDimension),
        ]
    );
    assert!(done.dead.iter().skip(1).all(|letter| letter.stage == Stage::Embed && letter.photo.is_some()));
}
