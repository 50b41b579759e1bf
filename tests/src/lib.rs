//! Helpers of the end-to-end tests: the real program, a real broker, a real web server, other readers of Parquet.
#![allow(clippy::expect_used, clippy::print_stderr, reason = "this crate is tests")]

pub mod backfill;
pub mod broker;
pub mod browser;
pub mod damage;
pub mod disk;
pub mod faces;
pub mod faults;
pub mod images;
pub mod object_store;
pub mod pictures;
pub mod program;
pub mod python;
pub mod scenario;
pub mod shared;
pub mod stream;
pub mod tables;
pub mod tls;
pub mod world;
