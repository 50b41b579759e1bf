//! What an analyst reads: HTML, terminal, CSV and JSON, from the tables alone.
//!
//! Invariants:
//! - A snapshot folder is all that is read; no network, no state, no clock: the same folder gives the same report.
//! - Names and texts in the tables come from strangers. They are escaped for HTML, made harmless for terminals and for
//!   spreadsheets, and never logged.
//! - A likely victim is never listed among the suspected accounts.

mod cluster_view;
mod columns;
mod csv;
mod differences;
mod fragment;
mod graph;
mod json;
mod links;
mod page;
mod pictures;
mod rows;
mod snapshot;
mod terminal;
mod timeline;
mod waterfall;
mod words;

pub use columns::ColumnError;
pub use csv::{CsvTable, csv};
pub use differences::{ClusterDifference, Differences, GoneCluster};
pub use fragment::{STYLE, cluster_fragment};
pub use json::json;
pub use page::{HtmlOptions, RenderError, html};
pub use snapshot::{FindPicture, OpenSealed, Snapshot, SnapshotError, Thumbnails, read_snapshot};
pub use terminal::{TerminalOptions, terminal};
