//! What decisions of analysts say about the score, on request.
//!
//! Invariant: the scores that decisions are held against are those that the detector gives without the decisions themselves, or
//! a confirmed cluster would prove that confirmed clusters are bots.

use std::collections::HashMap;

use records::AccountId;
use serde::Serialize;

use crate::calibration::{Calibration, logistic};
use crate::detect::find;
use crate::input::Input;
use crate::{ClustersConfig, ClustersError};

/// A cluster that was confirmed or dismissed.
#[derive(Clone, PartialEq, Debug)]
pub struct Verdict {
    /// Its members then.
    pub members: Vec<AccountId>,
    /// Whether it is a bot network.
    pub confirmed: bool,
}

/// What came of it.
#[derive(Clone, Serialize, PartialEq, Debug)]
pub struct Recalibration {
    /// What to put into `clusters.calibration`; none if there are too few decisions to say (20, with 3 of either kind).
    pub calibration: Option<Calibration>,
    /// Decisions whose cluster is still found.
    pub used: usize,
    /// Decisions whose cluster is not found any more.
    pub gone: usize,
    /// Mean distance of scores and decisions in ten bins, as configured now.
    pub error_before: f64,
    /// The same with the new calibration.
    pub error_after: Option<f64>,
}

/// Fits the score to decisions. `input` is the whole population; allow-lists in it count, other decisions do not.
///
/// # Errors
/// Those of [`crate::detect`].
pub fn recalibrate(
    input: Input,
    verdicts: &[Verdict],
    config: &ClustersConfig,
) -> Result<Recalibration, ClustersError> {
    let mut input = input.canonical()?;
    input.confirmed.clear();
    input.merged.clear();
    input.split.clear();
    // Every group is scored, however low.
    let lenient = ClustersConfig {
        min_score: 0.0,
        min_member_score: 0.0,
        calibration: Calibration::default(),
        ..config.clone()
    };
    let (local, _) = find(&mut input, &lenient, None);
    let mut home: HashMap<&AccountId, usize> = HashMap::new();
    for (at, raw) in local.raws.iter().enumerate() {
        raw.accused().for_each(|id| {
            home.insert(id, at);
        });
    }
    let judged: Vec<(f64, bool)> = verdicts
        .iter()
        .filter_map(|verdict| {
            let mut here: HashMap<usize, usize> = HashMap::new();
            verdict
                .members
                .iter()
                .filter_map(|id| home.get(id))
                .for_each(|at| *here.entry(*at).or_default() += 1);
            let (at, n) = here.into_iter().max_by(|x, y| x.1.cmp(&y.1).then(y.0.cmp(&x.0)))?;
            let sum = local.raws[at].cluster.reasons.iter().map(|r| r.log_odds).sum();
            (2 * n >= verdict.members.len()).then_some((sum, verdict.confirmed))
        })
        .collect();
    let calibration = Calibration::fit(&judged);
    Ok(Recalibration {
        calibration,
        used: judged.len(),
        gone: verdicts.len() - judged.len(),
        error_before: error(&judged, config.calibration),
        error_after: calibration.map(|c| error(&judged, c)),
    })
}

/// Expected calibration error in ten bins of equal width.
fn error(judged: &[(f64, bool)], calibration: Calibration) -> f64 {
    let mut bins = [(0.0f64, 0.0f64); 10];
    for (sum, confirmed) in judged {
        let score = logistic(calibration.scale * sum + calibration.offset);
        let bin = &mut bins[((score * 10.0) as usize).min(9)];
        bin.0 += score;
        bin.1 += f64::from(u8::from(*confirmed));
    }
    bins.iter().map(|(said, right)| (said - right).abs()).sum::<f64>() / judged.len().max(1) as f64
}
