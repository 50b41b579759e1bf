//! Whatever the order in which events come and however they are cut into batches, the state is a function of their set.
//! The model below is that function, written down directly: it looks at all events at once.

// Clippy takes helper functions of integration tests for library code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use common::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use records::{Batch, CheckpointDelta, EmbeddedEvent, EmbeddedPhoto, FaceKey, PhotoKey, StagedBody};
use store::{Committer, Planned, Reader};

const PICTURES: usize = 5;

#[derive(Clone, Debug)]
enum Kind {
    /// Photos as (photo id, picture); `had` is which of them could be had in this delivery.
    Replace {
        photos: BTreeMap<usize, usize>,
        had: u8,
    },
    Delete,
    /// A picture with a hash, as photo 0 to 2.
    AddHashed {
        photo: usize,
        picture: usize,
        facts: Option<u8>,
    },
    /// Faces of a picture without a hash, as photo 3 or 4.
    AddGiven {
        photo: usize,
        faces: BTreeSet<u64>,
    },
}

#[derive(Clone, Debug)]
struct Told {
    account: usize,
    time: i64,
    hash: u8,
    kind: Kind,
    /// Whether a picture that may be known comes without content.
    trusting: bool,
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => (prop::collection::btree_map(0..5usize, 0..PICTURES, 0..4), any::<u8>())
            .prop_map(|(photos, had)| Kind::Replace { photos, had }),
        1 => Just(Kind::Delete),
        2 => (0..3usize, 0..PICTURES, prop::option::of(0..3u8))
            .prop_map(|(photo, picture, facts)| Kind::AddHashed { photo, picture, facts }),
        3 => (3..5usize, prop::collection::btree_set(0..4u64, 0..3))
            .prop_map(|(photo, faces)| Kind::AddGiven { photo, faces }),
    ]
}

fn told() -> impl Strategy<Value = Told> {
    (0..2usize, 1..6i64, 0..3u8, kind(), any::<bool>())
        .prop_map(|(account, time, hash, kind, trusting)| Told { account, time, hash, kind, trusting })
}

/// Events, some of them again with other photos had, and two orders with their cuts.
type Case = (Vec<Told>, Vec<Told>, Vec<u8>, Vec<u8>);

fn case() -> impl Strategy<Value = Case> {
    prop::collection::vec(told(), 1..14).prop_flat_map(|mut events| {
        // One (account, time, hash) is one event: what it says is the same in every delivery.
        let mut said: BTreeMap<(usize, i64, u8), Kind> = BTreeMap::new();
        let mut again = Vec::new();
        for event in &mut events {
            if matches!(event.kind, Kind::AddHashed { .. } | Kind::AddGiven { .. }) {
                continue;
            }
            let id = (event.account, event.time, event.hash);
            let first = said.entry(id).or_insert_with(|| event.kind.clone());
            if let (Kind::Replace { photos, .. }, Kind::Replace { had, .. }) = (&*first, &event.kind) {
                event.kind = Kind::Replace { photos: photos.clone(), had: *had };
            } else {
                event.kind = first.clone();
            }
            if let Kind::Replace { photos, had } = &event.kind {
                let kind = Kind::Replace { photos: photos.clone(), had: !had };
                again.push(Told { kind, ..event.clone() });
            }
        }
        events.extend(again);
        let cuts = || prop::collection::vec(any::<u8>(), events.len());
        (Just(events.clone()).prop_shuffle(), Just(events.clone()).prop_shuffle(), cuts(), cuts())
    })
}

struct World {
    salt: String,
}

impl World {
    fn name(&self, account: usize) -> String {
        format!("{}-{account}", self.salt)
    }

    fn picture(&self, picture: usize) -> PhotoKey {
        PhotoKey::of_bytes(format!("{} {picture}", self.salt).as_bytes())
    }

    fn unhashed(&self, account: usize, photo: usize) -> PhotoKey {
        PhotoKey::unhashed(&common::account(&self.name(account)), &photo_id(&photo.to_string()))
    }

    fn faces_of_picture(picture: usize) -> std::ops::Range<u64> {
        let first = 100 + 10 * picture as u64;
        first..first + picture as u64 % 3
    }

    fn photos(told: &Told) -> Vec<(usize, Option<usize>)> {
        match &told.kind {
            Kind::Replace { photos, had } => {
                let had = |photo: &usize| had >> photo & 1 == 1;
                photos.iter().filter(|(photo, _)| had(photo)).map(|(p, k)| (*p, Some(*k))).collect()
            }
            Kind::Delete => vec![],
            Kind::AddHashed { photo, picture, .. } => vec![(*photo, Some(*picture))],
            Kind::AddGiven { photo, .. } => vec![(*photo, None)],
        }
    }

