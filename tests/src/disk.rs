//! A small disk of the test's own, in memory, that can be filled and made read-only.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, ensure};

/// A mounted file system; unmounted when this value goes.
pub struct Disk {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn mount(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("mount").args(arguments).output()?;
    if !output.status.success() {
        bail!("mount {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

impl Disk {
    /// Mounts a file system of this size, or says loudly that the test is skipped: only root may mount.
    pub fn mount(test: &str, mib: u64) -> anyhow::Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("disk");
        std::fs::create_dir(&path)?;
        match mount(&["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs", &path.display().to_string()]) {
            Ok(()) => Ok(Some(Self { path, _folder: folder })),
            Err(error) => {
                eprintln!("SKIPPED {test}: a small disk cannot be mounted ({error}); run the tests as root");
                Ok(None)
            }
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn remount(&self, options: &str) -> anyhow::Result<()> {
        mount(&["-o", &format!("remount,{options}"), &self.path.display().to_string()])
    }

    /// Makes it read-only, or writable again. Nothing may be open for writing.
    pub fn set_read_only(&self, read_only: bool) -> anyhow::Result<()> {
        self.remount(if read_only { "ro" } else { "rw" })
    }

    /// Gives it another size in KiB, which must not be less than what is in use.
    pub fn resize(&self, kib: u64) -> anyhow::Result<()> {
        self.remount(&format!("size={kib}k"))
    }

    /// Bytes in use.
    pub fn used(&self) -> anyhow::Result<u64> {
        let output = Command::new("df").args(["--output=used", "-B1"]).arg(&self.path).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let used = text.lines().nth(1).and_then(|line| line.trim().parse().ok());
        ensure!(used.is_some(), "df says {text}");
        Ok(used.unwrap_or(0))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still writes to it was killed a moment ago.
        for _ in 0..50 {
            if Command::new("umount").arg(&self.path).status().is_ok_and(|status| status.success()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        eprintln!("{} could not be unmounted", self.path.display());
    }
}
