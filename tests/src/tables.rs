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

/// How the newest snapshot was made: `full` or `update`.
pub fn kind(output: &Path) -> Option<String> {
    let run = std::fs::read(latest(output)?.join("run.json")).ok()?;
    let run: serde_json::Value = serde_json::from_slice(&run).ok()?;
    run["kind"].as_str().map(str::to_owned)
}

/// Snapshots below an output folder that were made so.
pub fn count_of_kind(output: &Path, kind: &str) -> anyhow::Result<usize> {
    let mut count = 0;
    for entry in std::fs::read_dir(output.join("clusters"))? {
        // Drafts and LATEST hold none, and old ones may go meanwhile.
        if let Ok(run) = std::fs::read(entry?.path().join("run.json")) {
            let run: serde_json::Value = serde_json::from_slice(&run)?;
            count += usize::from(run["kind"] == kind);
        }
    }
    Ok(count)
}

/// The snapshot in a form that can be compared: every table sorted, a cluster named by its smallest member.
pub fn canonical(output: &Path) -> anyhow::Result<serde_json::Value> {
    const SCRIPT: &str = "
import duckdb, json, sys
folder = sys.argv[1]
db = duckdb.connect()
for table in ('clusters', 'members', 'evidence', 'accounts'):
    # The folder is called snapshot=…, which must not become a column.
    path = f'{folder}/{table}.parquet'
    db.execute(f\"create view {table} as select * from read_parquet('{path}', hive_partitioning = false)\")
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

/// Fails with the rows that differ, a few of each table, if two snapshots do not say the same.
pub fn assert_equal(expected: &serde_json::Value, found: &serde_json::Value, when: &str) {
    let mut differences = Vec::new();
    for table in ["clusters", "members", "evidence", "accounts"] {
        let rows = |value: &serde_json::Value| -> Vec<String> {
            value[table]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|r| r.as_str().map(str::to_owned))
                .collect()
        };
        let (expected, found) = (rows(expected), rows(found));
        let shown = |row: &String| row.chars().take(300).collect::<String>();
        differences.extend(
            expected.iter().filter(|r| !found.contains(r)).take(3).map(|r| format!("-{table} {}", shown(r))),
        );
        differences.extend(
            found.iter().filter(|r| !expected.contains(r)).take(3).map(|r| format!("+{table} {}", shown(r))),
        );
    }
    assert!(differences.is_empty(), "{when}:\n{}", differences.join("\n"));
}
