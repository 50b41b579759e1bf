//! Reading snapshots back: for lineage, for reports, for evaluation.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use records::tables::{MemberRow, Role, RunInfo, TABLES_VERSION, Tables};

use super::rows::Bad;
use super::write::io;
use super::{LATEST, columns, rows, schema};
use crate::ClustersError;
use crate::input::PreviousCluster;

/// The folder of the newest complete snapshot under `output`, or `None` if there is none.
///
/// # Errors
/// [`ClustersError::Io`] if `LATEST` is there but cannot be read.
pub fn latest(output: &Path) -> Result<Option<PathBuf>, ClustersError> {
    let home = output.join("clusters");
    let path = home.join(LATEST);
    match fs::read_to_string(&path) {
        Ok(name) => Ok(Some(home.join(name.trim()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io(&path)(e)),
    }
}

/// Clusters and members of the newest snapshot, for lineage; empty if there is none.
///
/// # Errors
/// [`ClustersError`] if it cannot be read or has another schema version.
pub fn previous(output: &Path) -> Result<Vec<PreviousCluster>, ClustersError> {
    let Some(folder) = latest(output)? else { return Ok(Vec::new()) };
    let mut clusters: BTreeMap<String, PreviousCluster> = BTreeMap::new();
    let members: Vec<MemberRow> = read(&folder.join("members.parquet"), &schema::members(), rows::member)?;
    for row in members.into_iter().filter(|r| r.role == Role::Member) {
        let cluster = clusters
            .entry(row.cluster_id.clone())
            .or_insert_with(|| PreviousCluster { cluster_id: row.cluster_id, members: Vec::new() });
        cluster.members.push(row.account_id);
    }
    Ok(clusters.into_values().collect())
}

/// A whole snapshot.
///
/// # Errors
/// [`ClustersError`] if a file is missing, damaged or has another schema version.
pub fn read_snapshot(folder: &Path) -> Result<(Tables, RunInfo), ClustersError> {
    let tables = Tables {
        clusters: read(&folder.join("clusters.parquet"), &schema::clusters(), rows::cluster)?,
        members: read(&folder.join("members.parquet"), &schema::members(), rows::member)?,
        evidence: read(&folder.join("evidence.parquet"), &schema::evidence(), rows::evidence)?,
        accounts: read(&folder.join("accounts.parquet"), &schema::accounts(), rows::account)?,
    };
    Ok((tables, read_run(folder)?))
}

/// What a snapshot was made from.
///
/// # Errors
/// [`ClustersError`] if `run.json` is missing or damaged.
pub fn read_run(folder: &Path) -> Result<RunInfo, ClustersError> {
    let path = folder.join("run.json");
    let json = fs::read(&path).map_err(io(&path))?;
    serde_json::from_slice(&json).map_err(|e| ClustersError::Table { path, detail: e.to_string() })
}

fn read<T>(
    path: &Path,
    wanted: &Schema,
    row: impl Fn(&RecordBatch, usize) -> Result<T, Bad>,
) -> Result<Vec<T>, ClustersError> {
    let failed = |detail: String| ClustersError::Table { path: path.to_owned(), detail };
    let file = File::open(path).map_err(io(path))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| failed(e.to_string()))?;
    let metadata = builder.metadata().file_metadata().key_value_metadata();
    let version = metadata
        .and_then(|all| all.iter().find(|kv| kv.key == schema::VERSION_KEY))
        .and_then(|kv| kv.value.clone())
        .unwrap_or_default();
    if version != TABLES_VERSION {
        return Err(ClustersError::Version { path: path.to_owned(), found: version });
    }
    if !columns::same_columns(builder.schema(), wanted) {
        return Err(failed("its columns are not those of docs/tables.md".to_owned()));
    }
    let reader = builder.build().map_err(|e| failed(e.to_string()))?;
    let mut all = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|e| failed(e.to_string()))?;
        for at in 0..batch.num_rows() {
            all.push(row(&batch, at).map_err(failed)?);
        }
    }
    Ok(all)
}
