//! The state folder: one owner, clear refusals, crashes, and what is left on disk.

// Clippy takes helper functions of integration tests for library code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use fjall::{Database, KeyspaceCreateOptions};
use half::f16;
use records::{DeadLetterReason, FaceKey, PartitionId, PhotoKey, Position, Stage};
use store::{Planned, Store, StoreConfig, StoreError};

const CHILD: &str = "FACERING_STORE_TEST_CHILD";

fn child(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(CHILD, folder);
    command
}

#[test]
fn a_second_owner_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let error = Store::open(&config(folder.path())).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    let output = child("child_opens", folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = format!("the state folder {} is in use by another process", folder.path().display());
    assert!(said.contains(&expected), "{said}");
    drop(store);
    let output = child("child_opens", folder.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("opened"));
}

#[test]
fn child_opens() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    match Store::open(&config(Path::new(&folder))) {
        Ok(_) => println!("opened"),
        Err(error) => println!("{error}"),
    }
}

#[test]
fn what_is_no_folder_is_refused_clearly() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = Store::open(&StoreConfig::at(&path)).unwrap_err();
        assert!(matches!(error, StoreError::Folder { .. }), "{error:?}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
    let error = Store::open(&StoreConfig { cache_mib: 0, ..StoreConfig::at(folder.path()) }).unwrap_err();
    assert_eq!(error.to_string(), "state.cache_mib is 0; at least 8 is needed");
}

#[test]
fn a_state_whose_parts_do_not_fit_is_refused() {
    type Damage = (&'static str, fn(&Database));
    let damage: [Damage; 4] = [
        ("faces is at commit 1, but the state is at 2", |db| {
            let faces = db.keyspace("faces", KeyspaceCreateOptions::default).unwrap();
            faces.insert([0], 1u64.to_be_bytes()).unwrap();
        }),
        ("the last entry of the log is missing", |db| {
            let log = db.keyspace("log", KeyspaceCreateOptions::default).unwrap();
            log.remove(0u64.to_be_bytes()).unwrap();
        }),
        ("ordinals reaches further", |db| {
            let ordinals = db.keyspace("ordinals", KeyspaceCreateOptions::default).unwrap();
            ordinals.insert(1u64.to_be_bytes(), [0; 40]).unwrap();
        }),
        ("the state's own row is missing", |db| {
            let meta = db.keyspace("meta", KeyspaceCreateOptions::default).unwrap();
            meta.remove("state").unwrap();
        }),
    ];
    for (sentence, damage) in damage {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        commit(&mut store.committer().unwrap(), vec![replace("a", 1, vec![picture("p", "x", &[1])])]);
        drop(store);
        drop(open(folder.path()));
        let db = Database::builder(folder.path().join("store")).open().unwrap();
        damage(&db);
        drop(db);
        let error = Store::open(&config(folder.path())).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains(sentence), "{error}");
    }
}

const EVENTS: u64 = 8;

/// Batch `n` brings accounts `n-0` to `n-7`, each with a picture of its own, deletes those of batch `n - 3`, and gives one
/// event up.
fn numbered(n: u64) -> records::Batch<records::EmbeddedEvent> {
    let bring = |i| {
        let name = format!("{n}-{i}");
        replace(&name, n as i64, vec![picture("p", &name, &[n * EVENTS + i])])
    };
    let mut items: Vec<_> = (0..EVENTS).map(bring).collect();
    if n >= 3 {
        items.extend((0..EVENTS).map(|i| delete(&format!("{}-{i}", n - 3), n as i64)));
    }
    let mut batch = batch(items, 0);
    batch.delta = Default::default();
    let span = records::Span { from: Position(n), to: Position(n + 1) };
    batch.delta.extend(PartitionId::file("f"), span).unwrap();
    let origin = records::Origin::row(PartitionId::file("f"), Position(n));
    batch.dead.push(origin.dead_letter(Stage::Embed, DeadLetterReason::InferenceFailed, "no"));
    batch
}

fn batches_in(reader: &store::Reader) -> u64 {
    reader.checkpoint().position(&PartitionId::file("f")).map_or(0, |position| position.0)
}

