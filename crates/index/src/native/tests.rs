//! What comes back from the C++ side, and what never gets there.

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
