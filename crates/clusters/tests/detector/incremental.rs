//! Updates give what a full run gives.

use std::collections::{BTreeMap, BTreeSet};

use clusters::{Changes, ClustersConfig, Incremental, Input, detect};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use records::AccountId;
use records::tables::{Role, Tables};

use crate::population::{ALL, DAYS, World};

fn world(seed: u64) -> Input {
    let mut w = World::new(seed, ALL);
    w.crowd(600);
    w.celebrity(120, 6);
    w.memes(6, 420, 2);
    w.default_avatars(80);
    for n in [4, 6, 9] {
        w.friends(n, 5);
    }
    (0..8).for_each(|_| w.several_accounts(3));
    for days in [8.0, 8.0, 400.0] {
        let pool = w.stolen_pool(4, 4, 1.0);
        w.pool_ring(14, &pool, 4, DAYS - 500.0, days);
    }
    let pool = w.stolen_pool(1, 1, 1.0);
    w.pool_ring(60, &pool, 1, DAYS - 100.0, 6.0);
    w.one_person_ring(15, 4, DAYS - 60.0, 5.0);
    w.build().0
}

/// Rows of some accounts, with the links of their faces to those and to faces of `known` ones.
fn part(input: &Input, accounts: &BTreeSet<u32>, known: &BTreeSet<u32>) -> Input {
    let mut photos: BTreeSet<u32> = BTreeSet::new();
    let mut near: BTreeSet<u32> = BTreeSet::new();
    for own in &input.ownerships {
        if accounts.contains(&own.account) {
            photos.insert(own.photo);
        } else if known.contains(&own.account) {
            near.insert(own.photo);
        }
    }
    let photo = |face: u32| input.faces[face as usize].photo;
    let mut links = Vec::new();
    let mut listed = photos.clone();
    for link in &input.links {
        let (a, b) = (photo(link.a), photo(link.b));
        let there = |p: u32| photos.contains(&p) || near.contains(&p);
        if (photos.contains(&a) || photos.contains(&b)) && there(a) && there(b) {
            listed.extend([a, b]);
            links.push(*link);
        }
    }
    let mut rows = Input::empty(input.as_of, input.pack.clone());
    let place = |list: &BTreeSet<u32>| -> BTreeMap<u32, u32> { list.iter().copied().zip(0..).collect() };
    let (account_place, photo_place) = (place(accounts), place(&listed));
    rows.accounts = accounts.iter().map(|a| input.accounts[*a as usize].clone()).collect();
    rows.photos = listed.iter().map(|p| input.photos[*p as usize]).collect();
    let mut face_place = BTreeMap::new();
    for (at, face) in input.faces.iter().enumerate().filter(|(_, f)| listed.contains(&f.photo)) {
        face_place.insert(at as u32, rows.faces.len() as u32);
        rows.faces.push(clusters::Face { photo: photo_place[&face.photo], ..*face });
    }
    for own in input.ownerships.iter().filter(|o| accounts.contains(&o.account)) {
        let (account, photo) = (account_place[&own.account], photo_place[&own.photo]);
        rows.ownerships.push(clusters::Ownership { account, photo, ..own.clone() });
    }
    rows.links =
        links.into_iter().map(|l| clusters::Link { a: face_place[&l.a], b: face_place[&l.b], ..l }).collect();
    rows
}

fn partition(tables: &Tables) -> BTreeSet<BTreeSet<AccountId>> {
    let mut clusters: BTreeMap<&str, BTreeSet<AccountId>> = BTreeMap::new();
    for row in tables.members.iter().filter(|m| m.role == Role::Member) {
        clusters.entry(&row.cluster_id).or_default().insert(row.account_id.clone());
    }
    clusters.into_values().collect()
}

#[test]
fn updates_give_what_a_full_run_gives() {
    let config = ClustersConfig::default();
    for seed in 0..3 {
        let all = world(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<u32> = (0..all.accounts.len() as u32).collect();
        order.shuffle(&mut rng);
        // Most of the population first, then new accounts a few at a time; some of the old ones change or go.
        let (first, later) = order.split_at(order.len() - 40);
        let mut known: BTreeSet<u32> = first.iter().copied().collect();
        let (mut detector, _) = Incremental::new(part(&all, &known, &BTreeSet::new()), &config).unwrap();
        for batch in later.chunks(10) {
            let mut changed: BTreeSet<u32> = batch.iter().copied().collect();
            changed.extend(
                (0..3).map(|_| first[rng.random_range(0..first.len())]).filter(|a| known.contains(a)),
            );
            let mut rows = part(&all, &changed, &known);
            // One account shows a photo less.
            if !rows.ownerships.is_empty() {
                let at = rng.random_range(0..rows.ownerships.len());
                rows.ownerships.remove(at);
            }
            let gone = first[rng.random_range(0..first.len())];
            let deleted =
                if changed.contains(&gone) { vec![] } else { vec![all.accounts[gone as usize].id.clone()] };
            known.extend(&changed);
            if !deleted.is_empty() {
                known.remove(&gone);
            }
            let updated = detector.update(Changes { rows, photos: vec![], deleted }).unwrap();
            let full = detector.recomputed();
            assert_eq!(partition(&updated.tables), partition(&full.tables), "seed {seed}");
            assert_eq!(updated.tables, full.tables, "seed {seed}: to the last row");
        }
        // The clusters are also those of a run that measures its own background.
        let rows = part(&all, &known, &BTreeSet::new());
        assert!(!rows.links.is_empty());
    }
}

#[test]
fn a_ring_that_arrives_by_and_by_is_the_one_that_arrives_at_once() {
    let config = ClustersConfig::default();
    let all = world(7);
    let everybody: BTreeSet<u32> = (0..all.accounts.len() as u32).collect();
    let once = detect(part(&all, &everybody, &BTreeSet::new()), &config).unwrap();
    assert!(once.tables.clusters.len() >= 4, "{}", once.tables.clusters.len());
    let half: BTreeSet<u32> = everybody.iter().copied().filter(|a| a % 2 == 0).collect();
    let (mut detector, _) = Incremental::new(part(&all, &half, &BTreeSet::new()), &config).unwrap();
    // So much that the background is measured anew.
    let rest: BTreeSet<u32> = everybody.difference(&half).copied().collect();
    let rows = part(&all, &rest, &half);
    let later = detector.update(Changes { rows, photos: vec![], deleted: vec![] }).unwrap();
    assert_eq!(later.tables, once.tables);
}
