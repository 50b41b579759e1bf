//! The Parquet source: files of profiles or of faces, read once to their end.
//!
//! Invariants:
//! - A partition is a file named relative to the source and by a fingerprint of its content, a position is a row; files are read in the order of their
//!   names, rows in the order of the file.
//! - All files are looked at before the first row is read: one of another kind or with other columns stops the run at
//!   the start, not in the middle of it.
//! - Memory is bounded by a batch of rows and a page of each column, whatever the size of a file; for files in an object
//!   store by some blocks of the file instead of the pages.

mod ahead;
mod columns;
mod faces;
mod files;
mod layout;
mod profiles;
mod reader;
mod remote;
mod vectors;

pub use ahead::FacesAhead;
pub(crate) use reader::Reader;
pub use vectors::EmbeddingFiles;
