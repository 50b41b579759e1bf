//! Snapshots on disk: `<output>/clusters/snapshot=<yyyymmddThhmmssZ>/`, and `LATEST` naming the newest complete one.
//!
//! Invariants:
//! - A folder named `snapshot=…` is complete: files are written and flushed to disk in a folder of another name, which is then
//!   renamed. `LATEST` is replaced last, by a rename as well.
//! - Column types are those of `docs/tables.md`; the schema's version stands in each file's metadata.
//! - Equal tables give equal files, byte for byte.

mod columns;
mod read;
mod rows;
mod schema;
mod write;

pub use read::{latest, previous, read_run, read_snapshot};
pub use write::{Keep, Thumbnail, write_snapshot};

/// Name of the file that names the newest snapshot.
const LATEST: &str = "LATEST";
/// What the names of complete snapshots begin with.
const PREFIX: &str = "snapshot=";
