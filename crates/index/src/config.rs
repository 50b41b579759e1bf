//! The section `[index]` of the configuration.

use serde::{Deserialize, Serialize};

use crate::factory::Factory;

/// How alike two vectors are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Inner product; on unit vectors the cosine.
    #[default]
    Ip,
    /// Squared Euclidean distance; on unit vectors `2 - 2 * cosine`.
    L2,
}

impl Metric {
    /// As it stands in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::L2 => "l2",
        }
    }
}

/// What the index is made of and how it works.
#[derive(Deserialize, Serialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct IndexConfig {
    /// `auto` (exact while small, then IVF-PQ of a fitting size) or any FAISS factory string. One that needs training
    /// starts exact and is promoted when there are enough vectors.
    pub factory: String,
    /// `ip` or `l2`.
    pub metric: Metric,
    /// Lists visited a query; 0 takes the number tuned to `recall_target`.
    pub nprobe: usize,
    /// Share of copies (cosine .9) whose list must be among the visited ones, 0 to 1. What is found in the end is a
    /// little less, since codes may hide a neighbour from the exact comparison.
    pub recall_target: f32,
    /// With `auto`, exact search up to this many vectors.
    pub exact_until: u64,
    /// The live segment is written to disk at this many vectors. It is rebuilt from the store's log when the index is
    /// opened, so this bounds that time.
    pub seal_at: u64,
    /// Segments are merged when there are more than this.
    pub segments: usize,
    /// Segments are rewritten when more than this share of their vectors is deleted, 0 to 1.
    pub deleted_share: f32,
    /// Threads for FAISS; 0 takes one for each core.
    pub threads: usize,
    /// Lowest cosine of two faces that is kept as a link; what it means is decided when clusters are made.
    pub link_floor: f32,
    /// How far below a threshold candidates are taken before they are compared exactly.
    pub candidate_margin: f32,
    /// From this many lists the coarse centroids are trained in two levels.
    pub two_level_from: usize,
    /// Seed of the training.
    pub seed: u64,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self {
            factory: "auto".into(),
            metric: Metric::Ip,
            nprobe: 0,
            recall_target: 0.97,
            exact_until: 200_000,
            seal_at: 100_000,
            segments: 16,
            deleted_share: 0.1,
            threads: 0,
            link_floor: 0.35,
            candidate_margin: 0.1,
            two_level_from: 16_384,
            seed: 1,
        }
    }
}

impl IndexConfig {
    /// Everything that is wrong, as (key, what is wrong and what is allowed).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, text: String| problems.push((key.to_owned(), text));
        if let Err(reason) = Factory::parse(&self.factory) {
            wrong("factory", reason);
        }
        for (key, value) in [("recall_target", self.recall_target), ("deleted_share", self.deleted_share)] {
            if !(value > 0.0 && value <= 1.0) {
                wrong(key, format!("{value} is not above 0 and at most 1"));
            }
        }
        if !(-1.0..1.0).contains(&self.link_floor) {
            wrong("link_floor", format!("{} is no cosine; it must lie in -1..1", self.link_floor));
        }
        if !(0.0..=1.0).contains(&self.candidate_margin) {
            wrong("candidate_margin", format!("{} does not lie in 0..=1", self.candidate_margin));
        }
        if self.seal_at == 0 {
            wrong("seal_at", "must be at least 1".into());
        }
        if self.segments < 2 {
            wrong("segments", format!("{} is too few; it must be at least 2", self.segments));
        }
        if self.threads > 1024 {
            wrong("threads", format!("{} is too many; 0 takes one for each core", self.threads));
        }
        if self.two_level_from < 4 {
            wrong("two_level_from", "must be at least 4".into());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_every_problem_at_once() {
        assert_eq!(IndexConfig::default().problems(), []);
        let bad = IndexConfig {
            factory: " ".into(),
            recall_target: 0.0,
            link_floor: 2.0,
            seal_at: 0,
            ..Default::default()
        };
        let keys: Vec<_> = bad.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["factory", "recall_target", "link_floor", "seal_at"]);
    }
}
