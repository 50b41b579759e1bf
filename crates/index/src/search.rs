//! Searching one part of the index (a segment or the live rows) for a batch of queries.

use records::Cosine;

use crate::model::Calibration;
use crate::native::{self, Probes};
use crate::ordinals::OrdinalSet;
use crate::rows::{Form, Part};
use crate::{IndexError, Metric};

/// What a search found in one part.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Hit {
    /// The stored face.
    pub ordinal: u64,
    /// Cosine estimated from the raw score, or the exact one.
    pub score: f32,
    /// The exact cosine where the part holds the vectors themselves.
    pub exact: Option<Cosine>,
}

/// Greatest first; equal ones in the order of their ordinals.
pub fn sort_hits(hits: &mut [Hit]) {
    hits.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.ordinal.cmp(&b.ordinal)));
}

/// A batch of queries with all that is computed once for every part.
pub struct Batch<'a> {
    dimension: usize,
    metric: Metric,
    queries: &'a [f32],
    rows: usize,
    calibration: Calibration,
    transformed: Vec<f32>,
    nprobe: usize,
    lists: Vec<i64>,
    scores: Vec<f32>,
}

/// Exact scores of FAISS and of [`Cosine::of`] differ by rounding; candidates are taken this much earlier.
pub const ROUNDING: f32 = 1e-4;

impl<'a> Batch<'a> {
    /// Finds the lists to visit, if the form has lists.
    pub fn new(
        form: &Form,
        metric: Metric,
        dimension: usize,
        queries: &'a [f32],
        nprobe: usize,
    ) -> Result<Self, IndexError> {
        let mut batch = Self {
            dimension,
            metric,
            queries,
            rows: queries.len() / dimension,
            calibration: form.model().map_or(Calibration::exact(metric), |model| model.facts.calibration),
            transformed: Vec::new(),
            nprobe: 1,
            lists: Vec::new(),
            scores: Vec::new(),
        };
        match form {
            Form::Flat => {}
            Form::Lists(model) => {
                batch.nprobe = nprobe.clamp(1, model.lists().max(1));
                batch.transformed = model.native.transformed(queries)?;
                (batch.lists, batch.scores) = model.coarse.best_lists(&batch.transformed, batch.nprobe)?;
            }
            Form::Opaque(model) => batch.nprobe = nprobe.clamp(1, model.lists().max(1)),
        }
        Ok(batch)
    }

    /// Standard deviation of estimated cosines from exact ones.
    pub fn estimation_error(&self) -> f32 {
        self.calibration.error
    }

