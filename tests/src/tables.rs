//! Whether two snapshots say the same: equal tables after sorting, except `cluster_id` (compared as a partition), `change`
//! and `parents`, which tell history.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::python;

/// The newest snapshot below an output folder.
pub fn latest(output: &Path) -> Option<PathBuf> {
    let name = std::fs::read_to_string(output.join("clusters/LATEST")).ok()?;
    Some(output.join("clusters").join(name.trim()))
}

/// Records of the source that the newest snapshot covers.
pub fn records_covered(output: &Path) -> u64 {
    let read = || -> Option<u64> {
        let run = std::fs::read(latest(output)?.join("run.json")).ok()?;
        let run: serde_json::Value = serde_json::from_slice(&run).ok()?;
        Some(run["checkpoint"].as_object()?.values().filter_map(serde_json::Value::as_u64).sum())
    };
    read().unwrap_or(0)
}

/// The snapshot in a form that can be compared: every table sorted, a cluster named by its smallest member.
pub fn canonical(output: &Path) -> anyhow::Result<serde_json::Value> {
    const SCRIPT: &str = "
import duckdb, json, sys
folder = sys.argv[1]
db = duckdb.connect()
for table in ('clusters', 'members', 'evidence', 'accounts'):
    db.execute(f\"create view {table} as select * from '{folder}/{table}.parquet'\")
db.execute(\"create table names as select cluster_id, min(account_id) as name from members where role = 'member' group by 1\")
def rows(query):
    return sorted(json.dumps(row, default=str) for row in db.execute(query).fetchall())
print(json.dumps({
    'clusters': rows('select name, * exclude (cluster_id, change, parents) from clusters join names using (cluster_id)'),
    'members': rows('select name, * exclude (cluster_id) from members join names using (cluster_id)'),
    'evidence': rows('select name, * exclude (cluster_id) from evidence join names using (cluster_id)'),
    'accounts': rows('select * from accounts'),
}))
";
    let snapshot = latest(output).with_context(|| format!("{} has no snapshot", output.display()))?;
    python::json(SCRIPT, &[&snapshot.display().to_string()])
}
