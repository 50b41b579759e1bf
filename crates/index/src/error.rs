//! What can go wrong, sorted by what the caller can do about it.

use std::path::{Path, PathBuf};

use records::VectorError;

/// Why the index refused or failed. The index is as it was before the call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A vector has another dimension than the index.
    #[error(
        "a vector of {found} dimensions was given to an index of {expected}; use the model pack it was made with"
    )]
    WrongDimension {
        /// Dimension of the index.
        expected: usize,
        /// Dimension, or length of the whole buffer when it is no multiple of the dimension.
        found: usize,
    },
    /// A vector holds NaN or infinity, or is all zero.
    #[error("vector {row} of the batch is no embedding: {source}")]
    InvalidVector {
        /// Row in the batch.
        row: usize,
        /// What is wrong with it.
        source: VectorError,
    },
    /// An inner-product index takes vectors of unit length only.
    #[error("vector {row} of the batch has length {norm}; normalise vectors before an inner-product index")]
    NotUnitLength {
        /// Row in the batch.
        row: usize,
        /// Its Euclidean length.
        norm: f32,
    },
    /// An ordinal is too large to be one.
    #[error("the ordinal {0} is not dense; ordinals must stay below 2^40")]
    OrdinalOutOfRange(u64),
    /// FAISS does not know the factory string, or it does not fit dimension or metric.
    #[error("the factory `{factory}` cannot be used for {dimension} dimensions: {reason}")]
    Factory {
        /// As configured.
        factory: String,
        /// Dimension of the index.
        dimension: usize,
        /// What FAISS says.
        reason: String,
    },
    /// Too few vectors to train on.
    #[error(
        "training `{factory}` needs at least {needed} vectors and {found} were given; give more or a smaller factory"
    )]
    TooFewToTrain {
        /// The factory.
        factory: String,
        /// How many it needs.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// The folder belongs to an index of another kind.
    #[error(
        "the index in {path} has {found}, but {expected} is configured; use another folder or rebuild it"
    )]
    Mismatch {
        /// The folder.
        path: PathBuf,
        /// What it has.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// There is no index in the folder.
    #[error("there is no face index in {0}; name the folder that `index train --out` or `index fill` made")]
    Missing(PathBuf),
    /// There is an index in the folder already.
    #[error("{0} holds a face index already; name a new folder")]
    Exists(PathBuf),
    /// The folder belongs to a running state, whose store gives the ordinals.
    #[error("the index in {0} follows the store of a state; files are filled into folders of their own")]
    FollowsStore(PathBuf),
    /// A row of a file that is being filled in is no embedding.
    #[error("{file}, row {row} is no embedding: {reason}; correct or remove it and run this again")]
    Row {
        /// The file.
        file: String,
        /// Row in it, from 0.
        row: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// A block was merged before.
    #[error("rows {from} to {to} of {name} are in the index already; leave that block out")]
    Merged {
        /// The file the rows came from.
        name: String,
        /// First row.
        from: u64,
        /// Behind the last row.
        to: u64,
    },
    /// Another process has the folder open.
    #[error("the index in {0} is open in another process; stop that one or ask it instead")]
    Locked(PathBuf),
    /// A file is cut off, damaged, or not one of this index.
    #[error(
        "{path} cannot be used: {reason}; restore it or remove the index folder and let it be rebuilt from the store"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Reading or writing failed (disk full, permissions).
    #[error("{action} {path} failed: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// FAISS refused or failed.
    #[error("FAISS failed while {action}: {reason}")]
    Faiss {
        /// What was tried.
        action: &'static str,
        /// What FAISS says.
        reason: String,
    },
    /// The coarse assignment failed.
    #[error("assigning vectors to lists failed: {0}")]
    Coarse(String),
    /// The store, or the file they come from, could not give the exact vectors.
    #[error("the vectors could not be read: {0}")]
    Exact(Box<dyn std::error::Error + Send + Sync>),
    /// The operation needs the exact vectors, and none were given.
    #[error("{0} needs the exact vectors of the store")]
    NeedsExact(&'static str),
    /// A thread died while it changed the index.
    #[error("the index stopped after an internal error; open it again")]
    Poisoned,
}

/// What a caller should do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remedy {
    /// The input is bad and will stay so: dead-letter it.
    DeadLetter,
    /// It may go well later: try again.
    Retry,
    /// Nothing can go on until a person has looked.
    Stop,
}

impl IndexError {
    /// What to do about it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::WrongDimension { .. }
            | Self::InvalidVector { .. }
            | Self::NotUnitLength { .. }
            | Self::Row { .. } => Remedy::DeadLetter,
            Self::Locked(_) | Self::Io { .. } | Self::Exact(_) | Self::Coarse(_) => Remedy::Retry,
            _ => Remedy::Stop,
        }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
