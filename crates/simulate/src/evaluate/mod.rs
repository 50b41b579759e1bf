//! Clusters against the truth. `docs/evaluation.md` defines every figure.
//!
//! Invariants: a figure never depends on the order of rows or on the names of clusters and rings; honest accounts that
//! nobody accused enter nothing but the false-accusation rate.

mod figures;
mod partition;
mod read;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use serde::Serialize;

use crate::SimulateError;
use crate::truth::{Standing, TrueAccount, Truth};
use figures::{calibration_error, harmonic, share, wilson_interval};
use partition::{Item, Overlaps};

pub use read::{Clusters, read_clusters};

/// An account accused of being part of a cluster: a row of `members.parquet` with the role `member`.
#[derive(Clone, PartialEq, Debug)]
pub struct AccusedAccount {
    /// The cluster.
    pub cluster_id: String,
    /// The account.
    pub account_id: String,
    /// Probability that the account is part of the network, 0 to 1; NaN if not given.
    pub score: f64,
}

/// How many of what an evaluation saw.
#[derive(Clone, Serialize, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accounts in the truth.
    pub accounts: usize,
    /// Bots among them.
    pub bots: usize,
    /// Victims among them.
    pub victims: usize,
    /// Honest accounts among them, victims included.
    pub honest: usize,
    /// Rings with at least two bots.
    pub rings: usize,
    /// Clusters with at least one accused account.
    pub clusters: usize,
    /// Accused accounts.
    pub accused: usize,
    /// Accused accounts that the truth does not name; taken as honest, in the rates as well.
    pub accused_unknown: usize,
}

/// False accusations among one kind of honest account.
#[derive(Clone, Serialize, Debug, Default, PartialEq)]
pub struct KindOfHonest {
    /// Honest accounts of the kind.
    pub accounts: usize,
    /// Accused ones.
    pub accused: usize,
    /// `accused / accounts`.
    pub rate: f64,
}

/// Recall among one kind of bot.
#[derive(Clone, Serialize, Debug, Default, PartialEq)]
pub struct KindOfBot {
    /// Bots of the kind.
    pub accounts: usize,
    /// Accused ones.
    pub accused: usize,
    /// `accused / accounts`.
    pub recall: f64,
}

/// Every figure of `facering evaluate`; `docs/evaluation.md` defines them.
#[derive(Clone, Serialize, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Pairs of one cluster that are of one ring, among pairs of one cluster.
    pub pairwise_p: f64,
    /// Pairs of one ring that are in one cluster, among pairs of one ring.
    pub pairwise_r: f64,
    /// Harmonic mean of the two.
    pub pairwise_f: f64,
    /// BCubed precision over bots and accused accounts.
    pub bcubed_p: f64,
    /// BCubed recall over bots and accused accounts.
    pub bcubed_r: f64,
    /// Harmonic mean of the two.
    pub bcubed_f: f64,
    /// Accused bots among bots.
    pub account_recall: f64,
    /// Rings of which one cluster holds at least half and which are more than half of it.
    pub ring_recall: f64,
    /// Accused honest accounts among honest accounts.
    pub false_accusation: f64,
    /// Its 95% Wilson interval.
    pub false_accusation_ci: [f64; 2],
    /// Accused honest accounts.
    pub falsely_accused: usize,
    /// Accused accounts that are of the ring most common in their cluster, among accused accounts.
    pub purity: f64,
    /// Accused accounts in the largest cluster.
    pub largest_cluster: usize,
    /// Accused victims.
    pub victims_accused: usize,
    /// Expected calibration error of the clusters' scores in ten bins; none if no cluster has a score.
    pub calibration_error: Option<f64>,
    /// The same of the members' scores, asked whether the account is a bot.
    pub member_calibration_error: Option<f64>,
    /// False accusations by kind of honest account.
    pub by_kind: BTreeMap<String, KindOfHonest>,
    /// Recall by kind of bot.
    pub bots_by_kind: BTreeMap<String, KindOfBot>,
    /// How many of what.
    pub counts: Counts,
}

/// Name of the kind where the truth tells none.
fn kind_of(truth: &TrueAccount, standing: Standing) -> String {
    truth.kind.clone().unwrap_or_else(|| {
        let word = match standing {
            Standing::Bot => "bot",
            Standing::Victim => "victim",
            Standing::Honest => "honest",
        };
        word.to_owned()
    })
}

