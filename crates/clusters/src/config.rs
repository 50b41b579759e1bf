//! Settings of the detector.
//!
//! Only what an operator may have a reason to move is here; the weights of the signals stand beside the signals, and
//! `docs/detection.md` explains both.

use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::score::SIGNALS;

/// Section `clusters` of the configuration.
#[derive(Deserialize, Serialize, Clone, PartialEq, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct ClustersConfig {
    /// Clusters scored below this are not written, 0 to 1.
    pub min_score: f64,
    /// Accounts scored below this are not made members of a written cluster, 0 to 1.
    pub min_member_score: f64,
    /// Fewest members of a cluster, at least 2.
    pub min_accounts: usize,
    /// Strangers that a query may meet at or above tau(N), on average.
    pub false_neighbours: f64,
    /// Greatest PDQ distance of two pictures, or of two aligned faces, that are copies of one photo, 0 to 256.
    pub pdq_distance: u16,
    /// Least cosine of the faces in two pictures that PDQ calls copies, -1 to 1.
    pub copy_cosine: f32,
    /// Owners up to which a photo links each owner with each; above, only neighbours in time are linked.
    pub pair_cap: usize,
    /// Owners outside any creation burst from which a photo is generic: it links only accounts that share another one too.
    pub generic_owners: usize,
    /// Owners from which a photo is examined for mass re-use in a creation burst.
    pub mass_owners: usize,
    /// Two parts of a cluster fall apart when links between them are rarer than this share of the links inside, 0 to 1.
    pub split_below: f64,
    /// Runs of community detection with different seeds; accounts stay together that are together in most runs.
    pub seeds: u32,
    /// Maps the sum of the signals to a probability.
    pub calibration: Calibration,
    /// Signals left out of every score, by name; `victims` takes away the search for likely owners.
    pub without: Vec<String>,
    /// New clusters from which on a signal is quarantined that suddenly decides more than half of them; 0: never.
    pub quarantine_from: usize,
    /// Signals that are never quarantined, because an analyst looked at what they found.
    pub released: Vec<String>,
}

impl Default for ClustersConfig {
    fn default() -> Self {
        Self {
            min_score: 0.8,
            min_member_score: 0.5,
            min_accounts: 3,
            false_neighbours: 0.01,
            pdq_distance: 31,
            copy_cosine: 0.7,
            pair_cap: 40,
            generic_owners: 60,
            mass_owners: 20,
            split_below: 0.15,
            seeds: 5,
            calibration: Calibration::default(),
            without: Vec::new(),
            quarantine_from: 10,
            released: Vec::new(),
        }
    }
}

impl ClustersConfig {
    /// Every problem at once, as `(key, what is wrong and what is allowed)`.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut unless = |fine: bool, key: &str, allowed: &str| {
            if !fine {
                problems.push((key.to_owned(), format!("must be {allowed}")));
            }
        };
        let share = |value: f64| (0.0..=1.0).contains(&value);
        unless(share(self.min_score), "min_score", "between 0 and 1");
        unless(share(self.min_member_score), "min_member_score", "between 0 and 1");
        unless(self.min_accounts >= 2, "min_accounts", "at least 2");
        unless(
            self.false_neighbours > 0.0 && self.false_neighbours <= 1.0,
            "false_neighbours",
            "above 0 and at most 1",
        );
        unless(self.pdq_distance <= 256, "pdq_distance", "between 0 and 256");
        unless((-1.0..=1.0).contains(&self.copy_cosine), "copy_cosine", "between -1 and 1");
        unless((4..=1000).contains(&self.pair_cap), "pair_cap", "between 4 and 1000");
        unless(self.generic_owners >= 8, "generic_owners", "at least 8");
        unless(self.mass_owners >= 10, "mass_owners", "at least 10");
        unless(self.split_below > 0.0 && self.split_below < 1.0, "split_below", "above 0 and below 1");
        unless((1..=100).contains(&self.seeds), "seeds", "between 1 and 100");
        unless(
            self.calibration.scale > 0.0 && self.calibration.scale.is_finite(),
            "calibration.scale",
            "a finite number above 0",
        );
        unless(self.calibration.offset.is_finite(), "calibration.offset", "a finite number");
        let known = |names: &[String]| names.iter().all(|n| SIGNALS.contains(&n.as_str()));
        let signals = format!("names of signals: {}", SIGNALS.join(", "));
        unless(known(&self.without), "without", &signals);
        unless(known(&self.released), "released", &signals);
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_every_problem() {
        assert!(ClustersConfig::default().problems().is_empty());
        let broken = ClustersConfig { min_score: 1.5, seeds: 0, split_below: f64::NAN, ..Default::default() };
        let keys: Vec<String> = broken.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["min_score", "split_below", "seeds"]);
    }
}
