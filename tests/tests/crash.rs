//! Killed at every named place and at random moments, started again: the final tables equal those of a run that nobody
//! disturbed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use end_to_end::program::{self, Running, run, stderr};
use end_to_end::tables::{assert_equal, canonical};

/// Places of `crates/facering/src/failpoint.rs` that a backfill passes for each batch, then those it passes once.
const EACH_BATCH: [&str; 4] = ["commit.before", "commit.after", "index.after", "broker_commit.after"];
const ONCE: [&str; 2] = ["snapshot.before", "snapshot.after"];

/// A backfill of the faces in `data`, in small batches, into `folder`.
fn backfill(data: &Path, folder: &Path) -> Command {
    let mut command = program::facering();
    command
        .arg("run")
        .arg(program::root().join("pipelines/backfill.toml"))
        .arg(format!("--set=source.path={}", data.join("faces.parquet").display()))
        .args(["--set=source.batch_rows=150", "--set=models.pack=bundled"])
        .arg(format!("--set=state.path={}", folder.join("state").display()))
        .arg(format!("--set=output.path={}", folder.join("output").display()));
    command
}

fn finish(data: &Path, folder: &Path) -> anyhow::Result<()> {
    let output = backfill(data, folder).output()?;
    anyhow::ensure!(output.status.success(), "{}", stderr(&output));
    Ok(())
}

#[test]
fn a_crash_anywhere_changes_nothing() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let simulated = run([
        "simulate".as_ref(),
        "--accounts=700".as_ref(),
        "--seed=5".as_ref(),
        "--out".as_ref(),
        data.as_os_str(),
    ])?;
    anyhow::ensure!(simulated.status.success(), "{}", stderr(&simulated));
    let undisturbed = folder.path().join("undisturbed");
    finish(&data, &undisturbed)?;
    let expected = canonical(&undisturbed.join("output"))?;
    assert!(
        !expected["members"].as_array().expect("rows").is_empty(),
        "nothing was found, so nothing is compared"
    );

    let mut kills = 0;
    let orders = EACH_BATCH.iter().flat_map(|place| [1, 2, 5].map(|pass| format!("{place}:{pass}")));
    for order in orders.chain(ONCE.map(str::to_owned)) {
        let here = folder.path().join(order.replace(':', "-"));
        let crashed = backfill(&data, &here).env("FACERING_FAILPOINT", &order).output()?;
        assert!(!crashed.status.success(), "{order} was never passed:\n{}", stderr(&crashed));
        kills += 1;
        finish(&data, &here)?;
        assert_equal(&expected, &canonical(&here.join("output"))?, &format!("after a crash at {order}"));
        std::fs::remove_dir_all(&here)?;
    }

    // One state folder, killed again and again at moments nobody chose.
    let here = folder.path().join("random");
    for round in 0..8_u64 {
        let mut running = Running::start(backfill(&data, &here), &folder.path().join("log"))?;
        std::thread::sleep(Duration::from_millis(150 + (round * 7919) % 700));
        running.kill()?;
        kills += 1;
    }
    finish(&data, &here)?;
    assert_equal(&expected, &canonical(&here.join("output"))?, "after random kills");

    // A backfill that is run again changes nothing.
    finish(&data, &here)?;
    assert_equal(&expected, &canonical(&here.join("output"))?, "after running it twice");
    println!("{kills} kills, every time the same tables");
    Ok(())
}
