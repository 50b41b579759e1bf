//! From links between faces to scored clusters of accounts, and their Parquet tables.
//!
//! Being right about the honest accounts is the product: connected components over one threshold accuse friends in group
//! photos, fans, people with two accounts, and the very victims whose photos were stolen. `docs/detection.md` explains every
//! signal and threshold.
//!
//! Invariants:
//! - [`detect`] is a function of its input and configuration: equal sets give equal tables, whatever order they came in, and
//!   nothing here reads a clock.
//! - The work is linear in links and ownerships: one photo on n accounts never becomes n x n pairs.
//! - The `reasons` of a row add up to the log-odds of its `score`.
//! - An account is `member` of at most one cluster, and never both `member` and `victim`.
//! - The same person on two photos accuses nobody unless a creation burst and bot-like profiles say so as well.

mod account_graph;
mod background;
mod calibration;
mod communities;
mod config;
mod decisions;
mod detect;
mod entities;
mod error;
mod evidence;
mod group;
mod incidence;
mod incremental;
mod input;
mod judge;
mod leiden;
mod lineage;
mod own;
mod popularity;
mod profile;
mod quarantine;
mod recalibrate;
mod recruit;
mod score;
mod snapshot;
mod tables;
mod tail;
mod times;
mod typed;
mod union_find;
mod victims;

pub use account_graph::Suppressed;
pub use calibration::Calibration;
pub use config::ClustersConfig;
pub use detect::{Detection, detect};
pub use error::ClustersError;
pub use incremental::{Changes, Incremental};
pub use input::{
    Account, AllowLists, Confirmed, Dismissed, Face, Input, Link, Merged, Ownership, Photo, PreviousCluster,
    Split,
};
pub use quarantine::Quarantined;
pub use recalibrate::{Recalibration, Verdict, recalibrate};
pub use snapshot::{Keep, Thumbnail, latest, previous, read_run, read_snapshot, write_snapshot};
pub use tail::{PackCalibration, TailPoint};
