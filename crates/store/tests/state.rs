//! What the state does with pictures, links, logs and dead letters.

// Clippy takes helper functions of integration tests for library code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod common;

use bytes::Bytes;
use common::*;
use records::{
    Batch, CheckpointDelta, DeadLetterReason, Embedding, FaceKey, FaceOrdinal, Origin, PackId, PartitionId,
    PhotoKey, Position, Stage, StagedBody,
};
use store::{LogEntry, Planned, Remedy, StoreError};

#[test]
fn a_picture_is_stored_once_however_many_own_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut committer = store.committer().unwrap();
    let star =
        (0..50).map(|n| replace(&format!("a{n:02}"), 1, vec![picture("p", "shared", &[1, 2])])).collect();
    let done = commit(&mut committer, star);
    assert_eq!((done.tally.applied, done.photos, done.faces, done.links), (50, 1, 2, 0));
    let key = PhotoKey::of_bytes(b"shared");
    let more = vec![replace("late", 2, vec![photo("p", key, None)])];
    assert_eq!(commit(&mut committer, more).faces, 0);
    let reader = store.reader();
    assert_eq!(reader.photo(&key).unwrap().unwrap().owners, 51);
    assert_eq!(reader.owners_of(&key).count(), 51);
    assert_eq!(reader.greatest_observed_at(), Some(at(2)));
    audit(&reader);
}

#[test]
fn vectors_are_read_back_as_fp16() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut committer = store.committer().unwrap();
    commit(&mut committer, vec![replace("a", 1, vec![picture("p", "x", &[7]), picture("q", "y", &[8])])]);
    let reader = store.reader();
    assert_eq!((reader.dimension(), reader.pack().cloned()), (Some(DIMENSION as u32), Some(pack())));
    for (name, seed) in [("x", 7), ("y", 8)] {
        let key = FaceKey::new(PhotoKey::of_bytes(name.as_bytes()), &embedding(seed));
        let vector = reader.vector(key).unwrap().unwrap();
        for (stored, given) in vector.iter().zip(embedding(seed).as_slice()) {
            assert!((stored - given).abs() <= given.abs() / 1024.0 + 1e-7);
        }
        // The key was made from the fp16 values, so the stored vector gives the same one.
        let ordinal = reader.face(key).unwrap().unwrap().ordinal;
        let many = reader.vectors(&[FaceOrdinal(99), ordinal]).unwrap();
        assert_eq!(many, [None, Some(vector)]);
    }
}

#[test]
fn orphans_stay_until_swept_and_can_be_reclaimed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut committer = store.committer().unwrap();
    let photos = || vec![picture("p", "x", &[1]), picture("q", "y", &[2])];
    let first = commit(
        &mut committer,
        vec![replace("a", 1, photos()), replace("b", 1, vec![picture("r", "z", &[3])])],
    );
    assert_eq!(first.links, 3);
    let emptied = commit(&mut committer, vec![replace("a", 2, vec![])]);
    assert_eq!((emptied.orphaned, emptied.log.len()), (2, 0));
    let x = PhotoKey::of_bytes(b"x");
    assert!(store.reader().knows_photo(&x).unwrap());
    // A batch that was in flight takes an orphan for known.
    commit(&mut committer, vec![replace("c", 2, vec![photo("p", x, None)])]);
    assert_eq!(committer.sweep_orphans(emptied.commit, 10).unwrap().photos, 0, "not old enough");
    let before = store.reader();
    let swept = committer.sweep_orphans(emptied.commit + 1, 10).unwrap();
    assert_eq!((swept.photos, swept.faces, swept.links, swept.more), (1, 1, 2, false));
    assert_eq!(swept.log, [(3, LogEntry::Removed { ordinal: FaceOrdinal(1) })]);
    audit(&store.reader());
    assert!(before.knows_photo(&PhotoKey::of_bytes(b"y")).unwrap(), "an older reader sees what it saw");
    // Now a batch in flight that takes it for known is told.
    let late = vec![replace("d", 3, vec![photo("p", x, None), photo("s", PhotoKey::of_bytes(b"y"), None)])];
    let Planned::Missing { batch, photos } =
        committer.plan(Batch::new(late, CheckpointDelta::default())).unwrap()
    else {
        panic!("a swept picture was taken for known");
    };
    assert_eq!(batch.items.len(), 1);
    assert_eq!((photos.len(), photos[0].photo_id.as_str(), photos[0].account.as_str()), (1, "s", "d"));
    // An ordinal is never reused.
    let again = commit(&mut committer, vec![replace("d", 3, vec![picture("s", "y", &[2])])]);
    assert_eq!(again.log, [(4, LogEntry::Added { ordinal: FaceOrdinal(3) })]);
    audit(&store.reader());
}

