//! Comparing the vectors of a block with one part of the index, and exactly with what came of it.

use rayon::prelude::*;
use records::Cosine;

use crate::bulk::Block;
use crate::coarse::dot;
use crate::exact::{ExactVectors, Neighbour, Reach, read_exact, sort_neighbours};
use crate::index::FaceIndex;
use crate::model::Calibration;
use crate::native::{Bytes, Native, Pairs, Visits, bulk_flat};
use crate::ordinals::OrdinalSet;
use crate::rows::Form;
use crate::search::{Hit, ROUNDING};
use crate::{IndexError, Metric};

/// Vectors that must visit a list on average: decoding a code costs as much as that many walks over it by tables.
const VISITS: usize = 3;
/// Lists that one thread compares before it takes the next.
const LISTS_AT_ONCE: usize = 64;
/// Vectors that one thread compares before it takes the next.
const ROWS_AT_ONCE: usize = 2048;
/// How far a quick sum may be from the exact one.
const QUICK: f32 = 1e-3;
/// Exact vectors read at once: 16 MB at 512 dimensions.
const READ: usize = 8192;

/// The place of a row that does not ask.
const NOWHERE: u32 = u32::MAX;

/// Who asks, and from which score on.
pub struct Scan<'a> {
    dimension: usize,
    metric: Metric,
    form: &'a Form,
    vectors: &'a [f32],
    /// The vectors as the lists see them.
    transformed: std::borrow::Cow<'a, [f32]>,
    /// The same in 8 bits, where that is quicker.
    bytes: Option<Bytes>,
    asking: &'a [u32],
    /// Row of a vector -> its place in `asking`, or [`NOWHERE`].
    places: Vec<u32>,
    threshold: f32,
    /// The raw score above which a face is a candidate.
    radius: f32,
    calibration: Calibration,
}

/// Rows by the list that they visit: those of list `l` are `queries[starts[l]..starts[l + 1]]`.
pub struct ByList {
    starts: Vec<u64>,
    queries: Vec<u32>,
}

impl<'a> Scan<'a> {
    /// For some rows of `vectors`.
    pub fn new(
        index: &FaceIndex,
        form: &'a Form,
        vectors: &'a [f32],
        asking: &'a [u32],
        reach: Reach,
    ) -> Result<Self, IndexError> {
        let calibration =
            form.model().map_or(Calibration::exact(index.config.metric), |model| model.facts.calibration);
        let transformed = match form {
            Form::Lists(model) => model.native.transformed_cow(vectors)?,
            Form::Flat | Form::Opaque(_) => vectors.into(),
        };
        // As in a search one by one: coarse codes err by more than the configured margin allows for.
        let margin = index.config.candidate_margin.max(3.0 * calibration.error);
        let radius = calibration.raw(reach.candidates(margin) - ROUNDING);
        let bytes = match form {
            Form::Lists(model) => model.native.bytes(&transformed, radius)?,
            Form::Flat | Form::Opaque(_) => None,
        };
        let mut places = vec![NOWHERE; vectors.len() / index.dimension];
        for (row, place) in asking.iter().zip(0..) {
            if let Some(at) = places.get_mut(*row as usize) {
                *at = place;
            }
        }
        Ok(Self {
            bytes,
            dimension: index.dimension,
            metric: index.config.metric,
            form,
            vectors,
            transformed,
            asking,
            places,
            threshold: reach.from,
            radius,
            calibration,
        })
    }

    /// Whether a block of this form can be compared list by list, and enough vectors visit a list (`nprobe` lists
    /// each) to make up for decoding it.
    pub fn fits(&self, nprobe: usize) -> bool {
        self.metric == Metric::Ip
            && match self.form {
                Form::Flat => true,
                Form::Lists(model) => {
                    model.native.fits_bulk() && self.asking.len() * nprobe >= VISITS * model.lists()
                }
                Form::Opaque(_) => false,
            }
    }

