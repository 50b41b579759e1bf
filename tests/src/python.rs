//! Other programs that read Parquet: DuckDB, pyarrow and Polars, pinned in `tests/requirements.txt`.

use std::process::Command;

use anyhow::{Context, bail};

/// Runs a Python script with the readers at hand; returns what it printed, as JSON.
pub fn json(script: &str, arguments: &[&str]) -> anyhow::Result<serde_json::Value> {
    let path = std::env::var("FACERING_TEST_PYTHONPATH")
        .context("FACERING_TEST_PYTHONPATH is not set: run the tests with `make test`, which sets it")?;
    let output =
        Command::new("python3").arg("-c").arg(script).args(arguments).env("PYTHONPATH", path).output()?;
    if !output.status.success() {
        bail!("python: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Runs one SQL query in DuckDB; returns its rows as JSON objects.
pub fn duckdb(query: &str) -> anyhow::Result<Vec<serde_json::Map<String, serde_json::Value>>> {
    const SCRIPT: &str = "
import duckdb, json, sys
cursor = duckdb.execute(sys.argv[1])
names = [column[0] for column in cursor.description]
print(json.dumps([dict(zip(names, row)) for row in cursor.fetchall()], default=str))
";
    match json(SCRIPT, &[query])? {
        serde_json::Value::Array(rows) => rows
            .into_iter()
            .map(|row| match row {
                serde_json::Value::Object(row) => Ok(row),
                other => bail!("a row is no object: {other}"),
            })
            .collect(),
        other => bail!("DuckDB gave no rows: {other}"),
    }
}