#[test]
fn an_examined_picture_takes_the_place_of_given_faces() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut committer = store.committer().unwrap();
    let key = PhotoKey::of_bytes(b"x");
    let given = |faces: &[u64], time| {
        let photos = vec![photo("p", key, Some(content(faces.iter().copied(), true, true)))];
        event("a", time, 1, StagedBody::Add { photos, facts: None })
    };
    commit(&mut committer, vec![given(&[1], 1)]);
    commit(&mut committer, vec![given(&[2], 1), given(&[1], 2)]);
    // One that is known and given twice more in one batch, in another width, keeps its ordinal.
    let mut wide = given(&[1], 3);
    if let StagedBody::Add { photos, .. } = &mut wide.body {
        photos[0].content.as_mut().unwrap().faces[0].quality.width_px = 400.0;
    }
    commit(&mut committer, vec![given(&[1], 4), wide]);
    audit(&store.reader());
    let faces: Vec<_> = store.reader().faces_of(key).map(|face| face.unwrap().1).collect();
    assert_eq!(faces.len(), 2);
    let main = faces.iter().find(|face| face.main).unwrap();
    assert_eq!((main.quality.width_px, main.given_at, main.ordinal), (400.0, Some(at(4)), FaceOrdinal(0)));
    assert!(!store.reader().knows_photo(&key).unwrap());
    let done = commit(&mut committer, vec![replace("b", 1, vec![picture("p", "x", &[2, 3])])]);
    assert_eq!((done.faces, done.faces_removed), (1, 1));
    commit(&mut committer, vec![given(&[9], 3)]);
    let reader = store.reader();
    let faces: Vec<_> = reader.faces_of(key).map(|face| face.unwrap().0).collect();
    let mut expected = [2, 3].map(|seed| FaceKey::new(key, &embedding(seed)));
    expected.sort();
    assert_eq!(faces, expected);
    assert!(reader.knows_photo(&key).unwrap());
    audit(&reader);
}

#[test]
fn links_to_faces_that_are_gone_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut committer = store.committer().unwrap();
    commit(&mut committer, vec![replace("a", 1, vec![picture("p", "x", &[1])])]);
    let items = vec![replace("b", 1, vec![picture("p", "y", &[2])])];
    let Planned::Ready(plan) = committer.plan(Batch::new(items, CheckpointDelta::default())).unwrap() else {
        panic!()
    };
    let done = committer.commit(*plan, &[link(0, 1), link(1, 3), link(1, 0)]).unwrap();
    assert_eq!((done.links, done.links_dropped), (1, 1));
    assert_eq!(store.reader().links_of(FaceOrdinal(1)).unwrap(), [link(0, 1)]);
    audit(&store.reader());
    // A face that goes in the same commit as another one comes is no end of a link.
    let key = PhotoKey::of_bytes(b"given");
    let given = vec![photo("p", key, Some(content([3], true, true)))];
    commit(&mut committer, vec![event("c", 1, 1, StagedBody::Add { photos: given, facts: None })]);
    let items = vec![replace("d", 1, vec![picture("p", "given", &[4])])];
    let Planned::Ready(plan) = committer.plan(Batch::new(items, CheckpointDelta::default())).unwrap() else {
        panic!()
    };
    assert_eq!(plan.removed_faces().map(|(_, ordinal)| ordinal).collect::<Vec<_>>(), [FaceOrdinal(2)]);
    let done = committer.commit(*plan, &[link(3, 2), link(3, 1)]).unwrap();
    assert_eq!((done.links, done.links_dropped), (1, 1));
    audit(&store.reader());
}

#[test]
fn a_gap_or_a_stale_plan_commits_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut committer = store.committer().unwrap();
    let ready = |committer: &store::Committer, batch| match committer.plan(batch) {
        Ok(Planned::Ready(plan)) => Ok(*plan),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    let plan = ready(&committer, batch(vec![replace("a", 1, vec![])], 0)).unwrap();
    committer.commit(plan, &[]).unwrap();
    let error = ready(&committer, batch(vec![replace("b", 1, vec![])], 2)).unwrap_err();
    assert!(matches!(error, StoreError::Checkpoint(_)), "{error}");
    assert_eq!(error.remedy(), Remedy::Stop);
    let one = ready(&committer, batch(vec![replace("b", 1, vec![])], 1)).unwrap();
    let two = ready(&committer, batch(vec![replace("c", 1, vec![])], 1)).unwrap();
    committer.commit(one, &[]).unwrap();
    let error = committer.commit(two, &[]).unwrap_err();
    assert_eq!(error.remedy(), Remedy::PlanAgain, "{error}");
    let reader = store.reader();
    assert_eq!(reader.counts().accounts, 2);
    assert_eq!(reader.checkpoint().position(&PartitionId::file("f")), Some(Position(2)));
    assert!(matches!(store.committer(), Err(StoreError::CommitterTaken)));
    drop(committer);
    assert!(store.committer().is_ok());
}

