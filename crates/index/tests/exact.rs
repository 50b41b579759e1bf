//! Indexes that find everything (exact, or with lists that are all visited) against a plain model in memory, under random
//! operations, crashes and replays.
// Helpers outside test functions may fail the test too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use index::{
    ExactVectors, FaceIndex, IndexConfig, IndexError, MemoryVectors, Metric, Model, SyntheticFaces,
    TrainParams, train,
};
use proptest::prelude::*;
use records::Cosine;

const DIMENSION: usize = 16;

fn config(factory: &str) -> IndexConfig {
    IndexConfig { factory: factory.into(), threads: 2, ..IndexConfig::default() }
}

/// What the store would hold: vectors by ordinal, and the log.
#[derive(Default)]
struct Store {
    vectors: Vec<Vec<f32>>,
    log: Vec<(Vec<u64>, Vec<u64>)>,
}

impl Store {
    fn apply(&self, index: &FaceIndex, sequence: usize) {
        let (added, removed) = &self.log[sequence];
        let rows: Vec<(u64, &[f32])> =
            added.iter().map(|o| (*o, self.vectors[*o as usize].as_slice())).collect();
        index.apply(sequence as u64, &rows, removed).unwrap();
    }

    fn replay(&self, index: &FaceIndex) {
        let from = index.applied_sequence().unwrap().map_or(0, |last| last + 1);
        (from as usize..self.log.len()).for_each(|sequence| self.apply(index, sequence));
    }
}

