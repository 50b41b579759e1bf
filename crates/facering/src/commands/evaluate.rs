//! `facering evaluate`: clusters against the truth.

use simulate::{Evaluation, evaluate_files};

use super::print_result;
use crate::cli::{Common, EvaluateArgs};

pub fn execute(common: &Common, arguments: &EvaluateArgs) -> anyhow::Result<()> {
    let evaluation = evaluate_files(&arguments.clusters, &arguments.truth)?;
    print_result(common, &evaluation, || text(&evaluation))
}

/// The figures for a person; `docs/evaluation.md` defines them.
pub fn text(evaluation: &Evaluation) -> String {
    let percent = |share: f64| format!("{:.1}%", share * 100.0);
    let [low, high] = evaluation.false_accusation_ci;
    let mut lines = vec![
        format!("bots found       {} of all bots are in a cluster", percent(evaluation.account_recall)),
        format!("rings found      {} of all rings", percent(evaluation.ring_recall)),
        format!(
            "honest accused   {} of {} accounts ({}, 95% interval {:.2}% to {:.2}%)",
            evaluation.falsely_accused,
            evaluation.counts.honest,
            percent(evaluation.false_accusation),
            low * 100.0,
            high * 100.0
        ),
        format!("victims accused  {} of {}", evaluation.victims_accused, evaluation.counts.victims),
        format!(
            "pairwise         precision {:.3}, recall {:.3}, F {:.3}",
            evaluation.pairwise_p, evaluation.pairwise_r, evaluation.pairwise_f
        ),
        format!(
            "BCubed           precision {:.3}, recall {:.3}, F {:.3}",
            evaluation.bcubed_p, evaluation.bcubed_r, evaluation.bcubed_f
        ),
    ];
    for (kind, honest) in evaluation.by_kind.iter().filter(|(_, honest)| honest.accused > 0) {
        lines.push(format!("accused wrongly  {} of {} {kind}", honest.accused, honest.accounts));
    }
    lines.join("\n")
}
