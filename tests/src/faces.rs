//! A backfill of simulated faces, with rows that are broken among them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::program::{self, run, stderr};
use crate::python;

/// Writes simulated faces into `folder`, every thirtieth row with an embedding of zeros, which becomes a dead letter.
/// Returns the file and how many rows are broken.
pub fn write(folder: &Path, accounts: usize) -> anyhow::Result<(PathBuf, u64)> {
    let drawn = folder.join("simulated");
    let simulated = run([
        "simulate".as_ref(),
        format!("--accounts={accounts}").as_ref(),
        "--seed=5".as_ref(),
        "--out".as_ref(),
        drawn.as_os_str(),
    ])?;
    ensure!(simulated.status.success(), "{}", stderr(&simulated));
    const SCRIPT: &str = "
import pyarrow as pa, pyarrow.parquet as pq, sys, json
table = pq.read_table(sys.argv[1])
bad = table.take(list(range(0, table.num_rows, 30)))
at = bad.schema.get_field_index('embedding')
column = bad.column(at)
width = len(column[0].as_py() or column[1].as_py())
bad = bad.set_column(at, bad.schema.field(at), pa.array([[0.0] * width] * bad.num_rows, type=column.type))
pieces = []
for n in range(bad.num_rows):
    pieces += [table.slice(30 * n, 30), bad.slice(n, 1)]
pq.write_table(pa.concat_tables(pieces), sys.argv[2])
print(json.dumps(bad.num_rows))
";
    let file = folder.join("faces.parquet");
    let paths = [drawn.join("faces.parquet").display().to_string(), file.display().to_string()];
    let broken = python::json(SCRIPT, &[&paths[0], &paths[1]])?;
    Ok((file, broken.as_u64().context("the script prints a number")?))
}

/// A backfill of such a file into `folder`, in many small batches, with an index that seals and merges all the time.
pub fn backfill(file: &Path, folder: &Path) -> Command {
    let mut command = program::facering();
    command
        .arg("run")
        .arg(program::root().join("pipelines/backfill.toml"))
        .arg("--json")
        .arg(format!("--set=source.path={}", file.display()))
        .args(["--set=source.batch_rows=50", "--set=models.pack=bundled"])
        .args(["--set=index.seal_at=60", "--set=index.segments=2"])
        .arg(format!("--set=state.path={}", folder.join("state").display()))
        .arg(format!("--set=output.path={}", folder.join("output").display()));
    command
}

/// Runs a backfill to its end; returns what it printed.
pub fn finish(file: &Path, folder: &Path) -> anyhow::Result<serde_json::Value> {
    let output = backfill(file, folder).output()?;
    ensure!(output.status.success(), "{}", stderr(&output));
    Ok(serde_json::from_slice(&output.stdout)?)
}
