//! `facering demo` needs nothing from outside, finds its rings, spares its honest accounts, and leaves what it says.

use end_to_end::{program, python};

#[test]
fn the_demo_finds_rings_and_spares_the_honest() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("demo");
    let out_text = out.display().to_string();
    let output = program::run(["demo", "--out", &out_text, "--accounts", "400", "--seed", "7", "--json"])?;
    anyhow::ensure!(output.status.success(), "{}", program::stderr(&output));

    let text = String::from_utf8(output.stdout)?;
    let last = text.trim().lines().last().unwrap_or_default();
    let evaluation: serde_json::Value = serde_json::from_str(last)?;
    let figure =
        |key: &str| evaluation[key].as_f64().unwrap_or_else(|| panic!("{key} is missing in {evaluation}"));
    println!("{evaluation:#}");
    assert!(figure("pairwise_p") >= 0.95, "pairwise precision");
    assert!(figure("ring_recall") >= 0.6, "ring recall");
    assert!(figure("bcubed_f") >= 0.7, "BCubed F");
    assert!(figure("falsely_accused") <= 1.0, "honest accounts accused");

    for file in ["report.html", "truth.parquet", "clusters/LATEST"] {
        assert!(out.join(file).exists(), "{file} is missing");
    }
    let name = std::fs::read_to_string(out.join("clusters/LATEST"))?;
    let snapshot = out.join("clusters").join(name.trim());

    // Three other readers agree on what the tables hold.
    const SCRIPT: &str = "
import json, sys, duckdb, polars, pyarrow.parquet
out = {}
for table in ('clusters', 'members', 'evidence', 'accounts'):
    path = f'{sys.argv[1]}/{table}.parquet'
    out[table] = [
        duckdb.execute(f\"select count(*) from '{path}'\").fetchone()[0],
        polars.read_parquet(path).height,
        pyarrow.parquet.read_table(path).num_rows,
    ]
path = f'{sys.argv[1]}/members.parquet'
out['roles'] = dict(duckdb.execute(f\"select role, count(*) from '{path}' group by role\").fetchall())
out['version'] = pyarrow.parquet.read_schema(path).metadata[b'facering.schema'].decode()
print(json.dumps(out))
";
    let read = python::json(SCRIPT, &[&snapshot.display().to_string()])?;
    for table in ["clusters", "members", "evidence", "accounts"] {
        let rows = read[table].as_array().expect("three counts");
        assert!(rows.iter().all(|n| n == &rows[0]), "readers disagree on {table}: {rows:?}");
        assert!(rows[0].as_u64().unwrap_or_default() > 0, "{table} is empty");
    }
    assert_eq!(read["version"], records::tables::TABLES_VERSION);

    // The same answer to whoever asks later.
    let truth = out.join("truth.parquet").display().to_string();
    let again = program::run(["evaluate", "--clusters", &out_text, "--truth", &truth, "--json"])?;
    let again: serde_json::Value = serde_json::from_slice(&again.stdout)?;
    assert_eq!(again, evaluation);

    let page = std::fs::read_to_string(out.join("report.html"))?;
    assert!(page.starts_with("<!doctype html>") || page.starts_with("<!DOCTYPE html>"));
    for outside in ["http://", "https://"] {
        let asked: Vec<_> =
            page.match_indices(outside).map(|(at, _)| &page[at.saturating_sub(12)..at]).collect();
        let loads =
            |before: &&&str| before.contains("src=") || before.contains("url(") || before.contains("<link");
        assert!(!asked.iter().any(|b| loads(&b)), "the report asks the network for something");
    }
    Ok(())
}