    fn probes(&self) -> Probes<'_> {
        Probes { nprobe: self.nprobe, lists: &self.lists, scores: &self.scores }
    }

    fn estimated(&self, ordinal: u64, raw: f32) -> Hit {
        let score = self.calibration.cosine(Part::oriented(self.metric, raw));
        Hit { ordinal, score, exact: None }
    }

    fn exact(&self, query: usize, ordinal: u64, vector: &[f32]) -> Hit {
        let d = self.dimension;
        let cosine = Cosine::of(&self.queries[query * d..(query + 1) * d], vector);
        Hit { ordinal, score: cosine.get(), exact: Some(cosine) }
    }

    /// Adds to `found` (one list a query) the `k` nearest of the part, in no order.
    pub fn nearest(
        &self,
        part: &Part<'_>,
        k: usize,
        gone: &OrdinalSet,
        found: &mut [Vec<Hit>],
    ) -> Result<(), IndexError> {
        match part {
            Part::Lists(view) => {
                let k = k.min(view.total()).max(1);
                let (ids, raws) = view.search_lists(&self.transformed, k, &self.probes(), gone)?;
                for (query, (ids, raws)) in ids.chunks_exact(k).zip(raws.chunks_exact(k)).enumerate() {
                    let hits = ids.iter().zip(raws).filter(|(id, _)| **id >= 0);
                    found[query].extend(hits.map(|(id, raw)| self.estimated(*id as u64, *raw)));
                }
            }
            Part::Flat { ordinals, vectors } => {
                let search = |k| native::flat_search(self.metric, self.dimension, self.queries, vectors, k);
                let rows = enough(ordinals, k, gone, self.rows, search)?;
                for (query, rows) in rows.into_iter().enumerate() {
                    let d = self.dimension;
                    found[query].extend(
                        rows.into_iter().map(|(row, _)| {
                            self.exact(query, ordinals[row], &vectors[row * d..(row + 1) * d])
                        }),
                    );
                }
            }
            Part::Opaque { index, ordinals } => {
                let search = |k| index.search(self.queries, k, self.nprobe);
                let rows = enough(ordinals, k, gone, self.rows, search)?;
                for (query, rows) in rows.into_iter().enumerate() {
                    found[query]
                        .extend(rows.into_iter().map(|(row, raw)| self.estimated(ordinals[row], raw)));
                }
            }
        }
        Ok(())
    }

    /// Adds to `found` everything of the part whose estimated cosine reaches `threshold`, in no order.
    pub fn within(
        &self,
        part: &Part<'_>,
        threshold: f32,
        gone: &OrdinalSet,
        found: &mut [Vec<Hit>],
    ) -> Result<(), IndexError> {
        let raw = self.calibration.raw(threshold - ROUNDING);
        match part {
            Part::Lists(view) => {
                let hits = view.range_lists(&self.transformed, self.radius(raw), &self.probes(), gone)?;
                for (query, found) in found.iter_mut().enumerate() {
                    let (ids, raws) = hits.of(query);
                    found.extend(ids.iter().zip(raws).map(|(id, raw)| self.estimated(*id as u64, *raw)));
                }
            }
            Part::Flat { ordinals, vectors } => {
                let hits =
                    native::flat_range(self.metric, self.dimension, self.queries, vectors, self.radius(raw))?;
                let d = self.dimension;
                for (query, found) in found.iter_mut().enumerate() {
                    let rows = hits.of(query).0.iter().map(|row| *row as usize);
                    let kept = rows.filter(|row| !gone.contains(ordinals[*row]));
                    let hits =
                        kept.map(|row| self.exact(query, ordinals[row], &vectors[row * d..(row + 1) * d]));
                    found.extend(hits.filter(|hit| hit.score >= threshold));
                }
            }
            Part::Opaque { index, ordinals } => {
                let mut k = 64.min(ordinals.len());
                loop {
                    let (ids, raws) = index.search(self.queries, k, self.nprobe)?;
                    let reaches =
                        |raw: f32| self.calibration.cosine(Part::oriented(self.metric, raw)) >= threshold;
                    let cut = ids.chunks_exact(k).zip(raws.chunks_exact(k)).any(|(ids, raws)| {
                        ids.last().is_some_and(|id| *id >= 0) && raws.last().is_some_and(|raw| reaches(*raw))
                    });
                    if cut && k < ordinals.len() {
                        k = (k * 4).min(ordinals.len());
                        continue;
                    }
                    for (query, (ids, raws)) in ids.chunks_exact(k).zip(raws.chunks_exact(k)).enumerate() {
                        let known = ids
                            .iter()
                            .zip(raws)
                            .filter_map(|(id, raw)| Some((*ordinals.get(usize::try_from(*id).ok()?)?, *raw)));
                        let kept = known.filter(|(ordinal, raw)| reaches(*raw) && !gone.contains(*ordinal));
                        found[query].extend(kept.map(|(ordinal, raw)| self.estimated(ordinal, raw)));
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    /// FAISS's radius for a raw score: below it for L2, above it for inner product.
    fn radius(&self, raw: f32) -> f32 {
        Part::oriented(self.metric, raw)
    }
}

type RowHits = Vec<Vec<(usize, f32)>>;

/// Asks a search that knows no tombstones for more and more, until `k` of each query are left or nothing more is there.
fn enough(
    ordinals: &[u64],
    k: usize,
    gone: &OrdinalSet,
    queries: usize,
    search: impl Fn(usize) -> Result<(Vec<i64>, Vec<f32>), IndexError>,
) -> Result<RowHits, IndexError> {
    let total = ordinals.len();
    // A few more than asked for: equal scores are told apart by their exact cosine and ordinal afterwards.
    let mut wanted = (k + 8).min(total);
    loop {
        let (ids, raws) = search(wanted)?;
        let mut short = false;
        let found = (0..queries)
            .map(|query| {
                let range = query * wanted..(query + 1) * wanted;
                let known = ids[range.clone()].iter().zip(&raws[range.clone()]).filter_map(|(id, raw)| {
                    let row = usize::try_from(*id).ok().filter(|row| *row < total)?;
                    Some((row, *raw))
                });
                let kept: Vec<_> = known.filter(|(row, _)| !gone.contains(ordinals[*row])).collect();
                short |= kept.len() < k && ids[range].last().is_some_and(|id| *id >= 0);
                kept
            })
            .collect();
        if !short || wanted == total {
            return Ok(found);
        }
        wanted = (wanted * 4).min(total);
    }
}
