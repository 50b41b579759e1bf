//! Blocks: what they find is what a search one by one finds, for every kind of index, and adding them is adding.
// Helpers outside test functions may fail the test too.
#![allow(clippy::unwrap_used, clippy::panic)]

use index::{FaceIndex, IndexConfig, MemoryVectors, Metric, Neighbour, SyntheticFaces};

/// Not a multiple of the tiles' lanes.
const D: usize = 72;
const COMMITTED: usize = 11_000;
const BLOCK: usize = 1_501;

/// Faces of which every seventh is a copy of one before it, near enough to be found.
fn faces(count: usize) -> MemoryVectors {
    let mut source = SyntheticFaces::new(D, 3);
    let mut values = source.vectors(count);
    for row in (7..count).step_by(7) {
        let original = (row * 7919) % row;
        let copy = source.near(&values[original * D..(original + 1) * D], 0.9);
        values[row * D..(row + 1) * D].copy_from_slice(&copy);
    }
    MemoryVectors::new(D, values)
}

fn rows(vectors: &MemoryVectors, ordinals: std::ops::Range<usize>) -> Vec<(u64, &[f32])> {
    ordinals.map(|o| (o as u64, &vectors.values()[o * D..(o + 1) * D])).collect()
}

fn config(factory: &str, metric: Metric) -> IndexConfig {
    IndexConfig { factory: factory.into(), metric, nprobe: 8, seal_at: 4_000, ..IndexConfig::default() }
}

fn exact_pairs(vectors: &MemoryVectors, row: usize, among: usize, threshold: f32) -> Vec<Neighbour> {
    let of = |at: usize| &vectors.values()[at * D..(at + 1) * D];
    let mut found: Vec<Neighbour> = (0..among)
        .filter(|other| *other != row)
        .map(|other| Neighbour { ordinal: other as u64, cosine: records::Cosine::of(of(row), of(other)) })
        .filter(|n| n.cosine.get() >= threshold)
        .collect();
    found.sort_by(|a, b| b.cosine.cmp(&a.cosine).then(a.ordinal.cmp(&b.ordinal)));
    found
}

#[test]
fn blocks_find_what_searches_find() {
    let vectors = faces(COMMITTED + BLOCK);
    let block_values = &vectors.values()[COMMITTED * D..];
    // Every vector asks but some, as faces too poor to link do not.
    let asking: Vec<u32> = (0..BLOCK as u32).filter(|row| row % 10 != 3).collect();
    for (factory, metric) in [
        ("Flat", Metric::Ip),
        ("IVF32,PQ36", Metric::Ip),
        // Compared in 8 bits where the processor can.
        ("IVF32,PQ18", Metric::Ip),
        ("IVF32,PQ9", Metric::Ip),
        ("PCA64,IVF32,PQ16", Metric::Ip),
        ("IVF32,Flat", Metric::Ip),
        ("PCA48,IVF32,PQ24", Metric::Ip),
        // These take the road one by one inside.
        ("IVF32,SQ8", Metric::Ip),
        ("SQ8", Metric::Ip),
        ("IVF32,Flat", Metric::L2),
        ("Flat", Metric::L2),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let index = FaceIndex::open(folder.path(), D, &config(factory, metric)).unwrap();
        index.add(&rows(&vectors, 0..COMMITTED / 2)).unwrap();
        index.seal().unwrap();
        index.add(&rows(&vectors, COMMITTED / 2..COMMITTED)).unwrap();
        index.maintain(&vectors, &|_| {}).unwrap();
        assert_eq!(index.info().unwrap().factory != "Flat", factory != "Flat", "{factory}");
        // A face deleted, one in a segment and one among the live rows or in another segment.
        index.remove(&[5, COMMITTED as u64 - 2]).unwrap();

        let mut block = index.block(COMMITTED as u64, block_values.to_vec()).unwrap();
        let found = index.block_neighbours(&mut block, &asking, 0.6, &vectors).unwrap();
        let queries: Vec<f32> =
            asking.iter().flat_map(|row| &block_values[*row as usize * D..][..D]).copied().collect();
        let one_by_one = index.find_neighbours(&queries, 0.6, None, &vectors).unwrap();
        let (mut same, mut expected, mut own) = (0, 0, 0);
        for ((row, found), alone) in asking.iter().zip(&found).zip(&one_by_one) {
            let committed: Vec<Neighbour> =
                found.iter().filter(|n| n.ordinal < COMMITTED as u64).copied().collect();
            // At the edge of the margin a candidate may be one road's and not the other's.
            expected += alone.len();
            same += alone.iter().filter(|n| committed.contains(n)).count();
            assert!(committed.len() <= alone.len() + 1, "{factory}: {committed:?} {alone:?}");
            let all = exact_pairs(&vectors, COMMITTED + *row as usize, COMMITTED + BLOCK, 0.6);
            let of_block = |n: &&Neighbour| n.ordinal >= COMMITTED as u64;
            assert!(found.iter().all(|n| all.contains(n)), "{factory}: a cosine is wrong");
            own += found.iter().filter(of_block).count();
            if factory == "Flat" {
                let left: Vec<_> =
                    all.into_iter().filter(|n| ![5, COMMITTED as u64 - 2].contains(&n.ordinal)).collect();
                assert_eq!(*found, left, "exact search misses nothing");
            }
        }
        assert!(expected > 100 && same * 1000 >= expected * 999, "{factory}: {same} of {expected}");
        assert!(own > 10, "{factory}: only {own} neighbours within the block");

        // Added, it is there as if it had been added one by one; a second time changes nothing.
        assert!(index.apply_block(7, &block, &[9]).unwrap());
        assert!(!index.apply_block(7, &block, &[]).unwrap());
        assert_eq!(index.live_sequence().unwrap(), Some(7));
        assert_eq!(index.vectors().unwrap(), (COMMITTED + BLOCK - 3) as u64);
        let again = index.find_neighbours(&block_values[..D], 0.99, None, &vectors).unwrap();
        assert_eq!(again[0].first().map(|n| n.ordinal), Some(COMMITTED as u64), "{factory}");
        assert!(!index.contains(9).unwrap());
    }
}

