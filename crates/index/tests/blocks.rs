//! Blocks: begun empty, filled from files apart, interrupted, merged on disk, moved, opened, searched.
// Helpers outside test functions may fail the test too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::path::Path;
use std::sync::Arc;

use index::{
    ExactVectors, FaceIndex, IndexConfig, IndexError, MemoryVectors, Metric, Model, SyntheticFaces,
    TrainParams, train,
};

const D: usize = 32;

fn config() -> IndexConfig {
    IndexConfig { threads: 1, ..IndexConfig::default() }
}

fn model(folder: &Path, vectors: &MemoryVectors) -> Arc<Model> {
    let ordinals: Vec<u64> = (0..vectors.len() as u64).collect();
    let params = TrainParams { factory: "IVF16,SQ8".into(), ..TrainParams::default() };
    Arc::new(train(vectors, &ordinals, D, &params, &folder.join("training"), &|_| {}).unwrap())
}

fn begin(folder: &Path, model: &Arc<Model>) -> FaceIndex {
    FaceIndex::begin(folder, D, Metric::Ip, Some(model.clone()), &config()).unwrap()
}

/// Gives the rows in batches of seven.
fn rows(
    values: &[f32],
    from: u64,
) -> impl FnMut(&mut Vec<f32>) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let mut batches: Vec<Vec<f32>> =
        values[from as usize * D..].chunks(7 * D).rev().map(<[f32]>::to_vec).collect();
    move |out| {
        let batch = batches.pop();
        *out = batch.unwrap_or_default();
        Ok(!out.is_empty())
    }
}

fn fill(block: &FaceIndex, name: &str, values: &[f32]) -> Result<u64, IndexError> {
    let from = block.filled_rows(name).unwrap();
    block.fill(name, from, true, &mut rows(values, from), &|_| {})
}

#[test]
fn filled_apart_merged_moved_and_opened() {
    let folder = tempfile::tempdir().unwrap();
    let mut faces = SyntheticFaces::new(D, 1);
    let vectors = MemoryVectors::new(D, faces.vectors(3_000));
    let model = model(folder.path(), &vectors);
    let parts = [("a.parquet", 0..800), ("b.parquet", 800..2_000), ("c.parquet", 2_000..3_000)];
    let blocks: Vec<FaceIndex> = parts
        .iter()
        .map(|(name, range)| {
            let block = begin(&folder.path().join(name), &model);
            let mut values = vectors.values()[range.start * D..range.end * D].to_vec();
            // A row without a face.
            values[5 * D..6 * D].fill(0.0);
            assert_eq!(fill(&block, name, &values).unwrap(), range.len() as u64 - 1);
            assert_eq!(fill(&block, name, &values).unwrap(), 0, "all rows are there already");
            block
        })
        .collect();
    let merged = begin(&folder.path().join("merged"), &model);
    assert_eq!(merged.merge(&[&blocks[0], &blocks[1]]).unwrap(), 1_998);
    assert!(matches!(merged.merge(&[&blocks[1]]), Err(IndexError::Merged { .. })), "the same rows twice");
    assert_eq!(merged.merge(&[&blocks[2]]).unwrap(), 999);
    merged.compact(true, None).unwrap();
    merged.verify().unwrap();
    drop((merged, blocks));
    for (name, _) in &parts {
        std::fs::remove_dir_all(folder.path().join(name)).unwrap();
    }
    std::fs::rename(folder.path().join("merged"), folder.path().join("elsewhere")).unwrap();

    let moved = FaceIndex::open_existing(folder.path().join("elsewhere"), &config(), None).unwrap();
    let info = moved.info().unwrap();
    assert_eq!((info.vectors, info.segments, info.sources.len()), (2_997, 1, 3));
    let kept = moved.kept_vectors().unwrap().unwrap();
    let queries: Vec<f32> = vectors.values().to_vec();
    let found = moved.nearest(&queries, 1, 0.99, Some(16), &kept).unwrap();
    for (at, found) in found.iter().enumerate() {
        let (name, range) = parts.iter().find(|(_, range)| range.contains(&at)).unwrap();
        let row = (at - range.start) as u64;
        match found.first() {
            None => assert_eq!(row, 5, "only the row without a face is missing"),
            Some(found) => {
                assert_eq!(moved.origin_of(found.ordinal).unwrap(), Some(((*name).to_owned(), row)));
            }
        }
    }
    assert_eq!(moved.origin_of(9_999).unwrap(), None);
}

