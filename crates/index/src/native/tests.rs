//! What comes back from the C++ side, and what never gets there.

use super::lists::Kernel;
use super::*;
use crate::ordinals::OrdinalSet;

#[test]
fn faiss_errors_come_back_as_errors() {
    assert!(matches!(Native::from_factory("Nonsense9", 64, Metric::Ip), Err(IndexError::Factory { .. })));
    assert!(matches!(Native::from_factory("IVF16,PQ7", 64, Metric::Ip), Err(IndexError::Factory { .. })));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign");
    std::fs::write(&path, b"this is no index at all").unwrap();
    assert!(Native::read(&path).is_err());
    assert!(Native::read_bytes(b"IxF").is_err());
}

#[test]
fn list_numbers_are_checked_before_faiss_sees_them() {
    let mut index = Native::from_factory("IVF4,Flat", 8, Metric::Ip).unwrap();
    index.set_centroids(&[0.5; 32]).unwrap();
    let x = [0.35; 8];
    for list in [-1, 4] {
        assert!(matches!(index.encode(&x, &[list]), Err(IndexError::Coarse(_))));
        assert!(matches!(index.add_codes(&[1], &[list], &[0; 32]), Err(IndexError::Coarse(_))));
    }
    assert!(index.encode(&x, &[0, 1]).is_err(), "two lists for one vector");
    let probes = Probes { nprobe: 1, lists: &[4], scores: &[0.0] };
    assert!(index.search_lists(&x, 1, &probes, &OrdinalSet::default()).is_err());
}

#[test]
fn openblas_is_linked() {
    assert!(blas().is_some_and(|text| text.contains("OpenBLAS")), "reference BLAS is 14 times slower");
}

/// Faces in the lists of `factory`, every third of them gone, and queries near some of them with all the lists they visit.
fn searched(
    factory: &str,
    metric: Metric,
    check: impl Fn(&Native, &[f32], &Probes<'_>, &OrdinalSet) -> Result<(), IndexError>,
) {
    const D: usize = 48;
    let mut faces = crate::synthetic::SyntheticFaces::new(D, 5);
    let vectors = faces.vectors(2_000);
    let mut index = Native::from_factory(factory, D, metric).unwrap();
    index.prepare(1, 5).unwrap();
    index.train_coarse(&vectors).unwrap();
    index.train_codes(&vectors).unwrap();
    let index = std::sync::Arc::new(index);
    let mut view = index.view().unwrap();
    let (lists, _) = index.coarse(&vectors, 1).unwrap();
    let codes = index.encode(&vectors, &lists).unwrap();
    let ids: Vec<i64> = (0..2_000).map(|id| id * 40).collect();
    view.add_codes(&ids, &lists, &codes).unwrap();
    let queries: Vec<f32> =
        (0..30).flat_map(|at| faces.near(&vectors[at * 50 * D..(at * 50 + 1) * D], 0.9)).collect();
    let (visited, scores) = index.coarse(&queries, 5).unwrap();
    let probes = Probes { nprobe: 5, lists: &visited, scores: &scores };
    let mut gone = OrdinalSet::default();
    for nothing_gone in [true, false] {
        if !nothing_gone {
            for id in ids.iter().step_by(3) {
                gone.insert(*id as u64);
            }
        }
        check(&view, &queries, &probes, &gone).unwrap();
    }
}

const KINDS: [(&str, Metric); 4] = [
    ("IVF8,PQ16np", Metric::Ip),
    ("IVF8,PQ16np", Metric::L2),
    // Parts that do not fill whole words, and codes that only FAISS reads.
    ("IVF8,PQ12np", Metric::Ip),
    ("IVF8,PQ16x4np", Metric::Ip),
];

#[test]
fn codes_are_scanned_as_faiss_does() {
    for (factory, metric) in KINDS {
        searched(factory, metric, |view, queries, probes, gone| {
            let (ids, scores) = view.search_lists_by(Kernel::Ours, queries, 10, probes, gone)?;
            let (theirs, expected) = view.search_lists_by(Kernel::Faiss, queries, 10, probes, gone)?;
            assert!(scores.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-3), "{factory}");
            let same = ids.iter().zip(&theirs).filter(|(a, b)| a == b).count();
            assert!(
                same * 50 >= ids.len() * 49,
                "{factory}: only neighbours in a tie may change places, {same}"
            );
            assert!(ids.iter().all(|id| *id < 0 || !gone.contains(*id as u64)), "{factory}");
            Ok(())
        });
    }
}

#[test]
fn a_radius_finds_what_faiss_finds() {
    for (factory, metric) in KINDS {
        let radius = if metric == Metric::Ip { 0.4 } else { 1.2 };
        searched(factory, metric, |view, queries, probes, gone| {
            let hits = view.range_lists_by(Kernel::Ours, queries, radius, probes, gone)?;
            let expected = view.range_lists_by(Kernel::Faiss, queries, radius, probes, gone)?;
            let sorted = |(ids, scores): (&[i64], &[f32])| {
                let mut rows: Vec<(i64, f32)> = ids.iter().copied().zip(scores.iter().copied()).collect();
                rows.sort_by_key(|row| row.0);
                // What lies on the edge may fall to either side.
                rows.retain(|row| (row.1 - radius).abs() > 1e-3);
                rows
            };
            let mut all = 0;
            for query in 0..30 {
                let (ours, theirs) = (sorted(hits.of(query)), sorted(expected.of(query)));
                let ids = |rows: &[(i64, f32)]| rows.iter().map(|row| row.0).collect::<Vec<_>>();
                assert_eq!(ids(&ours), ids(&theirs), "{factory}");
                assert!(ours.iter().zip(&theirs).all(|(a, b)| (a.1 - b.1).abs() < 1e-3), "{factory}");
                all += ours.len();
            }
            assert!(all > 30, "{factory}: {all} found in all");
            Ok(())
        });
    }
}