    /// The asking vectors, one after the other.
    pub fn asking_vectors(&self) -> Vec<f32> {
        self.asking.iter().flat_map(|row| self.row(*row as usize)).copied().collect()
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.vectors[row * self.dimension..(row + 1) * self.dimension]
    }

    /// Turns "each vector visits these lists" (`nprobe` a vector, -1 pads) round.
    pub fn visits(&self, visits: &[i64], nprobe: usize) -> ByList {
        let lists = self.form.model().map_or(0, |model| model.lists());
        let of = |row: &u32| {
            let row = *row as usize;
            let all = visits.get(row * nprobe..(row + 1) * nprobe).unwrap_or_default();
            all.iter().filter_map(|list| usize::try_from(*list).ok()).filter(|list| *list < lists)
        };
        let mut starts = vec![0u64; lists + 1];
        self.asking.iter().flat_map(of).for_each(|list| starts[list + 1] += 1);
        for list in 0..lists {
            starts[list + 1] += starts[list];
        }
        let mut next = starts.clone();
        let mut queries = vec![0; starts.last().map_or(0, |end| *end as usize)];
        for row in self.asking {
            for list in of(row) {
                queries[next[list] as usize] = *row;
                next[list] += 1;
            }
        }
        ByList { starts, queries }
    }

    /// The place in `asking` of a row that asks.
    fn place(&self, row: u32) -> Option<usize> {
        self.places.get(row as usize).filter(|place| **place != NOWHERE).map(|place| *place as usize)
    }

    /// Puts pairs where they belong.
    fn keep(&self, pairs: Vec<Pairs>, hits: &mut [Vec<Hit>], hit: impl Fn(u64, u32, f32) -> Option<Hit>) {
        for pair in pairs.iter().flat_map(|pairs| pairs.as_slice()) {
            if let (Some(place), Some(hit)) = (self.place(pair.query), hit(pair.id, pair.query, pair.score)) {
                hits[place].push(hit);
            }
        }
    }

    /// The exact cosine, if it reaches the threshold. A quick sum decides who is looked at.
    fn judge(&self, a: &[f32], b: &[f32]) -> Option<Cosine> {
        if dot(a, b) < self.threshold - QUICK {
            return None;
        }
        Some(Cosine::of(a, b)).filter(|cosine| cosine.get() >= self.threshold)
    }

    /// Exact cosines in the place of estimates; what reaches the threshold, nearest first.
    pub fn compare(
        &self,
        hits: Vec<Vec<Hit>>,
        block: &Block,
        exact: &dyn ExactVectors,
    ) -> Result<Vec<Vec<Neighbour>>, IndexError> {
        let mut found: Vec<Vec<Neighbour>> = vec![Vec::new(); hits.len()];
        // (ordinal, place) of what has to be read from the store, and pairs of the block, each once.
        let mut open: Vec<(u64, u32)> = Vec::new();
        let mut own: Vec<(u32, u32)> = Vec::new();
        for ((place, hits), row) in hits.into_iter().enumerate().zip(self.asking) {
            for Hit { ordinal, exact, .. } in hits {
                match (exact, block.row(ordinal)) {
                    (Some(cosine), _) => found[place].push(Neighbour { ordinal, cosine }),
                    (None, Some(other)) => own.push((other.min(*row), other.max(*row))),
                    (None, None) => open.push((ordinal, place as u32)),
                }
            }
        }
        own.par_sort_unstable();
        own.dedup();
        let judged: Vec<(u32, u32, Cosine)> = own
            .par_iter()
            .filter_map(|(a, b)| Some((*a, *b, self.judge(self.row(*a as usize), self.row(*b as usize))?)))
            .collect();
        for (a, b, cosine) in judged {
            for (row, other) in [(a, b), (b, a)] {
                if let Some(place) = self.place(row) {
                    found[place].push(Neighbour { ordinal: block.ordinal(other), cosine });
                }
            }
        }
        open.par_sort_unstable();
        open.dedup();
        let (mut vectors, mut rest) = (Vec::new(), open.as_slice());
        while !rest.is_empty() {
            // Cut where the ordinal changes, so that each vector is read once.
            let mut end = rest.len().min(READ);
            while end < rest.len() && rest[end].0 == rest[end - 1].0 {
                end += 1;
            }
            let (pairs, later) = rest.split_at(end);
            rest = later;
            let mut ordinals: Vec<u64> = pairs.iter().map(|(ordinal, _)| *ordinal).collect();
            ordinals.dedup();
            read_exact(exact, self.dimension, &ordinals, &mut vectors)?;
            let kept: Vec<(u32, Neighbour)> = pairs
                .par_iter()
                .filter_map(|(ordinal, place)| {
                    let at = ordinals.binary_search(ordinal).ok()? * self.dimension;
                    let vector = &vectors[at..at + self.dimension];
                    // One that is all zero is no longer there.
                    vector.iter().find(|value| **value != 0.0)?;
                    let cosine = self.judge(self.row(self.asking[*place as usize] as usize), vector)?;
                    Some((*place, Neighbour { ordinal: *ordinal, cosine }))
                })
                .collect();
            for (place, neighbour) in kept {
                found[place as usize].push(neighbour);
            }
        }
        found.par_iter_mut().for_each(sort_neighbours);
        Ok(found)
    }
}

