//! What stops a source.

use records::{CheckpointError, PartitionId};

/// Why a source cannot go on. Always means: stop, and start again once the cause is gone; nothing is lost, since the
/// state knows how far each partition was processed. What can be retried is retried inside, and single events that
/// cannot be understood are dead letters, not errors.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No broker answered.
    #[error(
        "no Kafka broker at {brokers} answered within {waited_ms} ms ({detail}); check source.brokers, the network and the broker"
    )]
    Unreachable {
        /// As configured.
        brokers: String,
        /// How long it was tried.
        waited_ms: u64,
        /// What librdkafka said last.
        detail: String,
    },
    /// The topic does not exist.
    #[error(
        "the Kafka topic {topic} does not exist at {brokers}; create it, for example with: kafka-topics.sh --bootstrap-server {brokers} --create --topic {topic} --partitions 8"
    )]
    TopicMissing {
        /// The topic.
        topic: String,
        /// As configured.
        brokers: String,
    },
    /// The broker refuses.
    #[error(
        "the Kafka broker refuses {what}: {detail}; check source.properties and the broker's access rules"
    )]
    Denied {
        /// What was asked.
        what: String,
        /// What the broker said.
        detail: String,
    },
    /// The state is ahead of the topic.
    #[error(
        "the state has processed {partition} up to {position}, but it ends at {end}: the topic was recreated or cut; use a new topic name, a new state.path, or restore the topic"
    )]
    Recreated {
        /// The partition.
        partition: PartitionId,
        /// Where the state stands.
        position: u64,
        /// The partition's end, or the offset that came instead of the next one.
        end: u64,
    },
    /// A setting that librdkafka does not take.
    #[error("librdkafka refuses the settings of the source ({detail}); check source.properties")]
    Settings {
        /// What it said.
        detail: String,
    },
    /// The client broke in a way that it cannot mend.
    #[error("the Kafka client failed for good: {detail}; restart to go on from the last commit")]
    Client {
        /// What it said.
        detail: String,
    },
    /// The path cannot be used.
    #[error("source.path {path} cannot be read: {detail}")]
    Path {
        /// As configured.
        path: String,
        /// Why.
        detail: String,
    },
    /// A file is damaged or no Parquet.
    #[error(
        "the file {file} cannot be read as Parquet: {detail}; write it again or take it out of the source"
    )]
    Damaged {
        /// Relative to the source.
        file: String,
        /// What the reader said.
        detail: String,
    },
    /// The object store does not give what it should.
    #[error(
        "the object store does not give {file}: {detail}; check access and network and start again: it goes on where it was"
    )]
    Store {
        /// Relative to the source.
        file: String,
        /// What the store said.
        detail: String,
    },
    /// A file has other columns than it should.
    #[error("the file {file} does not fit: {detail}")]
    Schema {
        /// Relative to the source.
        file: String,
        /// Which column, what was found and what is needed.
        detail: String,
    },
    /// A row holds no embedding, where only embeddings are read.
    #[error("{file}, row {row} is no embedding: {detail}; correct or remove it and run this again")]
    Row {
        /// Relative to the source.
        file: String,
        /// Row in it, from 0.
        row: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// Spans did not join: a fault of this program.
    #[error("the source's spans do not join: {0}; please report this")]
    Spans(#[from] CheckpointError),
    /// The reading thread could not be started or ended without a word.
    #[error("the reading thread failed: {detail}")]
    Thread {
        /// What is known.
        detail: String,
    },
}
