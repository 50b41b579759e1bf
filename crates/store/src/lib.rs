//! The durable state and its one atomic commit.
//!
//! Invariants:
//! - One process owns the state folder, one [`Committer`] writes, and every change is one batch across all keyspaces,
//!   synced to disk before it is acknowledged. After a crash a commit is there as a whole or not at all.
//! - Readers see the snapshot that was published after the last commit; none of them ever sees half a commit.
//! - Everything is versioned by event time. The state of an account is a function of the *set* of events seen, not of
//!   their order or of how they were cut into batches (the rules stand in [`Account`] and [`Ownership`]).
//! - A picture and its faces are stored once, whoever owns them. A picture that nobody owns any more is an orphan until
//!   [`Committer::sweep_orphans`] removes it: batches in flight may still refer to it.
//! - A face's ordinal is dense, counts up in the order of commits, and is never reused.
//! - The store sees no other stage: links come from outside, and the index follows the log ([`Reader::log_since`]).

mod account;
mod check;
mod codec;
mod commit;
mod compact;
mod config;
mod decisions;
mod engine;
mod erase;
mod error;
mod event_time;
mod keys;
mod links;
mod photo_merge;
mod plan;
mod reader;
mod rows;
mod writes;

pub use account::{Account, Ownership};
pub use commit::{Committed, Committer};
pub use compact::CompactReport;
pub use config::StoreConfig;
pub use engine::Store;
pub use erase::{Forgotten, Swept};
pub use error::{Remedy, StoreError};
pub use plan::{MissingPhoto, NewFace, Plan, Planned, Touches};
pub use reader::{Reader, StoredPhoto};
pub use rows::{Counts, LogEntry, NumberedFace, StoredDeadLetter, StoredFace, Tally};
