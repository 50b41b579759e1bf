//! The near neighbours of a batch's new faces, as links.
//!
//! Invariants:
//! - A link's cosine is the exact one of the fp16 vectors as the store keeps them, so it does not depend on which of
//!   the two faces came first, nor on the kind of index.
//! - Faces that are too poor to link (small, blurred, turned away) are searchable but never an end of a link.

use std::collections::BTreeMap;

use anyhow::Context;
use half::f16;
use half::slice::HalfFloatSliceExt;
use index::FaceIndex;
use rayon::prelude::*;
use records::{Cosine, FaceKey, FaceLink, FaceOrdinal, Pdq, PhotoRelation};
use store::{NewFace, Reader, Store};

/// Links kept for one new face, nearest first. A face on more pictures than this is so popular that further links would
/// tell nothing new, and would grow with the square of its pictures.
pub(super) const MOST_LINKS: usize = 512;

/// The hashes that tell whether two faces come from one photo.
#[derive(Clone, Copy, Default)]
pub(super) struct Hashes {
    photo: (Option<Pdq>, Option<Pdq>),
    face: (Option<Pdq>, Option<Pdq>),
}

/// A new face that may link, with its vector as it will be stored.
struct Query {
    key: FaceKey,
    ordinal: FaceOrdinal,
    vector: Vec<f32>,
    hashes: Hashes,
}

/// Links between the new faces and the committed ones, and among the new faces.
pub fn links(
    new: &[NewFace],
    reader: &Reader,
    index: &FaceIndex,
    floor: f32,
) -> anyhow::Result<Vec<FaceLink>> {
    let queries: Vec<Query> = new.iter().filter(|face| face.linkable).map(Query::new).collect();
    let Some(first) = queries.first() else { return Ok(Vec::new()) };
    let mut flat = Vec::with_capacity(queries.len() * first.vector.len());
    queries.iter().for_each(|query| flat.extend_from_slice(&query.vector));
    let found = index
        .find_neighbours(&flat, floor, None, &StoredVectors::new(reader, index.dimension()))
        .context("the neighbours of new faces cannot be searched")?;

    // By pair, so that two faces of one batch that find each other twice are one link.
    let mut links = BTreeMap::new();
    let mut keep = |link: Option<FaceLink>| {
        if let Some(link) = link {
            links.insert((link.newer, link.older), link);
        }
    };
    for (query, neighbours) in queries.iter().zip(found) {
        for neighbour in neighbours.into_iter().take(MOST_LINKS) {
            let other = FaceOrdinal(neighbour.ordinal);
            if let Some((key, hashes)) = committed_face(reader, other)?
                && key.photo != query.key.photo
            {
                keep(link((query.ordinal, other), neighbour.cosine, (&query.hashes, &hashes)));
            }
        }
    }
    for link in among(&queries, floor) {
        keep(Some(link));
    }
    Ok(links.into_values().collect())
}

impl Query {
    fn new(face: &NewFace) -> Self {
        let vector = stored_form(face.embedding.as_slice());
        Self { key: face.key, ordinal: face.ordinal, vector, hashes: Hashes::of(face) }
    }
}

impl Hashes {
    /// Those of a new face.
    pub(super) fn of(face: &NewFace) -> Self {
        Self { photo: (face.photo_pdq, face.photo_pdq_mirrored), face: (face.pdq, face.pdq_mirrored) }
    }
}

/// The vector as it is read back from the store: rounded to fp16.
pub fn stored_form(vector: &[f32]) -> Vec<f32> {
    let mut halves = vec![f16::ZERO; vector.len()];
    halves.convert_from_f32_slice(vector);
    let mut rounded = vec![0.0; vector.len()];
    halves.convert_to_f32_slice(&mut rounded);
    rounded
}

/// A committed face that may link; `None` if it is gone or too poor.
pub(super) fn committed_face(
    reader: &Reader,
    ordinal: FaceOrdinal,
) -> anyhow::Result<Option<(FaceKey, Hashes)>> {
    let Some(face) = reader.numbered(ordinal)?.filter(|face| face.linkable) else { return Ok(None) };
    Ok(Some((face.key, Hashes { photo: face.photo_pdq, face: face.pdq })))
}

/// Every pair of one batch at or above the floor.
fn among(queries: &[Query], floor: f32) -> Vec<FaceLink> {
    let rows = queries.par_iter().enumerate().flat_map_iter(|(at, one)| {
        queries[at + 1..].iter().filter_map(move |other| {
            // The quick sum decides who is looked at; the exact one is what is kept.
            let rough: f32 = one.vector.iter().zip(&other.vector).map(|(x, y)| x * y).sum();
            // Two faces of a picture are two people.
            if rough < floor - 1e-3 || one.key.photo == other.key.photo {
                return None;
            }
            let cosine = Cosine::of(&one.vector, &other.vector);
            if cosine.get() < floor {
                return None;
            }
            link((one.ordinal, other.ordinal), cosine, (&one.hashes, &other.hashes))
        })
    });
    rows.collect()
}

/// The link of two faces, by their numbers.
pub(super) fn link(
    (one, other): (FaceOrdinal, FaceOrdinal),
    cosine: Cosine,
    (hashes, others): (&Hashes, &Hashes),
) -> Option<FaceLink> {
    FaceLink::new(one, other, cosine, relation(hashes, others))
}

