//! Sources of profile events: a Kafka topic or Parquet files; decoding, and where dead letters go.
//!
//! Invariants:
//! - A [`Source`] reads on from the positions the state has, never from what Kafka remembers of a consumer group; the
//!   commit to Kafka is advisory.
//! - Every record read lies in exactly one span of exactly one batch's delta, also when it became a dead letter, and
//!   the spans of a partition join without gap.
//! - An event that cannot be understood becomes a dead letter; only what makes every further event pointless (broker
//!   unreachable at the start, topic missing or recreated, file damaged) is a [`SourceError`], which stops the run.
//! - The channel to the pipeline is bounded; when it is full, Kafka partitions are paused and polling goes on.

mod config;
mod dead;
mod decode;
mod error;
mod kafka;
mod parquet;
mod profile;
mod replay;
mod source;

pub use config::{KafkaConfig, ParquetConfig, Problem, Properties, SourceConfig, Start};
pub use dead::{DeadLetterConfig, DeadLetterError, DeadLetters};
pub use decode::{Record, decode};
pub use error::SourceError;
pub use parquet::{EmbeddingFiles, FacesAhead};
pub use replay::resend;
pub use source::{Positions, Source, SourceMessage};
