//! Clusters read from a folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::AccusedAccount;
use crate::SimulateError;
use crate::columns::Table;

/// The clusters of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Clusters {
    /// The rows of `members.parquet` with the role `member`, or all rows if the file has no column `role`.
    pub accused: Vec<AccusedAccount>,
    /// The scores of `clusters.parquet`, by cluster id; empty if there is no such file.
    pub scores: HashMap<String, f64>,
}

/// Reads a snapshot folder, or of an output folder the snapshot that `clusters/LATEST` (or `LATEST`) names.
///
/// # Errors
/// [`SimulateError::NoClusters`] if the folder is neither, others if a file is not as the contract says.
pub fn read_clusters(folder: &Path) -> Result<Clusters, SimulateError> {
    let folder = snapshot(folder)?;
    let members = Table::read(&folder.join("members.parquet"))?;
    let accounts = members.required_texts("account_id")?;
    let mut roles = members.optional_texts("role")?.into_iter();
    let scores = if members.has("score") { members.numbers("score")? } else { Vec::new() };
    let mut scores = scores.into_iter();
    let mut accused = Vec::with_capacity(accounts.len());
    for (cluster_id, account_id) in members.required_texts("cluster_id")?.into_iter().zip(accounts) {
        let score = scores.next().unwrap_or(f64::NAN);
        if roles.next().flatten().is_none_or(|role| role == "member") {
            accused.push(AccusedAccount { cluster_id, account_id, score });
        }
    }
    let path = folder.join("clusters.parquet");
    if !path.is_file() {
        return Ok(Clusters { accused, scores: HashMap::new() });
    }
    let clusters = Table::read(&path)?;
    let scores = clusters.required_texts("cluster_id")?.into_iter().zip(clusters.numbers("score")?).collect();
    Ok(Clusters { accused, scores })
}

fn snapshot(folder: &Path) -> Result<PathBuf, SimulateError> {
    if folder.join("members.parquet").is_file() {
        return Ok(folder.to_owned());
    }
    for home in [folder.join("clusters"), folder.to_owned()] {
        let latest = home.join("LATEST");
        if latest.is_file() {
            let name = std::fs::read_to_string(&latest).map_err(SimulateError::file(&latest))?;
            return Ok(home.join(name.trim()));
        }
    }
    Err(SimulateError::NoClusters(folder.to_owned()))
}
