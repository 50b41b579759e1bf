//! What can go wrong, and what to do then.

use std::path::{Path, PathBuf};

use records::{CheckpointError, PackId};

/// What the caller is to do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remedy {
    /// Plan the batch again: the state moved on in between. Nothing was committed.
    PlanAgain,
    /// Tell whoever asked, and go on. Nothing was committed.
    Refuse,
    /// Stop and tell the operator. A commit that failed may or may not be on disk; the next start finds out.
    Stop,
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A setting is out of range.
    #[error("state.{key} {problem}")]
    Config {
        /// The key within `[state]`.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process (or another handle of this one) has the folder open.
    #[error(
        "the state folder {} is in use by another process; stop that process, or give this one another state.path",
        path.display()
    )]
    InUse {
        /// The state folder.
        path: PathBuf,
    },
    /// The folder cannot be made, read or written.
    #[error("cannot use {} as state folder: {source}; check that it is a folder this user may write to", path.display())]
    Folder {
        /// The state folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No room left.
    #[error("the disk that holds the state folder {} is full; free some space and start again", path.display())]
    DiskFull {
        /// The state folder.
        path: PathBuf,
    },
    /// The engine gave up after a failed write.
    #[error(
        "the store in {} stopped after a failed write; look for a full or failing disk, then start again",
        path.display()
    )]
    Halted {
        /// The state folder.
        path: PathBuf,
    },
    /// Reading or writing failed in another way.
    #[error("the store in {} failed: {source}; check the disk, then start again", path.display())]
    Engine {
        /// The state folder.
        path: PathBuf,
        /// What the engine said.
        source: fjall::Error,
    },
    /// The parts of the state do not fit together.
    #[error("the state in {} is damaged: {what}; restore a backup, or start with an empty state.path", path.display())]
    Damaged {
        /// The state folder.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// A row cannot be read.
    #[error(
        "a row of {keyspace} in the store cannot be read ({what}); restore a backup, or start with an empty state.path"
    )]
    Malformed {
        /// Where the row stands.
        keyspace: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Written by a version of facering that this one does not know.
    #[error("the state in {} has schema {found}, this version reads {known}; use the version that wrote it", path.display())]
    Schema {
        /// The state folder.
        path: PathBuf,
        /// As found.
        found: u64,
        /// As known.
        known: u64,
    },
    /// There is one committer, and it is taken.
    #[error("the store has one committer and it is already taken; drop it before asking for another")]
    CommitterTaken,
    /// Somebody reads the state as it was, which keeps removed rows on disk.
    #[error(
        "removed rows cannot leave {} yet: something has been reading the state as it was before for {seconds} s; ask again when it is done",
        path.display()
    )]
    Readers {
        /// The state folder.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The state moved on since the plan was made.
    #[error(
        "the plan was made for commit {planned}, but the state is at commit {current}; plan the batch again"
    )]
    StalePlan {
        /// The commit the plan stands on.
        planned: u64,
        /// The last commit.
        current: u64,
    },
    /// The batch does not continue where the source was left.
    #[error(
        "the source does not continue where the state left it: {0}; start again, so that the source seeks to the checkpoint"
    )]
    Checkpoint(#[from] CheckpointError),
    /// An event got lost, or came twice, between the source and the commit.
    #[error(
        "{read} events of a batch were read, but {found} are accounted for; nothing of it was committed: start again, and please report this"
    )]
    Unaccounted {
        /// Events the source read.
        read: u64,
        /// Events applied, superseded and given up.
        found: u64,
    },
    /// Embeddings of two model packs are never mixed.
    #[error(
        "the state holds faces of the model pack {state}, this batch has faces of {found}; set models.pack to {state}, or use another state.path"
    )]
    Pack {
        /// The pack of the state.
        state: PackId,
        /// The pack of the batch.
        found: PackId,
    },
    /// An embedding has another dimension than the state's.
    #[error(
        "the state holds embeddings of {state} dimensions, this batch has one of {found}; use the model pack the state was made with, or another state.path"
    )]
    Dimension {
        /// The dimension of the state.
        state: u32,
        /// The dimension of the batch.
        found: u32,
    },
    /// A decision that cannot be taken.
    #[error("{why}")]
    Decision {
        /// Why not, as a sentence.
        why: String,
    },
    /// The log was trimmed further than the reader has come.
    #[error(
        "the index is at log entry {asked}, but the log starts at {first}; rebuild the index from the store"
    )]
    LogTrimmed {
        /// Where the reader wants to go on.
        asked: u64,
        /// The first entry still there.
        first: u64,
    },
    /// The reader is ahead of the log: the store has lost commits that the index has seen.
    #[error(
        "the index is at log entry {asked}, but the log ends at {end}: the store has lost commits; rebuild the index from the store and let the source replay"
    )]
    LogAhead {
        /// Where the reader wants to go on.
        asked: u64,
        /// The end of the log.
        end: u64,
    },
}

impl StoreError {
    /// What the caller is to do.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::StalePlan { .. } => Remedy::PlanAgain,
            Self::Decision { .. } | Self::Readers { .. } => Remedy::Refuse,
            _ => Remedy::Stop,
        }
    }

    /// Tells the engine's errors apart, as far as an operator can act on them.
    pub(crate) fn engine(path: &Path, source: fjall::Error) -> Self {
        let path = path.to_owned();
        match source {
            fjall::Error::Locked => Self::InUse { path },
            fjall::Error::Poisoned => Self::Halted { path },
            fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
                if source.kind() == std::io::ErrorKind::StorageFull {
                    Self::DiskFull { path }
                } else {
                    Self::Folder { path, source }
                }
            }
            source @ (fjall::Error::JournalRecovery(_)
            | fjall::Error::Unrecoverable
            | fjall::Error::InvalidVersion(_)
            | fjall::Error::InvalidTrailer
            | fjall::Error::InvalidTag(_)) => Self::Damaged { path, what: format!("{source:?}") },
            source => Self::Engine { path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_as_such() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        for error in [fjall::Error::Io(full()), fjall::Error::Storage(fjall::LsmError::Io(full()))] {
            let error = StoreError::engine(Path::new("/s"), error);
            assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
            assert!(error.to_string().contains("/s is full; free some space"), "{error}");
            assert_eq!(error.remedy(), Remedy::Stop);
        }
    }
}
