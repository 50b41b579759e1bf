//! What can go wrong. All of it is final: trying again does not help, the caller has to change something.

use std::path::{Path, PathBuf};

/// Why a population, its files or an evaluation could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// Options that make no sense, all at once.
    #[error("the options are wrong: {}", list(.0))]
    Options(Vec<(String, String)>),
    /// A file or folder could not be read or written.
    #[error("{} cannot be used: {source}", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not the Parquet file that was expected, or could not be written.
    #[error("{} is no Parquet file as expected: {source}", .path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the Parquet library said.
        source: parquet::errors::ParquetError,
    },
    /// Columns could not be put together.
    #[error("the columns of {} do not fit together: {source}", .path.display())]
    Columns {
        /// The file.
        path: PathBuf,
        /// What the Arrow library said.
        source: arrow::error::ArrowError,
    },
    /// A table lacks a column, or has it with a type that cannot be read.
    #[error("{} needs a column {column} that can be read as {wanted}", .path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// The type it must be convertible to.
        wanted: &'static str,
    },
    /// A row holds no account or cluster id.
    #[error("row {row} of {} has no {column}", .path.display())]
    Null {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: usize,
        /// The column.
        column: &'static str,
    },
    /// The folder holds no clusters.
    #[error("{} holds neither members.parquet nor clusters/LATEST; name a snapshot or an output folder", .0.display())]
    NoClusters(PathBuf),
    /// An account stands twice where it may stand once.
    #[error("the account {account} stands twice in the {table}; it must stand there once")]
    Twice {
        /// The account.
        account: String,
        /// Which table.
        table: &'static str,
    },
    /// A picture could not be drawn or encoded.
    #[error("a picture could not be drawn: {0}")]
    Picture(String),
}

fn list(problems: &[(String, String)]) -> String {
    problems.iter().map(|(key, what)| format!("{key} {what}")).collect::<Vec<_>>().join("; ")
}

impl SimulateError {
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    pub(crate) fn parquet(path: &Path) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let path = path.to_owned();
        move |source| Self::Parquet { path, source }
    }

    pub(crate) fn columns(path: &Path) -> impl FnOnce(arrow::error::ArrowError) -> Self {
        let path = path.to_owned();
        move |source| Self::Columns { path, source }
    }
}
