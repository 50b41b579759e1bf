//! The 8-bit coarse assignment in ONNX Runtime against exact search over the centroids.
// Helpers outside test functions may fail the test too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use index::{FaceIndex, IndexConfig, MemoryVectors, SyntheticFaces, TrainParams, compare_assigners, train};
use inference::{InferenceConfig, Runtime};

fn runtime() -> Option<Runtime> {
    match Runtime::start(&InferenceConfig::default()) {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}

#[test]
fn agrees_with_exact_search() {
    let Some(runtime) = runtime() else { return };
    // Not a multiple of the chunk width, so that chunks differ in size.
    let compared = compare_assigners(&runtime, 10_001, 512, 512, 1).unwrap();
    eprintln!("{compared:?}");
    assert!(compared.agreement_new >= 0.98, "{compared:?}");
    assert!(compared.agreement_near >= 0.999, "{compared:?}");
    assert!(compared.probe_recall >= 0.97, "{compared:?}");
}

/// The form for GPUs runs on a processor too, only slowly; so its lists can be compared anywhere.
#[test]
fn half_precision_agrees_with_exact_search() {
    let Some(runtime) = runtime() else { return };
    let mut faces = SyntheticFaces::new(64, 1);
    let centroids = faces.vectors(20_000);
    let queries = faces.vectors(300);
    let agreement = index::half_precision_agreement(&runtime, 64, &centroids, &queries).unwrap();
    assert!(agreement >= 0.999, "{agreement}");
}

/// Given embeddings are compared among centroids drawn with their own covariance.
#[test]
fn agrees_on_given_embeddings() {
    let Some(runtime) = runtime() else { return };
    let embeddings = SyntheticFaces::new(128, 5).vectors(400);
    let compared = index::compare_on(&runtime, 20_000, 128, &embeddings, 1).unwrap();
    assert_eq!((compared.new, compared.dim), (400, 128));
    assert!(compared.agreement_new >= 0.98, "{compared:?}");
    assert!((20.0..80.0).contains(&compared.spread_over), "{compared:?}");
}

#[test]
fn an_index_with_many_lists_uses_it() {
    let Some(runtime) = runtime() else { return };
    let folder = tempfile::tempdir().unwrap();
    let d = 32;
    let mut faces = SyntheticFaces::new(d, 1);
    let vectors = MemoryVectors::new(d, faces.vectors(20_000));
    let ordinals: Vec<u64> = (0..20_000).collect();
    let params = TrainParams { factory: "IVF16384,Flat".into(), iterations: 2, ..TrainParams::default() };
    let model = train(&vectors, &ordinals, d, &params, &folder.path().join("model"), &|_| {}).unwrap();
    assert!(model.facts().warning.is_some(), "one vector a list is few");
    let config = IndexConfig { factory: params.factory, nprobe: 64, threads: 1, ..IndexConfig::default() };
    let index = FaceIndex::open_with(folder.path(), d, &config, Some(&runtime)).unwrap();
    index.rebuild(Some(std::sync::Arc::new(model)), None, &|_| {}).unwrap();
    assert_eq!(index.info().unwrap().assigner, Some("onnx"));
    let rows: Vec<(u64, &[f32])> =
        vectors.values().chunks_exact(d).enumerate().map(|(i, v)| (i as u64, v)).collect();
    index.add(&rows).unwrap();
    let queries: Vec<f32> =
        vectors.values().chunks_exact(d).take(300).flat_map(|v| faces.near(v, 0.97)).collect();
    let hits = index.search(&queries, 1, 0.9, None).unwrap();
    let right =
        hits.iter().enumerate().filter(|(at, h)| h.first().is_some_and(|h| h.0 == *at as u64)).count();
    assert!(right >= 297, "{right} of 300");
    // The same index without the runtime finds the same: the assignment is no part of the files.
    index.seal().unwrap();
    drop(index);
    let index = FaceIndex::open(folder.path(), d, &config).unwrap();
    assert_eq!(index.info().unwrap().assigner, Some("faiss"));
    let again = index.search(&queries, 1, 0.9, None).unwrap();
    assert!(again.iter().zip(&hits).filter(|(a, b)| a == b).count() >= 297);
}