#[test]
fn packs_are_never_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut committer = store.committer().unwrap();
    commit(&mut committer, vec![replace("a", 1, vec![picture("p", "x", &[1])])]);
    let mut other_pack = picture("p", "y", &[1]);
    other_pack.content.as_mut().unwrap().facts.pack = PackId::new("other").unwrap();
    let mut other_size = picture("p", "y", &[1]);
    other_size.content.as_mut().unwrap().faces[0].embedding = Embedding::normalised(&[1.0, 2.0]).unwrap();
    for (photo, sentence) in [
        (other_pack, "the state holds faces of the model pack pack, this batch has faces of other"),
        (other_size, "the state holds embeddings of 16 dimensions, this batch has one of 2"),
    ] {
        let items = vec![replace("b", 1, vec![photo])];
        let error = committer.plan(Batch::new(items, CheckpointDelta::default())).unwrap_err();
        assert!(error.to_string().starts_with(sentence), "{error}");
        assert_eq!(error.remedy(), Remedy::Stop);
    }
}

#[test]
fn the_log_can_be_trimmed_and_says_when_it_does_not_reach() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut committer = store.committer().unwrap();
    commit(&mut committer, vec![replace("a", 1, vec![picture("p", "x", &[1, 2, 3])])]);
    committer.trim_log(2).unwrap();
    assert!(matches!(committer.trim_log(4), Err(StoreError::LogAhead { asked: 4, end: 3 })));
    drop(committer);
    drop(store);
    let store = open(folder.path());
    let reader = store.reader();
    let left: Vec<_> = reader.log_since(2).unwrap().map(Result::unwrap).collect();
    assert_eq!(left, [(2, LogEntry::Added { ordinal: FaceOrdinal(2) })]);
    assert_eq!(reader.log_since(3).unwrap().count(), 0);
    assert!(matches!(reader.log_since(1).err(), Some(StoreError::LogTrimmed { asked: 1, first: 2 })));
    assert!(matches!(reader.log_since(4).err(), Some(StoreError::LogAhead { asked: 4, end: 3 })));
    audit(&reader);
}

#[test]
fn dead_letters_are_kept_published_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut committer = store.committer().unwrap();
    let letter = |n: u64, reason| {
        let origin = Origin {
            payload: Bytes::from(format!("payload {n}")),
            ..Origin::row(PartitionId::file("f"), Position(n))
        };
        origin.dead_letter(Stage::Fetch, reason, "a sentence")
    };
    let mut batch = Batch::new(vec![], CheckpointDelta::default());
    batch.dead = vec![
        letter(0, DeadLetterReason::NotFound),
        letter(1, DeadLetterReason::Timeout),
        letter(2, DeadLetterReason::Timeout),
    ];
    let dead = batch.dead.clone();
    let Planned::Ready(plan) = committer.plan(batch).unwrap() else { panic!() };
    assert_eq!(committer.commit(*plan, &[]).unwrap().dead_letters, 3);
    committer.mark_published(&[0, 2, 77]).unwrap();
    let reader = store.reader();
    let waiting = reader.unpublished_dead_letters(10).unwrap();
    assert_eq!(waiting.iter().map(|l| l.sequence).collect::<Vec<_>>(), [1]);
    assert_eq!(waiting[0].letter, dead[1]);
    assert!(reader.dead_letter(2).unwrap().unwrap().published);
    assert_eq!(reader.dead_letters_by_reason()["timeout"], 2);
    assert_eq!(committer.delete_dead_letters(&[1, 0, 1, 77]).unwrap(), 2);
    let reader = store.reader();
    assert_eq!(reader.dead_letters(0).map(|l| l.unwrap().letter).collect::<Vec<_>>(), dead[2..]);
    assert!(reader.unpublished_dead_letters(10).unwrap().is_empty());
    assert_eq!(reader.dead_letters_by_reason().len(), 1);
    audit(&reader);
}
