//! Backfills as a user starts them.

use std::path::Path;
use std::process::Command;

use crate::program::{self, run, stderr};

/// A backfill of `source` into the folder `home` (`state` and `output` below it), with more settings.
pub fn backfill(source: &str, home: &Path, settings: &[&str]) -> Command {
    let mut command = program::facering();
    command
        .arg("run")
        .arg(program::root().join("pipelines/backfill.toml"))
        .arg(format!("--set=source.path={source}"))
        .arg(format!("--set=state.path={}", home.join("state").display()))
        .arg(format!("--set=output.path={}", home.join("output").display()))
        .args(settings.iter().map(|setting| format!("--set={setting}")));
    command
}

/// Runs it to its end, which must be a good one; returns what it printed.
pub fn finish(mut command: Command) -> anyhow::Result<String> {
    let output = command.output()?;
    anyhow::ensure!(output.status.success(), "{}", stderr(&output));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A synthetic population's faces, as `faces.parquet` in `folder`.
pub fn simulate(accounts: u32, seed: u32, folder: &Path) -> anyhow::Result<()> {
    let simulated = run([
        "simulate".as_ref(),
        format!("--accounts={accounts}").as_ref(),
        format!("--seed={seed}").as_ref(),
        "--out".as_ref(),
        folder.as_os_str(),
    ])?;
    anyhow::ensure!(simulated.status.success(), "{}", stderr(&simulated));
    Ok(())
}
