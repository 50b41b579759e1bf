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
use index::{FaceIndex, Neighbour, Reach};
use rayon::prelude::*;
use records::{Cosine, FaceKey, FaceLink, FaceOrdinal, Pdq, PhotoRelation};
use store::{NewFace, Reader, Store};

use super::vector_cache::VectorCache;

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
    cache: &VectorCache,
    reach: Reach,
) -> anyhow::Result<Vec<FaceLink>> {
    let queries: Vec<Query> = new.iter().filter(|face| face.linkable).map(Query::new).collect();
    let Some(first) = queries.first() else { return Ok(Vec::new()) };
    let mut flat = Vec::with_capacity(queries.len() * first.vector.len());
    queries.iter().for_each(|query| flat.extend_from_slice(&query.vector));
    let found = index
        .find_neighbours(&flat, reach, None, &StoredVectors::cached(reader, index.dimension(), cache))
        .context("the neighbours of new faces cannot be searched")?;

    // By pair, so that two faces of one batch that find each other twice are one link.
    let mut links = BTreeMap::new();
    let mut keep = |link: Option<FaceLink>| {
        if let Some(link) = link {
            links.insert((link.newer, link.older), link);
        }
    };
    let nearest = |neighbours: &'_ Vec<Neighbour>| neighbours.len().min(MOST_LINKS);
    let named = found.iter().flat_map(|all| &all[..nearest(all)]).map(|neighbour| neighbour.ordinal);
    let committed = CommittedFaces::read(reader, named.collect())?;
    for (query, neighbours) in queries.iter().zip(&found) {
        for neighbour in &neighbours[..nearest(neighbours)] {
            let other = FaceOrdinal(neighbour.ordinal);
            if let Some((key, hashes)) = committed.get(other)
                && key.photo != query.key.photo
            {
                keep(link((query.ordinal, other), neighbour.cosine, (&query.hashes, hashes)));
            }
        }
    }
    for link in among(&queries, reach.from) {
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

/// Committed faces, each read once, however many new ones found it.
pub(super) struct CommittedFaces {
    ordinals: Vec<u64>,
    faces: Vec<Option<(FaceKey, Hashes)>>,
}

impl CommittedFaces {
    /// Reads the faces with these ordinals, which may repeat.
    pub fn read(reader: &Reader, mut ordinals: Vec<u64>) -> anyhow::Result<Self> {
        ordinals.par_sort_unstable();
        ordinals.dedup();
        let one = |ordinal: &u64| {
            let face = reader.numbered(FaceOrdinal(*ordinal))?.filter(|face| face.linkable);
            Ok(face.map(|face| (face.key, Hashes { photo: face.photo_pdq, face: face.pdq })))
        };
        let faces = ordinals.par_iter().map(one).collect::<anyhow::Result<_>>()?;
        Ok(Self { ordinals, faces })
    }

    /// One that may link; `None` if it is gone or too poor.
    pub fn get(&self, ordinal: FaceOrdinal) -> Option<&(FaceKey, Hashes)> {
        self.faces[self.ordinals.binary_search(&ordinal.0).ok()?].as_ref()
    }
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
    cache: Option<&'a VectorCache>,
}

impl<'a> StoredVectors<'a> {
    /// Vectors of this state, of the index's dimension.
    pub fn new(reader: &'a Reader, dimension: usize) -> Self {
        Self { reader, dimension, cache: None }
    }

    /// The same, with a cache before them.
    pub fn cached(reader: &'a Reader, dimension: usize, cache: &'a VectorCache) -> Self {
        Self { reader, dimension, cache: Some(cache) }
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
                    let face = FaceOrdinal(*ordinal);
                    match self.cache {
                        Some(cache) => cache.read(self.reader, face, row)?,
                        None => drop(self.reader.read_vector(face, row)?),
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