#[test]
fn full_blocks_are_sealed_and_survive() {
    let vectors = faces(6_000);
    let folder = tempfile::tempdir().unwrap();
    let settings = config("Flat", Metric::Ip);
    let index = FaceIndex::open(folder.path(), D, &settings).unwrap();
    for (sequence, first) in (0..6_000).step_by(1_500).enumerate() {
        let values = vectors.values()[first * D..(first + 1_500) * D].to_vec();
        let block = index.block(first as u64, values).unwrap();
        assert!(index.apply_block(sequence as u64, &block, &[]).unwrap());
    }
    let info = index.info().unwrap();
    assert_eq!((info.segments, info.live, info.applied_sequence), (1, 1_500, Some(2)), "sealed at 4,000");
    drop(index);
    let index = FaceIndex::open(folder.path(), D, &settings).unwrap();
    assert_eq!(index.vectors().unwrap(), 4_500, "the log has the rest");
}

#[test]
fn a_first_training_sees_what_is_to_come() {
    let vectors = faces(12_000);
    let folder = tempfile::tempdir().unwrap();
    let index = FaceIndex::open(folder.path(), D, &config("IVF32,PQ36", Metric::Ip)).unwrap();
    assert_eq!(index.first_training(5_000).unwrap(), None, "too few");
    let (factory, wanted) = index.first_training(12_000).unwrap().unwrap();
    assert_eq!(factory, "IVF32,PQ36np");
    assert!(wanted >= 32 * 39);
    let mut sample = index.begin_sample().unwrap();
    for vector in vectors.values().chunks_exact(D) {
        sample.push(vector).unwrap();
    }
    sample.push(&[0.0; D]).unwrap();
    sample.push(&[1.0; 3]).unwrap();
    index.train_on(&factory, sample, &vectors, &|_| {}).unwrap();
    assert_eq!(index.first_training(12_000).unwrap(), None, "once is enough");
    let info = index.info().unwrap();
    assert_eq!((info.lists, info.vectors), (32, 0));
    assert_eq!(info.model.unwrap().trained_on, 12_000, "what is no vector is passed over");
    let left = std::fs::read_dir(folder.path()).unwrap().flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().contains("sample")));
    let exact = FaceIndex::open(folder.path().join("exact"), D, &IndexConfig::default()).unwrap();
    assert_eq!(exact.first_training(100_000).unwrap(), None, "auto stays exact while small");
    assert!(exact.first_training(300_000).unwrap().unwrap().0.starts_with("IVF1024"));
}
