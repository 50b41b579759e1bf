//! The Kafka source: one consumer of a group, on a thread of its own.
//!
//! Invariants:
//! - Offsets are never stored or committed by librdkafka itself.
//! - A partition starts where the state says, and its spans join from there; gaps left by compaction or by markers of
//!   transactions are covered by the span of the next record.
//! - Polling never pauses for longer than a rebalance needs, also when the pipeline is slow.

mod batcher;
mod client;
mod reader;
mod rebalance;
mod start;

pub(crate) use client::{Logged, producer};
pub(crate) use reader::Reader;