impl ExactVectors for Store {
    fn vectors(
        &self,
        ordinals: &[u64],
        out: &mut Vec<f32>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        out.clear();
        ordinals.iter().for_each(|ordinal| out.extend(&self.vectors[*ordinal as usize]));
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Operation {
    /// Adds so many new vectors and removes the given ones (modulo what there is), as one log entry. Both at once is an
    /// upsert.
    Commit(usize, Vec<usize>),
    /// Applies an old entry again.
    Duplicate(usize),
    Seal,
    Compact(bool),
    /// Forgets everything in memory without sealing, opens again and replays.
    Crash,
    /// The same in the middle of sealing or (`true`) compacting, with the files on disk as they can then be.
    CrashWithin(bool, Torn),
}

/// What a crash can leave of a change of files.
#[derive(Clone, Copy, Debug)]
enum Torn {
    /// New files half written under their temporary names.
    HalfWritten,
    /// New files whole, the old manifest.
    BeforeSwap,
    /// As before, and half of a new manifest beside the old.
    WithinSwap,
    /// The new manifest, replaced files still there.
    AfterSwap,
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let plain = names.filter(|entry| entry.file_type().unwrap().is_file() && entry.file_name() != "LOCK");
    plain
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

/// Puts the folder into the state in which a crash between `before` and now can leave it. Nobody has it open.
fn tear(folder: &Path, before: &BTreeMap<String, Vec<u8>>, torn: Torn) {
    let after = files(folder);
    for (name, bytes) in before {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    for (name, bytes) in after.iter().filter(|(name, _)| !before.contains_key(*name)) {
        let path = folder.join(name);
        match torn {
            Torn::HalfWritten => {
                std::fs::remove_file(&path).unwrap();
                std::fs::write(path.with_extension("tmp"), &bytes[..bytes.len() / 2]).unwrap();
            }
            Torn::BeforeSwap | Torn::WithinSwap | Torn::AfterSwap => {}
        }
    }
    let manifest = &after["MANIFEST"];
    match torn {
        Torn::HalfWritten | Torn::BeforeSwap => {}
        Torn::WithinSwap => {
            std::fs::write(folder.join("MANIFEST.tmp"), &manifest[..manifest.len() / 2]).unwrap();
        }
        Torn::AfterSwap => std::fs::write(folder.join("MANIFEST"), manifest).unwrap(),
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0usize..12, prop::collection::vec(0usize..400, 0..4)).prop_map(|(n, r)| Operation::Commit(n, r)),
        1 => (0usize..100).prop_map(Operation::Duplicate),
        2 => Just(Operation::Seal),
        2 => any::<bool>().prop_map(Operation::Compact),
        1 => Just(Operation::Crash),
        2 => (any::<bool>(), prop_oneof![
            Just(Torn::HalfWritten),
            Just(Torn::BeforeSwap),
            Just(Torn::WithinSwap),
            Just(Torn::AfterSwap),
        ]).prop_map(|(compact, torn)| Operation::CrashWithin(compact, torn)),
    ]
}

fn expected(model: &BTreeMap<u64, Vec<f32>>, query: &[f32], threshold: f32) -> Vec<(u64, Cosine)> {
    let mut found: Vec<_> = model
        .iter()
        .map(|(ordinal, vector)| (*ordinal, Cosine::of(query, vector)))
        .filter(|(_, cosine)| cosine.get() >= threshold)
        .collect();
    found.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    found
}

fn compare(index: &FaceIndex, model: &BTreeMap<u64, Vec<f32>>, store: &Store, queries: &[f32]) {
    assert_eq!(index.vectors().unwrap(), model.len() as u64);
    let near = index.find_neighbours(queries, 0.2, None, store).unwrap();
    let nearest = index.nearest(queries, 5, -1.0, None, store).unwrap();
    for (at, query) in queries.chunks_exact(DIMENSION).enumerate() {
        let found: Vec<_> = near[at].iter().map(|n| (n.ordinal, n.cosine)).collect();
        assert_eq!(found, expected(model, query, 0.2));
        let mut first = expected(model, query, -1.0);
        first.truncate(5);
        assert_eq!(nearest[at].iter().map(|n| (n.ordinal, n.cosine)).collect::<Vec<_>>(), first);
    }
    let (_, ordinals): (Vec<_>, Vec<_>) = store.log.iter().map(|(added, _)| (0, added.clone())).unzip();
    for ordinal in ordinals.into_iter().flatten() {
        assert_eq!(index.contains(ordinal).unwrap(), model.contains_key(&ordinal));
    }
}

fn random_operations(factory: &str, model: Option<Arc<Model>>, operations: Vec<Operation>, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let config = IndexConfig { nprobe: 16, ..config(factory) };
    let mut faces = SyntheticFaces::new(DIMENSION, seed);
    let mut queries = faces.vectors(3);
    let mut index = FaceIndex::open(folder.path(), DIMENSION, &config).unwrap();
    if model.is_some() {
        index.rebuild(model, None, &|_| {}).unwrap();
    }
    let (mut store, mut model) = (Store::default(), BTreeMap::new());
    for operation in operations {
        match operation {
            Operation::Commit(count, removed) => {
                let first = store.vectors.len() as u64;
                for _ in 0..count {
                    let vector = faces.vectors(1);
                    model.insert(store.vectors.len() as u64, vector.clone());
                    store.vectors.push(vector);
                }
                let total = store.vectors.len();
                let removed: Vec<u64> =
                    removed.into_iter().filter(|_| total > 0).map(|at| (at % total) as u64).collect();
                removed.iter().for_each(|ordinal| {
                    model.remove(ordinal);
                });
                store.log.push(((first..total as u64).collect(), removed));
                store.apply(&index, store.log.len() - 1);
            }
            Operation::Duplicate(at) if !store.log.is_empty() => store.apply(&index, at % store.log.len()),
            Operation::Duplicate(_) => {}
            Operation::Seal => {
                index.seal().unwrap();
                let last = (store.log.len() as u64).checked_sub(1);
                assert_eq!(index.applied_sequence().unwrap(), last);
            }
            Operation::Compact(force) => index.compact(force, Some(&store)).unwrap(),
            Operation::Crash => {
                drop(index);
                index = FaceIndex::open(folder.path(), DIMENSION, &config).unwrap();
                store.replay(&index);
            }
            Operation::CrashWithin(compact, torn) => {
                let before = files(folder.path());
                if compact { index.compact(true, Some(&store)) } else { index.seal() }.unwrap();
                drop(index);
                tear(folder.path(), &before, torn);
                index = FaceIndex::open(folder.path(), DIMENSION, &config).unwrap();
                store.replay(&index);
                index.verify().unwrap();
                assert!(files(folder.path()).keys().all(|name| !name.ends_with("tmp")), "no remains");
            }
        }
        if let Some(vector) = store.vectors.last() {
            queries.truncate(3 * DIMENSION);
            queries.extend(vector);
        }
        compare(&index, &model, &store, &queries);
    }
    index.seal().unwrap();
    index.verify().unwrap();
    index.compact(true, Some(&store)).unwrap();
    let info = index.info().unwrap();
    assert_eq!(info.tombstones, 0, "nothing deleted is left after a forced compaction");
    assert!(info.segments <= 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn flat_index_equals_a_map(operations in prop::collection::vec(operation(), 1..40), seed in 0u64..1000) {
        random_operations("Flat", None, operations, seed);
    }

    /// Codes in sealed lists, re-ranked by the exact vectors.
    #[test]
    fn lists_equal_a_map(operations in prop::collection::vec(operation(), 1..40), seed in 0u64..1000) {
        random_operations("IVF16,SQ8", Some(lists()), operations, seed);
    }

    /// HNSW needs no training and lives in FAISS's own file; at this size it finds everything.
    #[test]
    fn hnsw_index_equals_a_map(operations in prop::collection::vec(operation(), 1..12), seed in 0u64..1000) {
        random_operations("HNSW32", None, operations, seed);
    }
}

/// Trained once for all cases.
fn lists() -> Arc<Model> {
    static MODEL: std::sync::OnceLock<(tempfile::TempDir, Arc<Model>)> = std::sync::OnceLock::new();
    let (_, model) = MODEL.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let vectors = MemoryVectors::new(DIMENSION, SyntheticFaces::new(DIMENSION, 77).vectors(1_000));
        let params =
            TrainParams { factory: "IVF16,SQ8".into(), metric: Metric::Ip, ..TrainParams::default() };
        let ordinals: Vec<u64> = (0..1_000).collect();
        let model = train(&vectors, &ordinals, DIMENSION, &params, folder.path(), &|_| {}).unwrap();
        (folder, Arc::new(model))
    });
    model.clone()
}

#[test]
fn l2_gives_the_same_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let config = IndexConfig { metric: index::Metric::L2, ..config("IDMap,Flat") };
    let index = FaceIndex::open(folder.path(), DIMENSION, &config).unwrap();
    let mut faces = SyntheticFaces::new(DIMENSION, 3);
    let store = Store { vectors: (0..300).map(|_| faces.vectors(1)).collect(), log: Vec::new() };
    let rows: Vec<(u64, &[f32])> =
        store.vectors.iter().enumerate().map(|(i, v)| (i as u64, v.as_slice())).collect();
    index.add(&rows).unwrap();
    index.seal().unwrap();
    let model: BTreeMap<u64, Vec<f32>> = rows.iter().map(|(o, v)| (*o, v.to_vec())).collect();
    compare(&index, &model, &Store { log: vec![((0..300).collect(), vec![])], ..store }, &faces.vectors(30));
}

#[test]
fn bad_input_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let index = FaceIndex::open(folder.path(), DIMENSION, &config("Flat")).unwrap();
    let good = SyntheticFaces::new(DIMENSION, 1).vectors(1);
    let nan = vec![f32::NAN; DIMENSION];
    let long: Vec<f32> = good.iter().map(|v| v * 3.0).collect();
    let apply = |bad: &[f32]| index.apply(0, &[(0, &good), (1, bad)], &[]);
    assert!(matches!(apply(&good[1..]), Err(IndexError::WrongDimension { .. })));
    assert!(matches!(apply(&nan), Err(IndexError::InvalidVector { row: 1, .. })));
    assert!(matches!(apply(&[0.0; DIMENSION]), Err(IndexError::InvalidVector { row: 1, .. })));
    assert!(matches!(apply(&long), Err(IndexError::NotUnitLength { row: 1, .. })));
    assert!(matches!(index.add(&[(u64::MAX, &good)]), Err(IndexError::OrdinalOutOfRange(_))));
    assert!(index.search(&nan, 1, -1.0, None).is_err());
    assert!(index.search(&good[1..], 1, -1.0, None).is_err());
    assert_eq!((index.vectors().unwrap(), index.live_sequence().unwrap()), (0, None));
    assert_eq!(index.add(&[(7, &good), (7, &good)]).unwrap(), 1);
    assert_eq!(index.search(&good, 3, 0.5, None).unwrap()[0].len(), 1);
}

