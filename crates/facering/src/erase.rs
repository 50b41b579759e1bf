//! Erasing an account from what was written out: snapshots that name it are removed, reports beside them too.
//!
//! A snapshot is immutable, so one that names the account goes as a whole; the next one is made without the account.

use std::fs;
use std::path::Path;

use anyhow::Context;
use records::AccountId;

/// Removes every snapshot that names the account, and the report beside them; returns how many snapshots went.
pub fn from_output(output: &Path, account: &AccountId) -> anyhow::Result<usize> {
    let clusters = output.join("clusters");
    let Ok(entries) = fs::read_dir(&clusters) else { return Ok(0) };
    let latest = fs::read_to_string(clusters.join("LATEST")).unwrap_or_default();
    let mut removed = 0;
    for entry in entries {
        let folder = entry.with_context(|| format!("{} cannot be listed", clusters.display()))?.path();
        if !folder.is_dir() || !names(&folder, account)? {
            continue;
        }
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if latest.trim() == name {
            fs::remove_file(clusters.join("LATEST")).context("clusters/LATEST cannot be removed")?;
        }
        fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be removed", folder.display()))?;
        removed += 1;
    }
    let report = output.join("report.html");
    if removed > 0 && report.exists() {
        fs::remove_file(&report).with_context(|| format!("{} cannot be removed", report.display()))?;
    }
    Ok(removed)
}

fn names(folder: &Path, account: &AccountId) -> anyhow::Result<bool> {
    // What cannot be read may name the account: it goes as well.
    match report::read_snapshot(folder) {
        Ok(snapshot) => Ok(snapshot.tables.accounts.iter().any(|row| row.account_id == *account)),
        Err(error) => {
            tracing::warn!(%error, "an unreadable snapshot is removed with the account");
            Ok(true)
        }
    }
}