#[test]
fn an_interrupted_fill_goes_on_and_bad_rows_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut faces = SyntheticFaces::new(D, 2);
    let vectors = MemoryVectors::new(D, faces.vectors(1_000));
    let model = model(folder.path(), &vectors);
    let path = folder.path().join("block");
    let block = begin(&path, &model);
    assert_eq!(fill(&block, "x", &vectors.values()[..300 * D]).unwrap(), 300);

    let listing = || {
        let mut names: Vec<_> =
            std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = listing();
    for (at, value, what) in [(700, f32::NAN, "finite"), (700, f32::INFINITY, "finite"), (999, 9.0, "length")]
    {
        let mut bad = vectors.values().to_vec();
        bad[at * D] = value;
        let error = fill(&block, "x", &bad).unwrap_err();
        let IndexError::Row { row, .. } = &error else { panic!("{error}") };
        assert_eq!(*row, at as u64);
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(block.vectors().unwrap(), 300);
        assert_eq!(listing(), before, "no file is left behind");
    }
    // The source breaks off in the middle, like a file on a network.
    let mut left = 20;
    let mut whole = rows(vectors.values(), 300);
    let mut breaks = |out: &mut Vec<f32>| {
        left -= 1;
        if left == 0 { Err("gone".into()) } else { whole(out) }
    };
    assert!(matches!(block.fill("x", 300, true, &mut breaks, &|_| {}), Err(IndexError::Exact(_))));
    assert_eq!((block.vectors().unwrap(), listing()), (300, before));
    drop(block);
    let block = FaceIndex::open_existing(&path, &config(), None).unwrap();
    assert_eq!(fill(&block, "x", vectors.values()).unwrap(), 700);
    assert_eq!(block.vectors().unwrap(), 1_000);
    let kept = block.kept_vectors().unwrap().unwrap();
    let found = block.nearest(vectors.values(), 1, 0.99, Some(16), &kept).unwrap();
    assert!(found.iter().enumerate().all(|(at, found)| found[0].ordinal == at as u64));

    // Files of vectors that are cut off are named.
    let file = listing().into_iter().find(|name| name.to_string_lossy().starts_with("vectors-")).unwrap();
    let whole = std::fs::read(path.join(&file)).unwrap();
    drop((kept, block));
    std::fs::write(path.join(&file), &whole[..whole.len() - 1]).unwrap();
    let block = FaceIndex::open_existing(&path, &config(), None).unwrap();
    assert!(matches!(block.kept_vectors(), Err(IndexError::Damaged { .. })));
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let vectors = MemoryVectors::new(D, SyntheticFaces::new(D, 3).vectors(400));
    let other = MemoryVectors::new(D, SyntheticFaces::new(D, 4).vectors(400));
    let (one, two) = (model(folder.path(), &vectors), model(folder.path(), &other));
    let at = |name: &str| folder.path().join(name);
    let (a, b) = (begin(&at("a"), &one), begin(&at("b"), &two));
    fill(&b, "b", other.values()).unwrap();
    assert!(matches!(a.merge(&[&b]), Err(IndexError::Mismatch { .. })), "another model");
    let again = FaceIndex::begin(&at("a"), D, Metric::Ip, None, &config());
    assert!(matches!(again, Err(IndexError::Exists(_))));
    assert!(matches!(FaceIndex::open_existing(at("none"), &config(), None), Err(IndexError::Missing(_))));
    assert!(!at("none").exists(), "looking makes no folder");
    assert!(matches!(FaceIndex::open_existing(folder.path(), &config(), None), Err(IndexError::Missing(_))));
    a.apply(1, &[(0, &vectors.values()[..D])], &[]).unwrap();
    let refused = fill(&a, "a", vectors.values());
    assert!(matches!(refused, Err(IndexError::FollowsStore(_))), "the index of a state");
    let mut out = Vec::new();
    assert!(a.kept_vectors().unwrap().is_none());
    b.kept_vectors().unwrap().unwrap().vectors(&[3, 1_000_000], &mut out).unwrap();
    assert_eq!(out.len(), 2 * D);
}