#[test]
fn one_process_at_a_time_and_only_the_right_shape() {
    let folder = tempfile::tempdir().unwrap();
    let open = |dimension, config: &IndexConfig| FaceIndex::open(folder.path(), dimension, config);
    let index = open(DIMENSION, &config("Flat")).unwrap();
    assert!(matches!(open(DIMENSION, &config("Flat")), Err(IndexError::Locked(_))));
    drop(index);
    // One that holds nothing yet may still become another.
    drop(open(32, &config("Flat")).unwrap());
    let index = open(DIMENSION, &config("Flat")).unwrap();
    index.add(&[(0, &[(1.0 / DIMENSION as f32).sqrt(); DIMENSION])]).unwrap();
    index.seal().unwrap();
    drop(index);
    assert!(matches!(open(32, &config("Flat")), Err(IndexError::Mismatch { .. })));
    let l2 = IndexConfig { metric: index::Metric::L2, ..config("Flat") };
    assert!(matches!(open(DIMENSION, &l2), Err(IndexError::Mismatch { .. })));
    assert!(matches!(open(DIMENSION, &config("Nonsense")), Err(IndexError::Factory { .. })));
    assert!(open(DIMENSION, &config("auto")).is_ok());
}

#[test]
fn damaged_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let open = || FaceIndex::open(folder.path(), DIMENSION, &config("Flat"));
    let index = open().unwrap();
    let vectors = SyntheticFaces::new(DIMENSION, 1).vectors(50);
    let rows: Vec<(u64, &[f32])> =
        vectors.chunks(DIMENSION).enumerate().map(|(i, v)| (i as u64, v)).collect();
    index.apply(9, &rows, &[]).unwrap();
    index.seal().unwrap();
    drop(index);
    let named = |prefix: &str| {
        let mut files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix)).unwrap()
    };
    for prefix in ["segment-", "ordinals-", "MANIFEST"] {
        let path = named(prefix);
        let whole = std::fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        let at = 40.min(whole.len() - 9);
        flipped[at] ^= 0x10;
        let bad: [&[u8]; 4] = [&whole[..whole.len() - 1], &whole[..20], b"", &flipped];
        for bad in bad {
            std::fs::write(&path, bad).unwrap();
            match open() {
                Err(IndexError::Damaged { path: named, .. }) => assert_eq!(named, path),
                Err(other) => panic!("{prefix}: {other}"),
                // A flipped letter of the manifest may name another file, or none.
                Ok(_) => panic!("{prefix} was taken although it is damaged"),
            }
        }
        std::fs::write(&path, b"something else altogether, but long enough to hold a header".repeat(9))
            .unwrap();
        assert!(matches!(open(), Err(IndexError::Damaged { .. })), "a foreign {prefix}");
        std::fs::remove_file(&path).unwrap();
        assert!(open().is_err(), "a missing {prefix}");
        std::fs::write(&path, whole).unwrap();
    }
    let index = open().unwrap();
    assert_eq!((index.vectors().unwrap(), index.applied_sequence().unwrap()), (50, Some(9)));
    let path = named("segment-");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    drop(index);
    std::fs::write(&path, bytes).unwrap();
    assert!(
        matches!(open().unwrap().verify(), Err(IndexError::Damaged { .. })),
        "damage in the vectors themselves"
    );
}

