//! What searching an index is worth: queries a second and recall against exact search, by nprobe and by likeness.
//!
//! Queries are made from stored vectors: `q = c * x + sqrt(1 - c^2) * u`, where `u` is a sum of many other stored vectors
//! with random signs, made orthogonal to `x` and normalised: a direction that occurs among faces, but no face of its own, which
//! would be nearer to `q` than `x` at small cosines. Exact search reads every stored vector once, in blocks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::exact::{ExactVectors, drop_missing, read_exact};
use crate::files::write_durably;
use crate::index::FaceIndex;
use crate::measure::{CARD_COSINES, at_cosine};
use crate::native;
use crate::{IndexError, Metric};

/// Vectors compared exactly at once.
const BLOCK: usize = 16_384;
/// The card's file in the folder of an index.
const FILE: &str = "measured.json";
/// A timed search is repeated until it took this long in all, and the best round counts.
const LEAST_SECONDS: f64 = 0.5;
const MOST_ROUNDS: usize = 5;
/// Stored vectors of which the direction of a query is a sum.
const MIXED: usize = 32;

/// How a search is measured.
#[derive(Clone, PartialEq, Debug)]
pub struct SearchParams {
    /// Queries of each cosine.
    pub queries: usize,
    /// Results a query where queries a second are measured.
    pub k: usize,
    /// Numbers of visited lists; those above the number of lists are left out, the shipped one is added.
    pub nprobes: Vec<usize>,
    /// Seed of the choice of queries.
    pub seed: u64,
}

impl Default for SearchParams {
    fn default() -> Self {
        Self { queries: 1000, k: 10, nprobes: vec![1, 4, 16, 64, 256], seed: 1 }
    }
}

/// What a search is worth, measured on the index itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SearchCard {
    /// Vectors in the index when it was measured.
    pub vectors: u64,
    /// Queries of each cosine.
    pub queries: usize,
    /// Lists visited when nobody says otherwise.
    pub nprobe: usize,
    /// Recall@1 of copies at that number of lists.
    pub recall_at_nprobe: f64,
    /// Queries a second by nprobe, without re-ranking.
    pub search_qps: BTreeMap<usize, f64>,
    /// Share of queries at cosine .9 (or the given ones) whose nearest stored vector, as exact search finds it, comes
    /// first after exact re-ranking, by nprobe.
    pub recall_at_1: BTreeMap<usize, f64>,
    /// The same without re-ranking.
    pub raw_recall_at_1: BTreeMap<usize, f64>,
    /// Recall@1 after re-ranking by cosine of query and copy, then by nprobe.
    pub curve: BTreeMap<String, BTreeMap<usize, f64>>,
}

/// Queries with the stored vector that is nearest to each.
struct Asked {
    cosine: Option<f32>,
    queries: Vec<f32>,
    truth: Vec<u64>,
}

impl FaceIndex {
    /// Measures searching and stores the card with the index. `given` are queries to use instead of made ones.
    ///
    /// # Errors
    /// As [`FaceIndex::nearest`].
    pub fn measure_search(
        &self,
        exact: &dyn ExactVectors,
        given: Option<&[f32]>,
        params: &SearchParams,
    ) -> Result<SearchCard, IndexError> {
        let asked = match given {
            Some(queries) => {
                let truth = self.exact_nearest(exact, queries)?;
                vec![Asked { cosine: None, queries: queries.to_vec(), truth }]
            }
            None => self.made_queries(exact, params)?,
        };
        let info = self.info()?;
        let mut nprobes: Vec<usize> = match info.lists {
            0 => vec![1],
            lists => params.nprobes.iter().copied().filter(|nprobe| *nprobe <= lists).collect(),
        };
        nprobes.push(info.nprobe);
        nprobes.sort_unstable();
        nprobes.dedup();
        let mut card = SearchCard {
            vectors: info.vectors,
            queries: asked.first().map_or(0, |asked| asked.truth.len()),
            nprobe: info.nprobe,
            recall_at_nprobe: 0.0,
            search_qps: BTreeMap::new(),
            recall_at_1: BTreeMap::new(),
            raw_recall_at_1: BTreeMap::new(),
            curve: BTreeMap::new(),
        };
        for (at, asked) in asked.iter().enumerate() {
            for nprobe in &nprobes {
                let found = self.nearest(&asked.queries, 1, -1.0, Some(*nprobe), exact)?;
                let right = share(found.iter().map(|f| f.first().map(|n| n.ordinal)), &asked.truth);
                if let Some(cosine) = asked.cosine {
                    card.curve.entry(format!("{cosine}")).or_default().insert(*nprobe, right);
                }
                if at > 0 {
                    continue;
                }
                card.recall_at_1.insert(*nprobe, right);
                let (found, seconds) = self.timed(&asked.queries, params.k, *nprobe)?;
                card.search_qps.insert(*nprobe, asked.truth.len() as f64 / seconds);
                let raw = share(found.iter().map(|f| f.first().map(|hit| hit.0)), &asked.truth);
                card.raw_recall_at_1.insert(*nprobe, raw);
            }
        }
        card.recall_at_nprobe = card.recall_at_1.get(&card.nprobe).copied().unwrap_or(0.0);
        self.save_card(&card)?;
        Ok(card)
    }

