//! What holds for every result.

use clusters::{
    ClustersConfig, Confirmed, Dismissed, Input, Keep, Merged, Split, Verdict, detect, latest, previous,
    read_snapshot, recalibrate, write_snapshot,
};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use records::tables::{Change, Role, RunInfo, TABLES_VERSION};
use records::{Checkpoint, FaceKey, Timestamp};

use crate::population::{ALL, DAYS, Label, World};

fn world(seed: u64) -> Input {
    let mut w = World::new(seed, ALL);
    w.crowd(300);
    w.celebrity(40, 2);
    w.friends(6, 5);
    for days in [8.0, 400.0] {
        let pool = w.stolen_pool(4, 4, 1.0);
        w.pool_ring(12, &pool, 4, DAYS - 500.0, days);
    }
    w.build().0
}

/// Shuffles every table and re-numbers the references.
fn shuffled(mut input: Input, seed: u64) -> Input {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    fn mix<T: Clone>(rows: &mut Vec<T>, rng: &mut ChaCha8Rng) -> Vec<u32> {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.shuffle(rng);
        let mut new_at = vec![0; rows.len()];
        order.iter().enumerate().for_each(|(new, old)| new_at[*old] = new as u32);
        *rows = order.iter().map(|old| rows[*old].clone()).collect();
        new_at
    }
    let accounts = mix(&mut input.accounts, &mut rng);
    let photos = mix(&mut input.photos, &mut rng);
    input.faces.iter_mut().for_each(|f| f.photo = photos[f.photo as usize]);
    let faces = mix(&mut input.faces, &mut rng);
    for own in &mut input.ownerships {
        (own.account, own.photo) = (accounts[own.account as usize], photos[own.photo as usize]);
    }
    for link in &mut input.links {
        // The ends swap places as well.
        (link.a, link.b) = (faces[link.b as usize], faces[link.a as usize]);
    }
    mix(&mut input.ownerships, &mut rng);
    mix(&mut input.links, &mut rng);
    input
}

#[test]
fn order_of_arrival_does_not_matter() {
    let config = ClustersConfig::default();
    let plain = detect(world(1), &config).unwrap();
    assert!(plain.tables.clusters.len() >= 2 && !plain.tables.evidence.is_empty());
    for seed in 0..3 {
        let other = detect(shuffled(world(1), seed), &config).unwrap();
        assert_eq!(plain.tables, other.tables);
        assert_eq!(plain.suppressed, other.suppressed);
    }
}

#[test]
fn reasons_add_up_and_roles_are_disjoint() {
    let found = detect(world(2), &ClustersConfig::default()).unwrap();
    let logit = |p: f64| (p / (1.0 - p)).ln();
    let mut accounts = std::collections::BTreeSet::new();
    let sums = |reasons: &[records::tables::Reason]| {
        assert!(reasons.iter().any(|r| r.signal == "prior"));
        reasons.iter().map(|r| r.log_odds).sum::<f64>()
    };
    for row in &found.tables.clusters {
        assert!((sums(&row.reasons) - logit(row.score)).abs() < 1e-6);
        assert!(row.score >= 0.8 && row.photos > 0 && row.identities > 0 && !row.kinds.is_empty());
        let members = |role| {
            let of = found.tables.members.iter().filter(|m| m.cluster_id == row.cluster_id && m.role == role);
            of.map(|m| &m.account_id).collect::<Vec<_>>()
        };
        assert_eq!(members(Role::Member).len(), row.accounts as usize);
        for evidence in found.tables.evidence.iter().filter(|e| e.cluster_id == row.cluster_id) {
            assert!(evidence.account_a < evidence.account_b);
            let all = [members(Role::Member), members(Role::Victim)].concat();
            assert!(all.contains(&&evidence.account_a) && all.contains(&&evidence.account_b));
            assert!((0.0..=1.0).contains(&evidence.weight));
        }
    }
    for row in &found.tables.members {
        assert!((sums(&row.reasons) - logit(row.score)).abs() < 1e-6, "{row:?}");
        assert!(accounts.insert(row.account_id.clone()), "an account stands twice");
    }
    let named: Vec<_> = found.tables.accounts.iter().map(|a| a.account_id.clone()).collect();
    assert_eq!(named, accounts.into_iter().collect::<Vec<_>>());
}

