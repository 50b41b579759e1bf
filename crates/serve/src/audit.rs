//! The audit log: who searched for faces or erased an account, when, and to what purpose.
//!
//! Invariant: the entry is on disk before the deed is done; if it cannot be written, the deed is refused.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use records::Timestamp;
use serde::Serialize;

use crate::tokens::Caller;

/// Why the log cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("the audit log {} cannot be written; check the path, its permissions and the space on its disk", .path.display())]
pub struct AuditError {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

#[derive(Serialize)]
struct Entry<'a> {
    at: Timestamp,
    caller: &'a str,
    role: crate::tokens::Role,
    deed: &'a str,
    purpose: &'a str,
    /// What was searched with or erased; never a vector or a pixel.
    subject: &'a str,
}

pub(crate) struct AuditLog {
    path: PathBuf,
    file: Mutex<File>,
}

impl AuditLog {
    /// Opens the log for appending; a new one is readable by its owner only.
    pub fn open(path: &Path) -> Result<Self, AuditError> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), file: Mutex::new(file) }),
            Err(source) => Err(AuditError { path: path.to_owned(), source }),
        }
    }

    /// Appends one entry and waits until it is on disk.
    pub fn write(&self, caller: &Caller, deed: &str, purpose: &str, subject: &str) -> Result<(), AuditError> {
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros());
        let at = i64::try_from(micros).ok().and_then(|m| Timestamp::from_micros(m).ok());
        let at = at.unwrap_or(Timestamp::EPOCH);
        let entry = Entry { at, caller: &caller.name, role: caller.role, deed, purpose, subject };
        let result = serde_json::to_vec(&entry).map_err(std::io::Error::other).and_then(|mut line| {
            line.push(b'\n');
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(&line)?;
            file.sync_data()
        });
        result.map_err(|source| AuditError { path: self.path.clone(), source })
    }
}