#[test]
fn kill_9_loses_nothing_acknowledged_and_leaves_no_half_batch() {
    let folder = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut rounds_with_work) = (0, 0);
    for round in 0..12u64 {
        let mut process =
            child("child_commits_until_killed", folder.path()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (send, receive) = std::sync::mpsc::channel();
        let listener = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(n) = line.strip_prefix("acknowledged ") {
                    let _ = send.send(n.parse::<u64>().unwrap());
                }
            }
        });
        // Killed at a different point of the work each time, measured from its first acknowledged commit.
        let first = receive.recv_timeout(Duration::from_secs(60)).expect("the child commits");
        let until = Instant::now() + Duration::from_micros(7_919 * (round * 37 % 23));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        process.kill().unwrap();
        process.wait().unwrap();
        listener.join().unwrap();
        let last = receive.try_iter().last().unwrap_or(first);
        assert!(last + 1 >= acknowledged);
        acknowledged = last + 1;
        rounds_with_work += 1;

        let store = open(folder.path());
        let reader = store.reader();
        let there = batches_in(&reader);
        assert!(there >= acknowledged, "round {round}: {acknowledged} acknowledged, {there} there");
        audit(&reader);
        for n in 0..there {
            for i in 0..EVENTS {
                let account = reader.account(&account(&format!("{n}-{i}"))).unwrap().unwrap();
                assert_eq!(account.deleted, n + 3 < there, "account {n}-{i} of {there} batches");
            }
        }
        assert!(reader.account(&account(&format!("{there}-0"))).unwrap().is_none());
        assert_eq!(reader.counts().dead_letters, there);
        assert_eq!(reader.next_ordinal().0, there * EVENTS);
    }
    eprintln!("{rounds_with_work} kills, {acknowledged} acknowledged batches, none lost or halved");
}

#[test]
fn child_commits_until_killed() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let store = open(Path::new(&folder));
    let mut committer = store.committer().unwrap();
    for n in batches_in(&store.reader()).. {
        let Planned::Ready(plan) = committer.plan(numbered(n)).unwrap() else { panic!() };
        let faces: Vec<_> = plan.new_faces().iter().map(|face| face.ordinal.0).collect();
        let links: Vec<_> = faces.windows(2).map(|pair| link(pair[0], pair[1])).collect();
        committer.commit(*plan, &links).unwrap();
        println!("acknowledged {n}");
        if n % 4 == 0 {
            let age = committer.reader().commit().saturating_sub(2);
            committer.sweep_orphans(age, 5).unwrap();
        }
    }
}

#[test]
fn readers_never_see_half_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut committer = store.committer().unwrap();
    let names: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
    let write = |committer: &mut store::Committer, time| {
        let items = names.iter().map(|name| replace(name, time, vec![])).collect();
        commit(committer, items);
    };
    write(&mut committer, 1);
    let done = std::sync::atomic::AtomicBool::new(false);
    let checks = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut checks = 0u64;
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        let reader = store.reader();
                        let seen = |name: &str| reader.account(&account(name)).unwrap().unwrap().last_seen;
                        let (first, last) = (seen(&names[0]), seen(&names[39]));
                        assert_eq!(first, last);
                        assert_eq!(Some(first), reader.greatest_observed_at());
                        checks += 1;
                    }
                    checks
                })
            })
            .collect();
        for time in 2..400 {
            write(&mut committer, time);
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>()
    });
    assert!(checks > 1000, "{checks} checks say little");
}

/// Whether the bytes stand in the file; compares the first byte first, since journals are mostly zeros.
fn holds(file: &[u8], bytes: &[u8]) -> bool {
    file.windows(bytes.len()).any(|window| window[0] == bytes[0] && window == bytes)
}

/// Files below the folder that hold these bytes.
fn holding(folder: &Path, bytes: &[u8]) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, bytes));
        } else if holds(&std::fs::read(&path).unwrap(), bytes) {
            found.push(path);
        }
    }
    found
}