    /// Results, and the seconds of the quickest round.
    #[expect(clippy::type_complexity, reason = "what a search gives, and a time")]
    fn timed(
        &self,
        queries: &[f32],
        k: usize,
        nprobe: usize,
    ) -> Result<(Vec<Vec<(u64, f32)>>, f64), IndexError> {
        let (mut best, mut whole) = (f64::INFINITY, 0.0);
        let mut found = Vec::new();
        for _ in 0..MOST_ROUNDS {
            let start = Instant::now();
            found = self.search(queries, k, -1.0, Some(nprobe))?;
            let seconds = start.elapsed().as_secs_f64();
            (best, whole) = (best.min(seconds), whole + seconds);
            if whole >= LEAST_SECONDS {
                break;
            }
        }
        Ok((found, best.max(1e-9)))
    }

    fn made_queries(
        &self,
        exact: &dyn ExactVectors,
        params: &SearchParams,
    ) -> Result<Vec<Asked>, IndexError> {
        let d = self.dimension();
        let mut ordinals = self.sample(params.queries.max(MIXED) as u64, params.seed)?;
        let mut vectors = Vec::new();
        read_exact(exact, d, &ordinals, &mut vectors)?;
        drop_missing(d, &mut ordinals, &mut vectors);
        let rows = ordinals.len();
        let row = |at: usize| &vectors[at * d..(at + 1) * d];
        let mut rng = ChaCha8Rng::seed_from_u64(params.seed);
        let mut towards = vec![0.0f32; rows.min(params.queries) * d];
        for sum in towards.chunks_exact_mut(d) {
            for _ in 0..MIXED {
                let sign = if rng.random::<bool>() { 1.0 } else { -1.0 };
                let other = row(rng.random_range(0..rows));
                sum.iter_mut().zip(other).for_each(|(sum, value)| *sum += sign * value);
            }
        }
        let mut asked = Vec::new();
        let mut all = Vec::new();
        for cosine in CARD_COSINES {
            let pairs = towards.chunks_exact(d).enumerate();
            let queries: Vec<f32> =
                pairs.filter_map(|(at, towards)| at_cosine(row(at), towards, cosine)).flatten().collect();
            all.extend_from_slice(&queries);
            asked.push(Asked { cosine: Some(cosine), queries, truth: Vec::new() });
        }
        let mut truth = self.exact_nearest(exact, &all)?.into_iter();
        for asked in &mut asked {
            asked.truth = truth.by_ref().take(asked.queries.len() / d).collect();
        }
        Ok(asked)
    }

    /// The nearest stored vector of each query by comparison with all of them.
    fn exact_nearest(&self, exact: &dyn ExactVectors, queries: &[f32]) -> Result<Vec<u64>, IndexError> {
        let d = self.dimension();
        let (sealed, frozen, gone, live) = {
            let state = self.read_state()?;
            let live = state.live.part().map_or(Ok(Vec::new()), |part| part.ordinals())?;
            (state.sealed.clone(), state.frozen.clone(), state.gone.clone(), live)
        };
        let mut best = vec![(f32::NEG_INFINITY, u64::MAX); queries.len() / d];
        let (mut block, mut vectors) = (Vec::with_capacity(BLOCK), Vec::new());
        let mut compare = |block: &mut Vec<u64>| {
            read_exact(exact, d, block, &mut vectors)?;
            drop_missing(d, block, &mut vectors);
            if !block.is_empty() {
                // Unit vectors: the order by inner product is the order by distance.
                let (rows, scores) = native::flat_search(Metric::Ip, d, queries, &vectors, 1)?;
                for (best, (row, score)) in best.iter_mut().zip(rows.into_iter().zip(scores)) {
                    if let Some(ordinal) = usize::try_from(row).ok().and_then(|row| block.get(row))
                        && score > best.0
                    {
                        *best = (score, *ordinal);
                    }
                }
            }
            block.clear();
            Ok(())
        };
        let mut take = |ordinal: u64| {
            if !gone.contains(ordinal) {
                block.push(ordinal);
            }
            if block.len() == BLOCK { compare(&mut block) } else { Ok(()) }
        };
        let parts = frozen.iter().filter_map(|rows| rows.part());
        for part in parts.chain(sealed.iter().map(|segment| segment.part())) {
            part.for_each_ordinal(&mut take)?;
        }
        live.into_iter().try_for_each(&mut take)?;
        compare(&mut block)?;
        Ok(best.into_iter().map(|(_, ordinal)| ordinal).collect())
    }

    fn card_file(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    fn save_card(&self, card: &SearchCard) -> Result<(), IndexError> {
        let path = self.card_file();
        let json =
            serde_json::to_vec_pretty(card).map_err(|error| IndexError::damaged(&path, error.to_string()))?;
        write_durably(&path, |writer| {
            std::io::Write::write_all(writer, &json).map_err(IndexError::io("writing", &path))
        })
    }

    /// The card of the last measurement; `None` if there was none or it cannot be read, which harms nothing.
    pub(crate) fn saved_card(&self) -> Option<SearchCard> {
        serde_json::from_slice(&std::fs::read(self.card_file()).ok()?).ok()
    }
}

/// The share of answers that are the true one.
fn share(found: impl Iterator<Item = Option<u64>>, truth: &[u64]) -> f64 {
    let right = found.zip(truth).filter(|(found, truth)| *found == Some(**truth)).count();
    right as f64 / truth.len().max(1) as f64
}
