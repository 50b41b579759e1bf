//! Erasing accounts from what was written out: snapshots that name one are removed, and the report beside them.
//!
//! Invariants:
//! - A snapshot is immutable, so one that names an account goes as a whole; the next one is made without the account.
//! - From before the first row is erased until the last byte has left the disk, `<state>/erasing` stands: whatever
//!   interrupts an erasure, the next start finishes it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;
use records::AccountId;

const ERASING: &str = "erasing";

/// Marks that rows are being erased from the state in this folder.
pub fn begin(state: &Path) -> anyhow::Result<()> {
    let path = state.join(ERASING);
    File::create(&path)
        .and_then(|file| file.sync_all())
        .and_then(|()| File::open(state)?.sync_all())
        .with_context(|| format!("{} cannot be written", path.display()))
}

/// Whether an erasure in this folder was begun and not finished.
pub fn unfinished(state: &Path) -> bool {
    state.join(ERASING).exists()
}

/// Marks that everything erased has left the disk.
pub fn finished(state: &Path) -> anyhow::Result<()> {
    let path = state.join(ERASING);
    fs::remove_file(&path).with_context(|| format!("{} cannot be removed", path.display()))
}

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