    fn key(&self, told: &Told, photo: usize, picture: Option<usize>) -> PhotoKey {
        picture.map_or_else(|| self.unhashed(told.account, photo), |picture| self.picture(picture))
    }

    fn facts(&self, told: &Told) -> Option<String> {
        match &told.kind {
            Kind::Replace { .. } => Some(format!("{} {} {}", told.account, told.time, told.hash)),
            Kind::AddHashed { facts, .. } => facts.map(|n| format!("added {} {n}", told.time)),
            _ => None,
        }
    }

    fn event(&self, told: &Told, known: &dyn Fn(&PhotoKey) -> bool) -> EmbeddedEvent {
        let photos = Self::photos(told)
            .into_iter()
            .map(|(id, picture)| {
                let key = self.key(told, id, picture);
                let content = match (&told.kind, picture) {
                    (Kind::Replace { .. }, Some(_)) if told.trusting && known(&key) => None,
                    (Kind::AddGiven { faces, .. }, _) => Some(content(faces.iter().copied(), false, true)),
                    (kind, Some(picture)) => {
                        let partial = matches!(kind, Kind::AddHashed { .. });
                        Some(content(Self::faces_of_picture(picture), true, partial))
                    }
                    _ => unreachable!(),
                };
                photo(&id.to_string(), key, content)
            })
            .collect::<Vec<EmbeddedPhoto>>();
        let told_facts = self.facts(told).map(|name| facts(&name));
        let body = match told.kind {
            Kind::Replace { .. } => StagedBody::Replace { photos, facts: told_facts.unwrap() },
            Kind::Delete => StagedBody::Deleted,
            _ => StagedBody::Add { photos, facts: told_facts },
        };
        event(&self.name(told.account), told.time, told.hash, body)
    }

    /// Feeds the events in this order, cut where the cut's lowest bits are 0; now and then sweeps all orphans.
    fn feed(&self, committer: &mut Committer, events: &[Told], cuts: &[u8]) {
        let mut pending = Vec::new();
        for (told, cut) in events.iter().zip(cuts) {
            let reader = committer.reader();
            pending.push(self.event(told, &|key| reader.knows_photo(key).unwrap()));
            if cut % 3 == 0 {
                // A sweep between fetching and committing, so that photos taken for known are gone.
                if cut % 5 == 0 {
                    committer.sweep_orphans(u64::MAX, usize::MAX).unwrap();
                }
                self.commit(committer, std::mem::take(&mut pending));
            }
        }
        self.commit(committer, pending);
    }

    fn commit(&self, committer: &mut Committer, items: Vec<EmbeddedEvent>) {
        let mut batch = Batch::new(items, CheckpointDelta::default());
        loop {
            match committer.plan(batch).unwrap() {
                Planned::Ready(plan) => {
                    committer.commit(*plan, &[]).unwrap();
                    return;
                }
                Planned::Missing { batch: back, photos } => {
                    batch = back;
                    let gone: BTreeSet<_> = photos.iter().map(|photo| photo.photo).collect();
                    for event in &mut batch.items {
                        if let StagedBody::Replace { photos, .. } = &mut event.body {
                            for photo in photos.iter_mut().filter(|photo| gone.contains(&photo.key)) {
                                let picture = (0..PICTURES).find(|p| self.picture(*p) == photo.key).unwrap();
                                photo.content = Some(content(Self::faces_of_picture(picture), true, false));
                            }
                        }
                    }
                }
            }
        }
    }