/// While segments are sealed and merged, a reader always finds either all of a log entry or nothing of it.
#[test]
fn readers_never_see_half_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let index = FaceIndex::open(folder.path(), DIMENSION, &config("Flat")).unwrap();
    let face = SyntheticFaces::new(DIMENSION, 5).vectors(1);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = 0;
                    while !stop.load(Ordering::Relaxed) {
                        // Each entry puts two new rows in the place of two old ones, so there are always two.
                        let found = index.search(&face, 10, 0.5, None).unwrap().remove(0);
                        assert!(found.is_empty() || found.len() == 2, "{found:?}");
                        if let [(a, _), (b, _)] = found[..] {
                            assert_eq!(a / 2, b / 2, "both of one entry");
                            assert!(a / 2 >= seen, "never back in time");
                            seen = a / 2;
                        }
                    }
                    seen
                })
            })
            .collect();
        let keeper = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                index.seal().unwrap();
                index.compact(true, None).unwrap();
            }
        });
        for entry in 0..400u64 {
            let rows = [(2 * entry, face.as_slice()), (2 * entry + 1, face.as_slice())];
            let old: Vec<u64> = entry.checked_sub(1).map(|e| vec![2 * e, 2 * e + 1]).unwrap_or_default();
            index.apply(entry, &rows, &old).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        stop.store(true, Ordering::Relaxed);
        keeper.join().unwrap();
        assert!(readers.into_iter().map(|reader| reader.join().unwrap()).all(|seen| seen > 0));
    });
    assert_eq!(index.vectors().unwrap(), 2);
}