/// How alike the two pictures themselves are.
fn relation(one: &Hashes, other: &Hashes) -> PhotoRelation {
    let photo = closer(one.photo, other.photo);
    let face = closer(one.face, other.face);
    // Which of the comparisons was the closest says whether the picture was mirrored.
    let closest = [photo, face].into_iter().flatten().min();
    PhotoRelation {
        pdq_distance: photo.map(|(distance, _)| distance),
        crop_distance: face.map(|(distance, _)| distance),
        mirrored: closest.is_some_and(|(_, mirrored)| mirrored),
    }
}

/// The smaller distance of direct and mirrored comparison, and whether it was the mirrored one.
fn closer(one: (Option<Pdq>, Option<Pdq>), other: (Option<Pdq>, Option<Pdq>)) -> Option<(u16, bool)> {
    let distance = |a: Option<Pdq>, b: Option<Pdq>| match (a, b) {
        (Some(a), Some(b)) if a.is_usable() && b.is_usable() => Some(a.distance(&b)),
        _ => None,
    };
    let direct = distance(one.0, other.0).map(|d| (d, false));
    // Both ways round, so that the pair has one answer whichever face came first.
    let mirrored = [distance(one.0, other.1), distance(one.1, other.0)].into_iter().flatten().min();
    direct.into_iter().chain(mirrored.map(|d| (d, true))).min()
}

/// The store's vectors, for the index's exact re-ranking.
pub struct StoredVectors<'a> {
    reader: &'a Reader,
    dimension: usize,
}

impl<'a> StoredVectors<'a> {
    /// Vectors of this state, of the index's dimension.
    pub fn new(reader: &'a Reader, dimension: usize) -> Self {
        Self { reader, dimension }
    }
}

impl index::ExactVectors for StoredVectors<'_> {
    fn vectors(
        &self,
        ordinals: &[u64],
        out: &mut Vec<f32>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        // Enough for one thread: less is not worth waking others.
        const EACH: usize = 64;
        out.clear();
        out.resize(ordinals.len() * self.dimension, 0.0);
        out.par_chunks_mut(EACH * self.dimension).zip(ordinals.par_chunks(EACH)).try_for_each(
            |(rows, ordinals)| {
                for (row, ordinal) in rows.chunks_exact_mut(self.dimension).zip(ordinals) {
                    match self.reader.vector_of(FaceOrdinal(*ordinal))? {
                        Some(vector) if vector.len() == row.len() => row.copy_from_slice(&vector),
                        _ => {}
                    }
                }
                Ok(())
            },
        )
    }
}

/// The same of whatever state is the newest when they are asked for: for work that goes on while faces are added.
pub struct CurrentVectors {
    store: Store,
    dimension: usize,
}

impl CurrentVectors {
    /// Vectors of the index's dimension.
    pub fn new(store: &Store, dimension: usize) -> Self {
        Self { store: store.clone(), dimension }
    }
}

impl index::ExactVectors for CurrentVectors {
    fn vectors(
        &self,
        ordinals: &[u64],
        out: &mut Vec<f32>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        StoredVectors::new(&self.store.reader(), self.dimension).vectors(ordinals, out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use records::{Embedding, PhotoKey};

    use super::*;

    fn pdq(fill: u8) -> Option<Pdq> {
        Some(Pdq { bits: [fill; 32], quality: 90 })
    }

    #[test]
    fn a_mirrored_copy_is_recognised_from_either_side() {
        let original = Hashes { photo: (pdq(0), pdq(0xff)), face: (None, None) };
        let copy = Hashes { photo: (pdq(0xff), pdq(0)), face: (None, None) };
        for (a, b) in [(&original, &copy), (&copy, &original)] {
            let relation = relation(a, b);
            assert_eq!((relation.pdq_distance, relation.mirrored), (Some(0), true));
        }
        let same = relation(&original, &original);
        assert_eq!((same.pdq_distance, same.mirrored, same.crop_distance), (Some(0), false, None));
    }

    #[test]
    fn hashes_of_flat_pictures_say_nothing() {
        let flat = Hashes { photo: (Some(Pdq { bits: [0; 32], quality: 10 }), None), face: (None, None) };
        assert_eq!(relation(&flat, &flat).pdq_distance, None);
    }

    proptest! {
        /// The quick filter loses no pair that the exact cosine would keep.
        #[test]
        fn pairs_of_a_batch_equal_brute_force(
            vectors in prop::collection::vec(prop::collection::vec(-1f32..1.0, 16), 2..20),
            floor in -0.2f32..0.9,
        ) {
            let queries: Vec<Query> = vectors
                .iter()
                .enumerate()
                .filter_map(|(at, values)| {
                    let embedding = Embedding::normalised(values).ok()?;
                    let key = FaceKey::new(PhotoKey::of_bytes(&at.to_le_bytes()), &embedding);
                    let vector = stored_form(embedding.as_slice());
                    Some(Query { key, ordinal: FaceOrdinal(at as u64), vector, hashes: Hashes::default() })
                })
                .collect();
            let mut expected = Vec::new();
            for (at, a) in queries.iter().enumerate() {
                for b in &queries[at + 1..] {
                    let cosine = Cosine::of(&a.vector, &b.vector);
                    if cosine.get() >= floor {
                        expected.push((b.ordinal, a.ordinal, cosine));
                    }
                }
            }
            let mut found: Vec<_> = among(&queries, floor).into_iter().map(|l| (l.newer, l.older, l.cosine)).collect();
            found.sort_by_key(|l| (l.0, l.1));
            expected.sort_by_key(|l| (l.0, l.1));
            prop_assert_eq!(found, expected);
        }
    }
}
