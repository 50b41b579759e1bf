//! A full disk and a read-only disk stop the program with one clear sentence, and nothing is lost: with room again it goes
//! on and ends with the tables of an undisturbed run.

use std::path::Path;

use anyhow::ensure;
use end_to_end::disk::Disk;
use end_to_end::faces::{backfill, finish, write};
use end_to_end::program::stderr;
use end_to_end::tables::{assert_equal, canonical};
use serde_json::Value;

/// A run that must fail, with one sentence; returns that.
fn failing(file: &Path, folder: &Path) -> anyhow::Result<String> {
    let output = backfill(file, folder).output()?;
    let said = stderr(&output);
    ensure!(
        output.status.code() == Some(1),
        "it should have failed, but ended with {}:\n{said}",
        output.status
    );
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    ensure!(errors.len() == 1, "one sentence is wanted:\n{said}");
    ensure!(!said.contains("panicked"), "{said}");
    Ok(errors[0].to_owned())
}

struct Undisturbed {
    _folder: tempfile::TempDir,
    file: std::path::PathBuf,
    tables: Value,
    ever: Value,
}

fn undisturbed() -> anyhow::Result<Undisturbed> {
    let folder = tempfile::tempdir()?;
    let (file, _) = write(folder.path(), 500)?;
    let here = folder.path().join("undisturbed");
    let ever = finish(&file, &here)?["summary"]["ever"].clone();
    Ok(Undisturbed { tables: canonical(&here.join("output"))?, file, ever, _folder: folder })
}

impl Undisturbed {
    fn assert_same(&self, summary: &Value, folder: &Path, when: &str) -> anyhow::Result<()> {
        assert_eq!(summary["summary"]["ever"], self.ever, "{when}: other events were read");
        assert_equal(&self.tables, &canonical(&folder.join("output"))?, when);
        Ok(())
    }
}

#[test]
fn a_full_disk_loses_nothing() -> anyhow::Result<()> {
    let Some(disk) = Disk::mount("a_full_disk_loses_nothing", 2048)? else { return Ok(()) };
    let expected = undisturbed()?;
    let folder = disk.path().join("facering");

    // Too small for anything.
    disk.resize(1024)?;
    let said = failing(&expected.file, &folder)?;
    assert!(said.contains("full") || said.contains("No space left"), "{said}");

    // Killed on the way, so that there is a state; then no room for what comes next: a little more each time, so that it
    // gives out at another place each time, until the input ends.
    disk.resize(2 << 20)?;
    let killed = backfill(&expected.file, &folder).env("FACERING_FAILPOINT", "commit.after:20").output()?;
    ensure!(!killed.status.success(), "the input was too short");
    let mut sentences = std::collections::BTreeMap::<String, usize>::new();
    for more in 0..24 {
        disk.resize(disk.used()? / 1024 + 8 + 150 * more)?;
        match failing(&expected.file, &folder) {
            Ok(said) => {
                assert!(
                    said.contains("full") || said.contains("No space left"),
                    "the sentence does not tell that the disk is full: {said}"
                );
                *sentences.entry(said).or_default() += 1;
            }
            Err(error) if error.to_string().contains("ended with exit status: 0") => break,
            Err(error) => return Err(error),
        }
    }
    assert!(!sentences.is_empty(), "the disk was never full");
    println!("{sentences:#?}");
    disk.resize(2 << 20)?;
    let summary = finish(&expected.file, &folder)?;
    expected.assert_same(&summary, &folder, "after a full disk")
}

#[test]
fn a_read_only_disk_loses_nothing() -> anyhow::Result<()> {
    let Some(disk) = Disk::mount("a_read_only_disk_loses_nothing", 2048)? else { return Ok(()) };
    let expected = undisturbed()?;
    let folder = disk.path().join("facering");
    disk.set_read_only(true)?;
    let said = failing(&expected.file, &folder)?;
    assert!(said.to_lowercase().contains("read-only"), "{said}");
    disk.set_read_only(false)?;
    let killed = backfill(&expected.file, &folder).env("FACERING_FAILPOINT", "commit.after:20").output()?;
    ensure!(!killed.status.success(), "the input was too short");
    disk.set_read_only(true)?;
    let said = failing(&expected.file, &folder)?;
    assert!(said.to_lowercase().contains("read-only"), "{said}");
    assert!(said.contains(&folder.display().to_string()), "{said}");
    disk.set_read_only(false)?;
    let summary = finish(&expected.file, &folder)?;
    expected.assert_same(&summary, &folder, "after a read-only disk")
}
