//! Mapped segments against segments read list by list.

use super::*;
use crate::exact::MemoryVectors;
use crate::rows::Rows;
use crate::search::Batch;
use crate::train::{TrainParams, train};
use crate::{Metric, SyntheticFaces};

#[test]
fn lists_read_one_by_one_are_the_mapped_ones() {
    const D: usize = 24;
    let folder = tempfile::tempdir().unwrap();
    let vectors = MemoryVectors::new(D, SyntheticFaces::new(D, 1).vectors(500));
    let ordinals: Vec<u64> = (0..500).collect();
    let params = TrainParams { factory: "IVF8,SQ4".into(), ..TrainParams::default() };
    let model = train(&vectors, &ordinals, D, &params, folder.path(), &|_| {}).unwrap();
    let form = Form::of(Arc::new(model));
    let mut rows = Rows::new(&form).unwrap();
    rows.push(&ordinals, vectors.values(), &form.prepare(vectors.values()).unwrap()).unwrap();
    let path = folder.path().join("x.seg");
    let mut gone = OrdinalSet::default();
    [3, 77, 400].into_iter().for_each(|ordinal| assert!(gone.insert(ordinal)));
    let none = OrdinalSet::default();
    let source = Source { part: rows.part().unwrap(), gone: &none, offset: 0 };
    Segment::write(&path, &form, D, &[source]).unwrap();

    let mapped = Segment::open(&path, &form, D).unwrap();
    let read = Segment::open_unmapped(&path, &form, D).unwrap();
    assert!(mapped.file.is_some() && read.file.is_none());
    assert_eq!(mapped.part().ordinals().unwrap(), read.part().ordinals().unwrap());
    let batch = Batch::new(&form, Metric::Ip, D, vectors.values(), 4).unwrap();
    let search = |segment: &Segment| {
        let (mut near, mut within) = (vec![Vec::new(); 500], vec![Vec::new(); 500]);
        batch.nearest(&segment.part(), 5, &gone, &mut near).unwrap();
        batch.within(&segment.part(), 0.5, &gone, &mut within).unwrap();
        within.iter_mut().for_each(|hits| crate::search::sort_hits(hits));
        (near, within)
    };
    let (a, b) = (search(&mapped), search(&read));
    assert_eq!(a, b);
    assert!(a.0.iter().flatten().count() > 2_000 && a.0.iter().flatten().all(|hit| hit.ordinal != 77));
    // Sealing reads lists the same way.
    let again = folder.path().join("y.seg");
    let source = Source { part: read.part(), gone: &none, offset: 0 };
    Segment::write(&again, &form, D, &[source]).unwrap();
    assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&path).unwrap());

    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 8]).unwrap();
    assert!(matches!(Segment::open_unmapped(&path, &form, D), Err(IndexError::Damaged { .. })));
    // A list that is cut off after opening is told, not invented.
    let part = read.part();
    let mut found = vec![Vec::new(); 500];
    let batch = Batch::new(&form, Metric::Ip, D, vectors.values(), 8).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(400).unwrap();
    assert!(matches!(batch.nearest(&part, 5, &gone, &mut found), Err(IndexError::Faiss { .. })));
}