/// Adds what some lists hold above the threshold.
pub fn list_part(
    scan: &Scan<'_>,
    view: &Native,
    visits: &ByList,
    gone: &OrdinalSet,
    hits: &mut [Vec<Hit>],
) -> Result<(), IndexError> {
    let lists = visits.starts.len().saturating_sub(1);
    let pairs: Vec<Pairs> = (0..lists.div_ceil(LISTS_AT_ONCE))
        .into_par_iter()
        .map(|chunk| {
            let (first, last) = (chunk * LISTS_AT_ONCE, ((chunk + 1) * LISTS_AT_ONCE).min(lists));
            let (from, to) = (visits.starts[first], visits.starts[last]);
            let starts: Vec<u64> = visits.starts[first..=last].iter().map(|at| at - from).collect();
            let queries = &visits.queries[from as usize..to as usize];
            view.bulk_lists(
                &scan.transformed,
                scan.bytes.as_ref(),
                &Visits { first, starts: &starts, queries },
                scan.radius,
            )
        })
        .collect::<Result<_, _>>()?;
    scan.keep(pairs, hits, |ordinal, _, raw| {
        let estimate = || Hit { ordinal, score: scan.calibration.cosine(raw), exact: None };
        (!gone.contains(ordinal)).then(estimate)
    });
    Ok(())
}

/// Adds what some exact vectors hold at or above the threshold.
pub fn flat_part(
    scan: &Scan<'_>,
    ordinals: &[u64],
    vectors: &[f32],
    gone: &OrdinalSet,
    hits: &mut [Vec<Hit>],
) -> Result<(), IndexError> {
    let d = scan.dimension;
    let radius = scan.threshold - ROUNDING;
    let pairs: Vec<Vec<(u32, Hit)>> = vectors
        .par_chunks(ROWS_AT_ONCE * d)
        .enumerate()
        .map(|(chunk, vectors)| {
            let ordinals = &ordinals[chunk * ROWS_AT_ONCE..];
            let pairs = bulk_flat(d, scan.vectors, scan.asking, vectors, radius)?;
            let exact = pairs.as_slice().iter().filter_map(|pair| {
                let (row, ordinal) = (pair.id as usize, ordinals[pair.id as usize]);
                let cosine = scan.judge(scan.row(pair.query as usize), &vectors[row * d..(row + 1) * d])?;
                let hit = Hit { ordinal, score: cosine.get(), exact: Some(cosine) };
                (!gone.contains(ordinal)).then_some((pair.query, hit))
            });
            Ok(exact.collect())
        })
        .collect::<Result<_, IndexError>>()?;
    for (query, hit) in pairs.into_iter().flatten() {
        if let Some(place) = scan.place(query) {
            hits[place].push(hit);
        }
    }
    Ok(())
}