/// Compares clusters with the truth. `scores` are those of the clusters, by cluster id; a cluster without one or with
/// NaN takes no part in the calibration error.
///
/// # Errors
/// [`SimulateError::Twice`] if an account is accused twice, which the contract of `members.parquet` forbids.
pub fn evaluate(
    accused: &[AccusedAccount],
    scores: &HashMap<String, f64>,
    truth: &Truth,
) -> Result<Evaluation, SimulateError> {
    let mut seen = HashSet::new();
    if let Some(twice) = accused.iter().find(|row| !seen.insert(row.account_id.as_str())) {
        return Err(SimulateError::Twice { account: twice.account_id.clone(), table: "members" });
    }
    let unknown = TrueAccount::default();
    let clusters: HashMap<&str, &str> =
        accused.iter().map(|row| (row.account_id.as_str(), row.cluster_id.as_str())).collect();

    let mut evaluation = Evaluation::default();
    let counts = &mut evaluation.counts;
    counts.accounts = truth.0.len();
    counts.accused = accused.len();
    let strangers = accused.iter().filter(|row| !truth.0.contains_key(&row.account_id));
    let strangers: Vec<(&str, &TrueAccount)> =
        strangers.map(|row| (row.account_id.as_str(), &unknown)).collect();
    counts.accused_unknown = strangers.len();

    // Bots and accused accounts; everybody else only counts in the rates.
    let mut items: Vec<Item<'_>> = Vec::new();
    let known = truth.0.iter().map(|(account, facts)| (account.as_str(), facts));
    for (account, facts) in known.chain(strangers) {
        let standing = facts.standing();
        let cluster = clusters.get(account).copied();
        let caught = usize::from(cluster.is_some());
        let kind = kind_of(facts, standing);
        if standing == Standing::Bot {
            counts.bots += 1;
            let of_kind = evaluation.bots_by_kind.entry(kind).or_default();
            of_kind.accounts += 1;
            of_kind.accused += caught;
        } else {
            counts.honest += 1;
            counts.victims += usize::from(standing == Standing::Victim);
            evaluation.falsely_accused += caught;
            evaluation.victims_accused += caught * usize::from(standing == Standing::Victim);
            let of_kind = evaluation.by_kind.entry(kind).or_default();
            of_kind.accounts += 1;
            of_kind.accused += caught;
        }
        if standing == Standing::Bot || cluster.is_some() {
            // A bot without a ring is a network of its own; so is everybody who is none.
            let ring = if standing == Standing::Bot { facts.ring_id.as_deref() } else { None };
            items.push(Item { cluster, ring });
        }
    }
    for kind in evaluation.by_kind.values_mut() {
        kind.rate = share(kind.accused, kind.accounts, 0.0);
    }
    for kind in evaluation.bots_by_kind.values_mut() {
        kind.recall = share(kind.accused, kind.accounts, 0.0);
    }

    let overlaps = Overlaps::of(&items);
    counts.rings = overlaps.rings();
    counts.clusters = overlaps.clusters();
    let caught: usize = evaluation.bots_by_kind.values().map(|kind| kind.accused).sum();
    let nothing_to_do = counts.bots == 0 && counts.accused == 0;
    let empty = if nothing_to_do { 1.0 } else { 0.0 };
    let (p, r) = overlaps.pairwise();
    (evaluation.pairwise_p, evaluation.pairwise_r, evaluation.pairwise_f) = (p, r, harmonic(p, r));
    let (p, r) = overlaps.bcubed();
    (evaluation.bcubed_p, evaluation.bcubed_r, evaluation.bcubed_f) = (p, r, harmonic(p, r));
    evaluation.account_recall = share(caught, counts.bots, empty);
    evaluation.ring_recall = share(overlaps.rings_found(), overlaps.rings(), empty);
    evaluation.false_accusation = share(evaluation.falsely_accused, counts.honest, 0.0);
    evaluation.false_accusation_ci = wilson_interval(evaluation.falsely_accused, counts.honest);
    evaluation.purity = share(overlaps.of_main_ring(), counts.accused, empty);
    evaluation.largest_cluster = overlaps.largest_cluster();
    evaluation.calibration_error = calibration_error(
        overlaps.true_clusters().filter_map(|(cluster, is_true)| Some((*scores.get(cluster)?, is_true))),
    );
    let is_bot = |row: &AccusedAccount| {
        truth.0.get(&row.account_id).is_some_and(|facts| facts.standing() == Standing::Bot)
    };
    evaluation.member_calibration_error =
        calibration_error(accused.iter().map(|row| (row.score, is_bot(row))));
    Ok(evaluation)
}

/// Compares the clusters of a snapshot folder, or of the newest snapshot of an output folder, with a truth file.
///
/// # Errors
/// [`SimulateError`] if a file is missing, lacks a column or names an account twice.
pub fn evaluate_files(clusters: &Path, truth: &Path) -> Result<Evaluation, SimulateError> {
    let clusters = read_clusters(clusters)?;
    evaluate(&clusters.accused, &clusters.scores, &Truth::read(truth)?)
}

#[cfg(test)]
mod tests;
