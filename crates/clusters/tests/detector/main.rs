//! The detector on small labelled populations: every kind of ring, and every honest case that looks like one.

// The generator is test code, but not within a test function, where the workspace allows this.
#![allow(clippy::unwrap_used)]

mod cases;
mod incremental;
mod invariants;
mod population;