#[test]
fn allow_lists_and_dismissals_are_kept() {
    let config = ClustersConfig::default();
    let found = detect(world(3), &config).unwrap();
    let cluster = &found.tables.clusters[0].cluster_id;
    let members: Vec<_> = found
        .tables
        .members
        .iter()
        .filter(|m| &m.cluster_id == cluster && m.role == Role::Member)
        .map(|m| m.account_id.clone())
        .collect();
    let rows = found.tables.evidence.iter().filter(|e| &e.cluster_id == cluster).count() as u64;

    let mut input = world(3);
    input.allow.accounts = vec![members[0].clone()];
    let without = detect(input, &config).unwrap();
    assert!(without.tables.members.iter().all(|m| m.account_id != members[0] || m.role == Role::Victim));

    let mut input = world(3);
    input.allow.faces = input
        .faces
        .iter()
        .map(|f| FaceKey { photo: input.photos[f.photo as usize].key, tag: f.tag })
        .collect();
    assert!(detect(input, &config).unwrap().tables.clusters.is_empty(), "every face is allowed");

    let mut input = world(3);
    input.dismissed = vec![Dismissed { members: members.clone(), evidence: rows }];
    let quiet = detect(input, &config).unwrap();
    assert_eq!((quiet.dismissed, quiet.tables.clusters.len()), (1, found.tables.clusters.len() - 1));

    for dismissed in [
        Dismissed { members: members[1..].to_vec(), evidence: rows },
        Dismissed { members: members.clone(), evidence: rows - 1 },
    ] {
        let mut input = world(3);
        input.dismissed = vec![dismissed];
        let back = detect(input, &config).unwrap();
        assert_eq!(
            back.tables.clusters.len(),
            found.tables.clusters.len(),
            "a new member or link brings it back"
        );
    }
}

#[test]
fn confirmed_merged_and_split_clusters_follow_the_analyst() {
    let config = ClustersConfig::default();
    let found = detect(world(6), &config).unwrap();
    let members = |at: usize| -> Vec<records::AccountId> {
        let cluster = &found.tables.clusters[at].cluster_id;
        let rows = found.tables.members.iter();
        rows.filter(|m| &m.cluster_id == cluster && m.role == Role::Member)
            .map(|m| m.account_id.clone())
            .collect()
    };
    let (one, other) = (members(0), members(1));
    let homes =
        |found: &clusters::Detection, ids: &[records::AccountId]| -> std::collections::BTreeSet<String> {
            let rows = found.tables.members.iter().filter(|m| m.role == Role::Member);
            rows.filter(|m| ids.contains(&m.account_id)).map(|m| m.cluster_id.clone()).collect()
        };
    let both = [one.clone(), other.clone()].concat();
    assert_eq!(homes(&found, &both).len(), 2);

    let mut input = world(6);
    input.merged = vec![Merged { members: both.clone() }];
    assert_eq!(homes(&detect(input, &config).unwrap(), &both).len(), 1, "put together");

    let mut input = world(6);
    input.split = vec![Split { one: one[..2].to_vec(), other: one[2..4].to_vec() }];
    let apart = detect(input, &config).unwrap();
    assert!(homes(&apart, &one[..2]).is_disjoint(&homes(&apart, &one[2..4])), "taken apart");

    // A score that nothing reaches by itself.
    let strict = ClustersConfig { min_score: 1.0 - 1e-7, ..config };
    assert!(detect(world(6), &strict).unwrap().tables.clusters.is_empty());
    let mut input = world(6);
    input.confirmed = vec![Confirmed { members: one.clone() }];
    let sure = detect(input, &ClustersConfig { min_score: 0.9999, ..ClustersConfig::default() }).unwrap();
    assert_eq!(homes(&sure, &one).len(), 1);
    let row = sure.tables.clusters.iter().find(|c| homes(&sure, &one).contains(&c.cluster_id)).unwrap();
    assert!(row.reasons.iter().any(|r| r.signal == "confirmed" && r.log_odds > 5.0));
}

