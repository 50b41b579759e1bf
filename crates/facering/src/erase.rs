//! Erasing accounts from what was written out: snapshots that name one are removed, and the report beside them.
//!
//! A snapshot is immutable, so one that names an account goes as a whole; the next one is made without the account.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use records::AccountId;

/// The folders of snapshots that name one of the accounts; half-written ones too, since nobody knows what they hold.
pub fn snapshots_naming(output: &Path, accounts: &[AccountId]) -> anyhow::Result<Vec<PathBuf>> {
    let clusters = output.join("clusters");
    let Ok(entries) = fs::read_dir(&clusters) else { return Ok(Vec::new()) };
    let accounts: BTreeSet<&AccountId> = accounts.iter().collect();
    let mut found = Vec::new();
    for entry in entries {
        let folder = entry.with_context(|| format!("{} cannot be listed", clusters.display()))?.path();
        if folder.is_dir() && names(&folder, &accounts) {
            found.push(folder);
        }
    }
    Ok(found)
}

/// Removes snapshots, and `LATEST` if it names one of them; returns how many went.
pub fn remove_snapshots(output: &Path, folders: &[PathBuf]) -> anyhow::Result<usize> {
    let pointer = output.join("clusters/LATEST");
    let latest = fs::read_to_string(&pointer).unwrap_or_default();
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if latest.trim() == name {
            fs::remove_file(&pointer).context("clusters/LATEST cannot be removed")?;
        }
        match fs::remove_dir_all(folder) {
            // Only so many snapshots are kept: writing a new one may have removed it.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("{} cannot be removed", folder.display()));
            }
            _ => {}
        }
    }
    Ok(folders.len())
}

/// Removes the report that lies beside the snapshots.
pub fn remove_report(output: &Path) -> anyhow::Result<()> {
    let report = output.join("report.html");
    match fs::remove_file(&report) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", report.display()))
        }
        _ => Ok(()),
    }
}

fn names(folder: &Path, accounts: &BTreeSet<&AccountId>) -> bool {
    // What cannot be read may name an account: it goes as well.
    match report::read_snapshot(folder) {
        Ok(snapshot) => snapshot.tables.accounts.iter().any(|row| accounts.contains(&row.account_id)),
        Err(error) => {
            tracing::warn!(%error, "an unreadable snapshot is removed with the account");
            true
        }
    }
}