    /// Checks an account against the model.
    fn check(&self, reader: &Reader, events: &[Told], account: usize) -> Result<(), TestCaseError> {
        let all: Vec<&Told> = events.iter().filter(|told| told.account == account).collect();
        let id = common::account(&self.name(account));
        let stored = reader.account(&id).unwrap();
        let shown = reader.photos_of(&id).unwrap();
        prop_assert_eq!(stored.is_some(), !all.is_empty());
        let Some(stored) = stored else { return Ok(()) };

        let adds = |told: &&&Told| matches!(told.kind, Kind::AddHashed { .. } | Kind::AddGiven { .. });
        let base = all.iter().filter(|told| !adds(told)).max_by_key(|told| (told.time, told.hash));
        let floor = base.map_or(0, |base| base.time);
        let later: Vec<&&Told> = all.iter().filter(|told| adds(told) && told.time > floor).collect();
        let bases: Vec<&&Told> = all
            .iter()
            .filter(|told| !adds(told) && base.is_some_and(|b| (b.time, b.hash) == (told.time, told.hash)))
            .collect();

        prop_assert_eq!(stored.base, base.map(|base| (at(base.time), [base.hash; 32])));
        let deleted = base.is_some_and(|base| matches!(base.kind, Kind::Delete)) && later.is_empty();
        prop_assert_eq!(stored.deleted, deleted);
        let seen = || all.iter().filter(|told| !matches!(told.kind, Kind::Delete)).map(|told| told.time);
        if let (Some(first), Some(last)) = (seen().min(), seen().max()) {
            prop_assert_eq!((stored.first_seen, stored.last_seen), (at(first), at(last)));
        }

        let latest = later.iter().filter(|told| self.facts(told).is_some()).map(|told| told.time).max();
        let candidates: Vec<Option<String>> = match latest {
            Some(time) => {
                later.iter().filter(|told| told.time == time).map(|told| self.facts(told)).collect()
            }
            None => vec![base.and_then(|base| self.facts(base))],
        };
        prop_assert!(
            candidates.contains(&stored.facts.username),
            "{:?} of {:?}",
            stored.facts.username,
            candidates
        );

        let mut expected: BTreeMap<usize, (i64, PhotoKey)> = BTreeMap::new();
        for told in bases.iter().chain(&later) {
            for (photo, picture) in Self::photos(told) {
                let claim = (told.time, self.key(told, photo, picture));
                expected.entry(photo).and_modify(|old| *old = claim.max(*old)).or_insert(claim);
            }
        }
        let found: BTreeMap<usize, PhotoKey> =
            shown.iter().map(|o| (o.photo_id.as_str().parse().unwrap(), o.photo)).collect();
        let keys: BTreeMap<usize, PhotoKey> = expected.iter().map(|(id, (_, key))| (*id, *key)).collect();
        prop_assert_eq!(&found, &keys);

        for ownership in &shown {
            let id: usize = ownership.photo_id.as_str().parse().unwrap();
            let named = || {
                let names = |told: &&&Told| {
                    Self::photos(told).iter().any(|(photo, picture)| {
                        *photo == id && self.key(told, id, *picture) == ownership.photo
                    })
                };
                all.iter().filter(names).map(|told| told.time)
            };
            prop_assert_eq!(ownership.first_observed, at(named().min().unwrap()));
            prop_assert_eq!(ownership.last_observed, at(named().max().unwrap()));
            let faces: BTreeSet<u64> = match (0..PICTURES).find(|p| self.picture(*p) == ownership.photo) {
                Some(picture) => Self::faces_of_picture(picture).collect(),
                None => later
                    .iter()
                    .filter_map(|told| match &told.kind {
                        Kind::AddGiven { photo, faces } if *photo == id => Some(faces.iter().copied()),
                        _ => None,
                    })
                    .flatten()
                    .collect(),
            };
            let expected: BTreeSet<FaceKey> =
                faces.iter().map(|seed| FaceKey::new(ownership.photo, &embedding(*seed))).collect();
            let stored: BTreeMap<_, _> = reader.faces_of(ownership.photo).map(Result::unwrap).collect();
            prop_assert_eq!(stored.keys().copied().collect::<BTreeSet<_>>(), expected);
            if !reader.photo(&ownership.photo).unwrap().unwrap().complete {
                let main: Vec<_> = stored.values().filter(|face| face.main).collect();
                let widest = stored.values().map(|f| f.quality.width_px as u32).max();
                prop_assert_eq!(main.iter().map(|f| f.quality.width_px as u32).max(), widest);
                prop_assert_eq!(main.len(), usize::from(!stored.is_empty()));
            }
        }
        Ok(())
    }
}

#[test]
fn the_state_is_a_function_of_the_set_of_events() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let committer = std::cell::RefCell::new(store.committer().unwrap());
    let cases = Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: 250, failure_persistence: None, ..Config::default() });
    let result = runner.run(&case(), |(one, other, cuts, other_cuts)| {
        cases.set(cases.get() + 1);
        let mut seen = Vec::new();
        for (order, cuts, road) in [(&one, &cuts, "one"), (&other, &other_cuts, "other")] {
            let world = World { salt: format!("{} {road}", cases.get()) };
            world.feed(&mut committer.borrow_mut(), order, cuts);
            let reader = store.reader();
            for account in 0..2 {
                world.check(&reader, order, account)?;
            }
            seen.push((0..2).map(|a| reader.account(&account(&world.name(a))).unwrap()).collect::<Vec<_>>());
        }
        prop_assert_eq!(&seen[0], &seen[1]);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    audit(&store.reader());
    drop(committer);
    drop(store);
    let store = open(folder.path());
    audit(&store.reader());
}
