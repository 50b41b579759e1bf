//! The figures of a run, and their means over runs.

use std::collections::{BTreeMap, HashMap};

use records::tables::{Role, Tables};
use serde::Serialize;
use simulate::{AccusedAccount, Evaluation, evaluate};

use crate::Error;
use crate::world::World;

/// One way of clustering on one population.
#[derive(Serialize, Clone)]
pub struct Row {
    pub way: String,
    pub seed: u64,
    pub figures: Evaluation,
}

impl Row {
    pub fn of(way: &str, seed: u64, tables: &Tables, world: &World) -> Result<Self, Error> {
        let accused: Vec<AccusedAccount> = tables
            .members
            .iter()
            .filter(|row| row.role == Role::Member)
            .map(|row| AccusedAccount {
                cluster_id: row.cluster_id.clone(),
                account_id: row.account_id.as_str().to_owned(),
                score: row.score,
            })
            .collect();
        let scores = tables.clusters.iter().map(|c| (c.cluster_id.clone(), c.score)).collect();
        Ok(Self { way: way.to_owned(), seed, figures: evaluate(&accused, &scores, &world.truth)? })
    }

    /// From plain groups of accounts, all accused alike.
    pub fn of_groups(way: &str, seed: u64, groups: &[Vec<u32>], world: &World) -> Result<Self, Error> {
        let mut accused = Vec::new();
        for (number, group) in groups.iter().enumerate().filter(|(_, g)| g.len() >= 3) {
            accused.extend(group.iter().map(|account| AccusedAccount {
                cluster_id: format!("g{number}"),
                account_id: world.input.accounts[*account as usize].id.as_str().to_owned(),
                score: f64::NAN,
            }));
        }
        Ok(Self { way: way.to_owned(), seed, figures: evaluate(&accused, &HashMap::new(), &world.truth)? })
    }

    pub fn short(&self) -> String {
        let f = &self.figures;
        let wrong: Vec<String> = f
            .by_kind
            .iter()
            .filter(|(_, k)| k.accused > 0)
            .map(|(name, k)| format!("{name} {}/{}", k.accused, k.accounts))
            .collect();
        let recall: Vec<String> = f
            .bots_by_kind
            .iter()
            .map(|(name, k)| format!("{} {:.2}", name.trim_start_matches("bot_"), k.recall))
            .collect();
        format!(
            "BCubed {:.4} (p {:.4} r {:.4}) pair p {:.4} r {:.4} ring recall {:.3} of {}, false {} of {} [{}], ECE {:.3}; {}",
            f.bcubed_f,
            f.bcubed_p,
            f.bcubed_r,
            f.pairwise_p,
            f.pairwise_r,
            f.ring_recall,
            f.counts.rings,
            f.falsely_accused,
            f.counts.honest,
            wrong.join(", "),
            f.calibration_error.unwrap_or(f64::NAN),
            recall.join(" ")
        )
    }
}

/// Prints means over the seeds, a line for each way.
pub fn print(rows: &[Row], json: bool) -> Result<(), Error> {
    if json {
        println!("{}", serde_json::to_string(rows)?);
        return Ok(());
    }
    let mut order: Vec<&str> = Vec::new();
    let mut ways: BTreeMap<&str, Vec<&Evaluation>> = BTreeMap::new();
    for row in rows {
        if !ways.contains_key(row.way.as_str()) {
            order.push(&row.way);
        }
        ways.entry(&row.way).or_default().push(&row.figures);
    }
    println!(
        "| way | BCubed F | P | R | pairwise P | R | ring recall | accounts found | honest accused | upper end | victims accused | ECE |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for way in order {
        let all = &ways[way];
        let mean =
            |of: &dyn Fn(&Evaluation) -> f64| all.iter().map(|e| of(e)).sum::<f64>() / all.len() as f64;
        println!(
            "| {way} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3} | {:.3}% | {:.3}% | {:.2}% | {} |",
            mean(&|e| e.bcubed_f),
            mean(&|e| e.bcubed_p),
            mean(&|e| e.bcubed_r),
            mean(&|e| e.pairwise_p),
            mean(&|e| e.pairwise_r),
            mean(&|e| e.ring_recall),
            mean(&|e| e.account_recall),
            100.0 * mean(&|e| e.false_accusation),
            100.0 * mean(&|e| e.false_accusation_ci[1]),
            100.0 * mean(&|e| e.victims_accused as f64 / e.counts.victims.max(1) as f64),
            all.iter()
                .map(|e| e.calibration_error)
                .collect::<Option<Vec<f64>>>()
                .map_or("-".to_owned(), |v| format!("{:.3}", v.iter().sum::<f64>() / v.len() as f64)),
        );
    }
    Ok(())
}
