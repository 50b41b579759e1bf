//! Searching the whole index: every segment and the live rows, as of one moment.
//!
//! Invariant: one batch of queries sees one state of the index. The live rows are searched under the read lock and the
//! segments with the tombstones of that same moment.

use crate::IndexError;
use crate::exact::{ExactVectors, Neighbour, Reach, check_vectors, read_exact, sort_neighbours};
use crate::index::FaceIndex;
use crate::ordinals::OrdinalSet;
use crate::rows::{Form, Part};
use crate::search::{Batch, Hit, sort_hits};

/// Queries that are worked on together: their probes fit in cache-sized buffers and readers hold the lock briefly.
const QUERY_BATCH: usize = 512;

impl FaceIndex {
    /// The `k` nearest of each query (row-major), nearest first, whose score reaches `min_score`. Scores are cosines:
    /// exact where the index keeps the vectors, otherwise estimated from the codes. `nprobe` overrides the configured
    /// number of lists to visit.
    ///
    /// # Errors
    /// As [`FaceIndex::apply`] for the queries.
    pub fn search(
        &self,
        queries: &[f32],
        k: usize,
        min_score: f32,
        nprobe: Option<usize>,
    ) -> Result<Vec<Vec<(u64, f32)>>, IndexError> {
        let hits =
            self.collect(queries, nprobe, |batch, part, gone, found| batch.nearest(part, k, gone, found))?;
        Ok(hits
            .into_iter()
            .map(|mut hits| {
                sort_hits(&mut hits);
                hits.truncate(k);
                hits.into_iter()
                    .filter(|hit| hit.score >= min_score)
                    .map(|hit| (hit.ordinal, hit.score))
                    .collect()
            })
            .collect())
    }

    /// The `k` nearest of each query by exact cosine, nearest first, of those at or above `min_cosine`: more candidates
    /// than `k` are taken from the index and compared with the exact vectors.
    ///
    /// # Errors
    /// As [`FaceIndex::search`]; [`IndexError::Exact`] if the store cannot be read.
    pub fn nearest(
        &self,
        queries: &[f32],
        k: usize,
        min_cosine: f32,
        nprobe: Option<usize>,
        exact: &dyn ExactVectors,
    ) -> Result<Vec<Vec<Neighbour>>, IndexError> {
        let wanted = k.saturating_mul(4).max(k.saturating_add(32));
        let hits = self
            .collect(queries, nprobe, |batch, part, gone, found| batch.nearest(part, wanted, gone, found))?;
        let cut = hits.into_iter().map(|mut hits| {
            sort_hits(&mut hits);
            hits.truncate(wanted);
            hits
        });
        let mut neighbours = self.compare(queries, cut.collect(), min_cosine, exact)?;
        neighbours.iter_mut().for_each(|found| found.truncate(k));
        Ok(neighbours)
    }

    /// Every stored face within `reach` of a query (row-major) by exact cosine, nearest first: candidates down to
    /// `candidate_margin` (or three standard deviations of the estimate) below where nothing may be missed, compared with
    /// the exact vectors. With exact search nothing is missed; with lists, what lies in lists that were not visited is.
    ///
    /// # Errors
    /// As [`FaceIndex::nearest`].
    pub fn find_neighbours(
        &self,
        queries: &[f32],
        reach: impl Into<Reach>,
        nprobe: Option<usize>,
        exact: &dyn ExactVectors,
    ) -> Result<Vec<Vec<Neighbour>>, IndexError> {
        let reach = reach.into();
        let hits = self.collect(queries, nprobe, |batch, part, gone, found| {
            let from = if matches!(part, Part::Flat { .. }) {
                reach.from
            } else {
                // Coarse codes estimate cosines with a larger error than the configured margin allows for.
                reach.candidates(self.config.candidate_margin.max(3.0 * batch.estimation_error()))
            };
            batch.within(part, from, gone, found)
        })?;
        self.compare(queries, hits, reach.from, exact)
    }

