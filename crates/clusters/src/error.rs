//! What can go wrong.

use std::path::PathBuf;

/// Why clusters could not be made, written or read. None of these passes by itself: stop and tell the operator, except
/// [`ClustersError::Io`], which may be retried once there is room or the disk is back.
#[derive(Debug, thiserror::Error)]
pub enum ClustersError {
    /// An index of the input points past its table.
    #[error(
        "a row of the input's {table} refers to a row that is not there; this is a mistake in the program"
    )]
    Reference {
        /// The table with the wrong row.
        table: &'static str,
    },
    /// More rows than 32-bit numbers count.
    #[error(
        "the input's {table} has {rows} rows, but at most 4294967294 can be clustered; split the accounts into shards"
    )]
    TooMany {
        /// The table.
        table: &'static str,
        /// Its rows.
        rows: usize,
    },
    /// Reading or writing a file failed.
    #[error("{path}: {source}; check that the folder exists, may be written and has room, then run again")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A Parquet file could not be written or read.
    #[error(
        "{path} is no table that can be read or written ({detail}); remove the snapshot and make it again"
    )]
    Table {
        /// The file.
        path: PathBuf,
        /// What the Parquet library said.
        detail: String,
    },
    /// A table was written by another version.
    #[error(
        "{path} has the schema version {found}, but this program reads {}; use the program that wrote it",
        records::tables::TABLES_VERSION
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
    },
}