#[test]
fn forgetting_leaves_no_byte_after_compaction() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut committer = store.committer().unwrap();
    let (name, own, once) = ("Qx7-forget-me-Zk93", "own picture", "earlier picture");
    commit(
        &mut committer,
        vec![replace("other", 1, vec![picture("p", "shared", &[1]), picture("q", "b", &[2])])],
    );
    commit(&mut committer, vec![replace(name, 1, vec![picture("Vw4-alpha-Vw4", once, &[40])])]);
    let mut mine = picture("Zt5-bravo-Zt5", own, &[41, 42]);
    mine.content.as_mut().unwrap().thumbnail = Some(bytes::Bytes::from_static(b"J8-thumbnail-J8"));
    let event = replace(name, 2, vec![mine, picture("p", "shared", &[1])]);
    let origin = records::Origin::row(PartitionId::file("f"), Position(9));
    let letter = origin
        .dead_letter(Stage::Fetch, DeadLetterReason::NotFound, "M5-detail-M5")
        .of_event(account(name), at(2));
    let mut batch = records::Batch::new(vec![event], Default::default());
    batch.dead.push(letter);
    let Planned::Ready(plan) = committer.plan(batch).unwrap() else { panic!() };
    let shared = store.reader().face(FaceKey::new(PhotoKey::of_bytes(b"shared"), &embedding(1))).unwrap();
    let links = [link(plan.new_faces()[0].ordinal.0, shared.unwrap().ordinal.0)];
    assert_eq!(committer.commit(*plan, &links).unwrap().links, 1);

    let deed = records::Deed::Dismiss {
        cluster_id: "c1".into(),
        members: vec![account("other"), account(name)],
        evidence: vec![records::EvidenceKey(1)],
        reason: format!("the owner of {name} wrote to us"),
    };
    committer.decide("ada", at(3), deed).unwrap();
    let photo = PhotoKey::of_bytes(own.as_bytes());
    let allow = records::Deed::Allow {
        subject: records::Allowed::Photo(photo),
        until: None,
        reason: "a meme".into(),
    };
    committer.decide("ada", at(3), allow).unwrap();
    let vector = |seed| -> Vec<u8> {
        embedding(seed).as_slice().iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect()
    };
    let key = |name: &str| PhotoKey::of_bytes(name.as_bytes()).as_bytes().to_vec();
    let secrets: Vec<Vec<u8>> = vec![
        name.into(),
        "Vw4-alpha-Vw4".into(),
        "Zt5-bravo-Zt5".into(),
        "J8-thumbnail-J8".into(),
        "M5-detail-M5".into(),
        vector(40),
        vector(41),
        vector(42),
        key(own),
        key(once),
        hex::encode(key(own)).into_bytes(),
    ];
    for secret in &secrets {
        assert!(!holding(folder.path(), secret).is_empty(), "the search finds nothing, so it proves nothing");
    }
    // They are to vanish from the tables too, not only from the journal.
    committer.compact().unwrap();
    for secret in [name.as_bytes(), &vector(40), &vector(42), &key(own)] {
        assert!(!holding(folder.path(), secret).is_empty(), "the tables do not hold what they should");
    }
    let before = store.reader();
    let forgotten = committer.forget(&account(name)).unwrap();
    assert!(forgotten.known);
    assert_eq!((forgotten.ownerships, forgotten.photos, forgotten.photos_kept), (3, 2, 1));
    assert_eq!((forgotten.faces, forgotten.links, forgotten.dead_letters), (3, 1, 1));
    assert_eq!((forgotten.log.len(), forgotten.decisions), (3, 2));
    assert!(store.reader().account(&account(name)).unwrap().is_none());
    audit(&store.reader());
    // Somebody who still reads the state as it was is waited for.
    let late = std::thread::spawn({
        move || {
            std::thread::sleep(std::time::Duration::from_millis(300));
            assert!(before.account(&account(name)).unwrap().is_some());
        }
    });
    let report = committer.compact().unwrap();
    assert!(late.is_finished(), "it did not wait for the reader");
    late.join().unwrap();
    // The engine allocates 64 MiB for its journal in advance.
    assert!(report.bytes_after < 65 << 20, "{report:?}");
    for secret in &secrets {
        let left = holding(folder.path(), secret);
        assert!(left.is_empty(), "{:?} is left in {left:?}", String::from_utf8_lossy(secret));
    }
    drop(committer);
    drop(store);
    let store = open(folder.path());
    audit(&store.reader());
    let counts = store.reader().counts();
    assert_eq!((counts.accounts, counts.photos, counts.faces, counts.links), (1, 2, 2, 1));
    assert!(!store.committer().unwrap().forget(&account(name)).unwrap().known);
}

#[test]
fn decisions_are_kept_and_undone_but_never_changed() {
    use records::{Decision, DecisionId, Deed, Standing};
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut committer = store.committer().unwrap();
    let confirm = |cluster: &str| Deed::Confirm {
        cluster_id: cluster.into(),
        members: vec![account("a")],
        reason: String::new(),
    };
    let undo = |id| Deed::Undo { decision: DecisionId(id), reason: String::new() };
    let before = store.reader().commit();
    let first = committer.decide("ada", at(1), confirm("x")).unwrap();
    assert_eq!(first, Decision { id: DecisionId(1), author: "ada".into(), at: at(1), deed: confirm("x") });
    assert_eq!(store.reader().commit(), before + 1);
    committer.decide("ben", at(2), undo(1)).unwrap();
    for (wrong, why) in [
        (undo(1), "decision 1 was undone already, by decision 2"),
        (undo(9), "there is no decision 9"),
        (Deed::Erased, "an erasure is no decision that anybody takes"),
    ] {
        let error = committer.decide("ada", at(3), wrong).unwrap_err();
        assert_eq!((error.remedy(), error.to_string().as_str()), (store::Remedy::Refuse, why));
    }
    assert_eq!(store.reader().commit(), before + 2, "what was refused left no commit");
    committer.decide("ada", at(3), undo(2)).unwrap();
    drop((committer, store));
    let store = open(folder.path());
    let log = store.reader().decisions().unwrap();
    assert_eq!(
        log.iter().map(|d| (d.id.0, d.author.as_str())).collect::<Vec<_>>(),
        [(1, "ada"), (2, "ben"), (3, "ada")]
    );
    let standing = Standing::of(&log);
    assert_eq!(standing.in_force().iter().map(|d| d.id.0).collect::<Vec<_>>(), [1]);
    store.committer().unwrap().forget(&account("a")).unwrap();
    let log = store.reader().decisions().unwrap();
    assert_eq!((log.len(), &log[0].deed), (3, &Deed::Erased), "its place stays taken");
    audit(&store.reader());
}