    /// The same without exact vectors: every stored face whose estimated cosine reaches `threshold`, nearest first.
    ///
    /// # Errors
    /// As [`FaceIndex::search`].
    pub fn search_range(
        &self,
        queries: &[f32],
        threshold: f32,
        nprobe: Option<usize>,
    ) -> Result<Vec<Vec<(u64, f32)>>, IndexError> {
        let hits = self.collect(queries, nprobe, |batch, part, gone, found| {
            batch.within(part, threshold, gone, found)
        })?;
        Ok(hits
            .into_iter()
            .map(|mut hits| {
                sort_hits(&mut hits);
                hits.into_iter().map(|hit| (hit.ordinal, hit.score)).collect()
            })
            .collect())
    }

    /// Runs a search over every part of one state of the index.
    fn collect(
        &self,
        queries: &[f32],
        nprobe: Option<usize>,
        search: impl Fn(&Batch<'_>, &Part<'_>, &OrdinalSet, &mut [Vec<Hit>]) -> Result<(), IndexError>,
    ) -> Result<Vec<Vec<Hit>>, IndexError> {
        let rows = check_vectors(self.dimension, queries)?;
        let mut all = Vec::with_capacity(rows);
        for queries in queries.chunks(QUERY_BATCH * self.dimension) {
            let mut found = vec![Vec::new(); queries.len() / self.dimension];
            loop {
                let form = self.read_state()?.form.clone();
                let nprobe = nprobe.filter(|n| *n > 0).unwrap_or_else(|| self.nprobe(&form));
                let batch = Batch::new(&form, self.config.metric, self.dimension, queries, nprobe)?;
                let state = self.read_state()?;
                if !state.form.same_as(&form) {
                    continue;
                }
                if let Some(part) = state.live.part() {
                    search(&batch, &part, &state.gone, &mut found)?;
                }
                let (sealed, frozen, gone) = (state.sealed.clone(), state.frozen.clone(), state.gone.clone());
                drop(state);
                for part in
                    frozen.iter().filter_map(|rows| rows.part()).chain(sealed.iter().map(|s| s.part()))
                {
                    search(&batch, &part, &gone, &mut found)?;
                }
                break;
            }
            all.append(&mut found);
        }
        Ok(all)
    }

    /// The number of lists a query visits when nobody says otherwise.
    pub(crate) fn nprobe(&self, form: &Form) -> usize {
        match form.model() {
            Some(model) if self.config.nprobe == 0 => model.tuned_nprobe(self.config.recall_target),
            _ => self.config.nprobe.max(1),
        }
    }

    /// Replaces estimates by exact cosines and keeps what reaches the threshold.
    fn compare(
        &self,
        queries: &[f32],
        hits: Vec<Vec<Hit>>,
        threshold: f32,
        exact: &dyn ExactVectors,
    ) -> Result<Vec<Vec<Neighbour>>, IndexError> {
        /// Vectors read at once: 8 MB at 512 dimensions.
        const READ: usize = 4096;
        let mut neighbours: Vec<Vec<Neighbour>> = Vec::with_capacity(hits.len());
        let mut open: Vec<(u64, u32)> = Vec::new();
        for (query, hits) in hits.into_iter().enumerate() {
            let mut done = Vec::new();
            for hit in hits {
                match hit.exact {
                    Some(cosine) if cosine.get() >= threshold => {
                        done.push(Neighbour { ordinal: hit.ordinal, cosine });
                    }
                    Some(_) => {}
                    None => open.push((hit.ordinal, query as u32)),
                }
            }
            neighbours.push(done);
        }
        open.sort_unstable();
        open.dedup();
        let mut vectors = Vec::new();
        let mut rest = open.as_slice();
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
            let mut row = 0;
            for (ordinal, query) in pairs {
                while ordinals[row] != *ordinal {
                    row += 1;
                }
                let query = *query as usize;
                let d = self.dimension;
                let vector = &vectors[row * d..(row + 1) * d];
                let cosine = records::Cosine::of(&queries[query * d..(query + 1) * d], vector);
                let there = vector.iter().any(|value| *value != 0.0);
                if there && cosine.get() >= threshold {
                    neighbours[query].push(Neighbour { ordinal: *ordinal, cosine });
                }
            }
        }
        neighbours.iter_mut().for_each(sort_neighbours);
        Ok(neighbours)
    }
}