#[test]
fn decisions_move_the_score_on_request() {
    let config = ClustersConfig::default();
    let mut w = World::new(8, ALL);
    w.crowd(300);
    for _ in 0..12 {
        let pool = w.stolen_pool(4, 4, 0.5);
        w.pool_ring(10, &pool, 4, DAYS - 500.0, 400.0);
    }
    let (input, labels) = w.build();
    let mut groups: std::collections::BTreeMap<u32, Vec<records::AccountId>> = Default::default();
    for (id, label) in &labels {
        if let Label::Bot(ring) = label {
            groups.entry(*ring).or_default().push(id.clone());
        }
    }
    let few: Vec<Verdict> =
        groups.values().take(3).map(|m| Verdict { members: m.clone(), confirmed: true }).collect();
    let found = recalibrate(input.clone(), &few, &config).unwrap();
    assert_eq!((found.calibration, found.used), (None, 3), "three decisions say nothing");

    // An analyst who dismisses half of the rings: the score must come down.
    let verdicts: Vec<Verdict> = groups
        .values()
        .enumerate()
        .flat_map(|(at, m)| std::iter::repeat_n(Verdict { members: m.clone(), confirmed: at % 2 == 0 }, 2))
        .collect();
    let found = recalibrate(input, &verdicts, &config).unwrap();
    assert!(found.used >= 20, "{found:?}");
    assert!(found.error_before > 0.3 && found.error_after.unwrap() < 0.15, "{found:?}");
}

#[test]
fn references_past_the_tables_are_refused() {
    let mut input = world(4);
    input.links[0].a = u32::MAX - 1;
    assert!(detect(input, &ClustersConfig::default()).is_err());
    let empty = world(4);
    let empty = Input::empty(empty.as_of, empty.pack);
    assert!(detect(empty, &ClustersConfig::default()).unwrap().tables.clusters.is_empty());
}

fn run_info(as_of: Timestamp) -> RunInfo {
    RunInfo {
        tables_version: TABLES_VERSION.into(),
        facering_version: "0".into(),
        snapshot: "20260101T000000Z".into(),
        kind: Default::default(),
        as_of,
        pack: "test".into(),
        accounts: 1,
        photos: 1,
        faces: 1,
        links: 1,
        dead_letters: Default::default(),
        checkpoint: Checkpoint::default(),
        thresholds: Default::default(),
    }
}

#[test]
fn snapshots_come_back_as_written_and_carry_ids_on() {
    let config = ClustersConfig::default();
    let folder = tempfile::tempdir().unwrap();
    assert!(previous(folder.path()).unwrap().is_empty());
    let input = world(5);
    let run = run_info(input.as_of);
    let first = detect(input, &config).unwrap();
    let picture = first.tables.evidence[0].picture_a;
    let place =
        write_snapshot(folder.path(), &first.tables, &run, [(picture, vec![1, 2, 3])], Keep::default())
            .unwrap();
    assert_eq!(place.file_name().unwrap(), "snapshot=20260101T000000Z");
    assert_eq!(latest(folder.path()).unwrap().unwrap(), place);
    assert_eq!(std::fs::read(place.join(format!("thumbnails/{picture}.sealed"))).unwrap(), [1, 2, 3]);
    let (tables, info) = read_snapshot(&place).unwrap();
    assert_eq!(tables, first.tables);
    assert_eq!(info, run);

    let mut input = world(5);
    input.previous = previous(folder.path()).unwrap();
    let second = detect(input, &config).unwrap();
    for (old, new) in first.tables.clusters.iter().zip(&second.tables.clusters) {
        assert_eq!((old.change, new.change), (Change::New, Change::Unchanged));
        assert_eq!(new.cluster_id, old.cluster_id);
        assert_eq!(new.parents, std::slice::from_ref(&old.cluster_id));
    }
    let again = write_snapshot(folder.path(), &second.tables, &run, [], Keep { count: Some(1), since: None })
        .unwrap();
    assert_eq!(again.file_name().unwrap(), "snapshot=20260101T000000Z-2");
    assert_eq!(read_snapshot(&again).unwrap().1.snapshot, "20260101T000000Z-2");
    assert!(!place.exists(), "only one was to be kept");

    let twin = tempfile::tempdir().unwrap();
    let other = write_snapshot(twin.path(), &second.tables, &run, [], Keep::default()).unwrap();
    for name in ["clusters.parquet", "members.parquet", "evidence.parquet", "accounts.parquet"] {
        assert_eq!(
            std::fs::read(again.join(name)).unwrap(),
            std::fs::read(other.join(name)).unwrap(),
            "{name}"
        );
    }

    std::fs::write(other.join("members.parquet"), b"PAR1 not").unwrap();
    assert!(read_snapshot(&other).is_err());
    let empty =
        records::tables::Tables { clusters: vec![], members: vec![], evidence: vec![], accounts: vec![] };
    let none = write_snapshot(twin.path(), &empty, &run, [], Keep::default()).unwrap();
    assert_eq!(read_snapshot(&none).unwrap().0, empty);
}
