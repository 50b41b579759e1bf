//! Settings of the sources, the section `[source]`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A setting's key, relative to its section, and what is wrong with it and what is allowed.
pub type Problem = (String, String);

/// Where events come from, told apart by `kind`.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SourceConfig {
    /// A Kafka topic, read until stopped.
    Kafka(KafkaConfig),
    /// Parquet files, read to their end.
    Parquet(ParquetConfig),
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self::Kafka(KafkaConfig::default())
    }
}

impl SourceConfig {
    /// Everything that is wrong, at once.
    pub fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Kafka(kafka) => kafka.problems(),
            Self::Parquet(parquet) => parquet.problems(),
        }
    }
}

/// Properties handed to librdkafka as they are. `Debug` shows the names only, since values may be passwords.
#[derive(Deserialize, Serialize, Clone, Default, PartialEq, Eq)]
#[serde(from = "BTreeMap<String, Scalar>", into = "BTreeMap<String, String>")]
pub struct Properties(pub BTreeMap<String, String>);

/// librdkafka takes texts, but nobody writes `"6000"` or `"true"` in TOML.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Flag(bool),
    Whole(i64),
    Real(f64),
}

impl From<BTreeMap<String, Scalar>> for Properties {
    fn from(values: BTreeMap<String, Scalar>) -> Self {
        let text = |value| match value {
            Scalar::Text(text) => text,
            Scalar::Flag(flag) => flag.to_string(),
            Scalar::Whole(number) => number.to_string(),
            Scalar::Real(number) => number.to_string(),
        };
        Self(values.into_iter().map(|(key, value)| (key, text(value))).collect())
    }
}

impl From<Properties> for BTreeMap<String, String> {
    fn from(properties: Properties) -> Self {
        properties.0
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Where a partition starts that the state has never seen.
#[derive(Deserialize, Serialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the oldest record the broker still has.
    #[default]
    Earliest,
    /// At its end: only what comes from now on.
    Latest,
}

/// A Kafka topic as the source.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// The topic with profile events.
    pub topic: String,
    /// The consumer group.
    pub group: String,
    /// Passed to librdkafka: SASL, TLS and tuning.
    pub properties: Properties,
    /// Where a partition starts that the state has never seen.
    pub start: Start,
    /// Most events in a batch, 1 to 100,000.
    pub batch_events: usize,
    /// A batch with this many photos or more is closed. Bounds the pictures that the next stages hold at once.
    pub batch_photos: usize,
    /// A batch with this many bytes of messages or more is closed.
    pub batch_bytes: usize,
    /// A batch that is not full is closed this long after its first event, in milliseconds.
    pub batch_wait_ms: u64,
    /// Larger messages become dead letters (`too_large`), in bytes.
    pub max_message_bytes: usize,
    /// How long the broker may wait for data before it answers, in milliseconds. Small values cost the broker work and
    /// make events arrive sooner.
    pub fetch_wait_max_ms: u64,
    /// How long to wait for a broker at the start, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Batches that may wait for the next stage before partitions are paused.
    pub channel_batches: usize,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "localhost:9092".into(),
            topic: "profiles".into(),
            group: "facering".into(),
            properties: Properties::default(),
            start: Start::Earliest,
            batch_events: 256,
            batch_photos: 256,
            batch_bytes: 16 << 20,
            batch_wait_ms: 500,
            max_message_bytes: 1 << 20,
            fetch_wait_max_ms: 100,
            connect_timeout_ms: 10_000,
            channel_batches: 2,
        }
    }
}

/// Properties that facering must decide itself: other values would lose events or do them twice.
const RESERVED: &[&str] = &[
    "bootstrap.servers",
    "metadata.broker.list",
    "group.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "enable.partition.eof",
    "group.protocol",
    "fetch.wait.max.ms",
];

impl KafkaConfig {
    /// Everything that is wrong, at once.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Problems::default();
        found.check("brokers", !self.brokers.trim().is_empty(), "name at least one broker as host:port");
        found.check("topic", is_topic(&self.topic), TOPIC_RULE);
        found.check("group", !self.group.trim().is_empty(), "name the consumer group");
        found.range("batch_events", self.batch_events as u64, 1, 100_000);
        found.range("batch_photos", self.batch_photos as u64, 1, 1_000_000);
        found.range("batch_bytes", self.batch_bytes as u64, 1024, 1 << 30);
        found.range("batch_wait_ms", self.batch_wait_ms, 1, 60_000);
        found.range("max_message_bytes", self.max_message_bytes as u64, 1024, 1 << 30);
        found.range("fetch_wait_max_ms", self.fetch_wait_max_ms, 1, 60_000);
        found.range("connect_timeout_ms", self.connect_timeout_ms, 100, 600_000);
        found.range("channel_batches", self.channel_batches as u64, 1, 1000);
        for key in self.properties.0.keys().filter(|key| RESERVED.contains(&key.as_str())) {
            found.add(format!("properties.{key}"), "facering decides this itself; remove it");
        }
        found.0
    }
}

/// Parquet files as the source.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct ParquetConfig {
    /// A file, a folder (searched for `*.parquet`, deeper folders included), or a pattern with `*`, `?` and `**`; or a
    /// URL of the same in an object store: `s3://`, `gs://`, `az://`, `abfss://`, `file://`.
    pub path: PathBuf,
    /// Settings of the object store, such as `aws_region` or `azure_storage_account_name`. What is not given is taken
    /// from the environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`).
    pub store: Properties,
    /// Most rows in a batch, 1 to 1,000,000.
    pub batch_rows: usize,
    /// Most photos in a batch of a *profiles* file.
    pub batch_photos: usize,
    /// Most bytes of decoded columns in a batch; wide rows (inline pictures) make batches shorter than `batch_rows`.
    pub batch_bytes: usize,
    /// Batches that may wait for the next stage.
    pub channel_batches: usize,
}

impl Default for ParquetConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            store: Properties::default(),
            batch_rows: 8_192,
            batch_photos: 256,
            batch_bytes: 48 << 20,
            channel_batches: 1,
        }
    }
}

impl ParquetConfig {
    /// Everything that is wrong, at once. Does not look at the files.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Problems::default();
        found.check("path", !self.path.as_os_str().is_empty(), "name a Parquet file, a folder or a pattern");
        found.range("batch_rows", self.batch_rows as u64, 1, 1_000_000);
        found.range("batch_photos", self.batch_photos as u64, 1, 1_000_000);
        found.range("batch_bytes", self.batch_bytes as u64, 1 << 16, 4 << 30);
        found.range("channel_batches", self.channel_batches as u64, 1, 1000);
        found.0
    }
}

pub(crate) const TOPIC_RULE: &str =
    "a topic's name has 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'";

pub(crate) fn is_topic(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Gathers problems.
#[derive(Default)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl Problems {
    pub(crate) fn add(&mut self, key: impl Into<String>, sentence: impl Into<String>) {
        self.0.push((key.into(), sentence.into()));
    }

    pub(crate) fn check(&mut self, key: &str, fine: bool, sentence: &str) {
        if !fine {
            self.add(key, sentence);
        }
    }

    pub(crate) fn range(&mut self, key: &str, value: u64, low: u64, high: u64) {
        if !(low..=high).contains(&value) {
            self.add(key, format!("{value} is out of range, {low} to {high} is allowed"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_typos_fail() {
        assert!(SourceConfig::default().problems().is_empty());
        let kafka: SourceConfig = serde_json::from_str(r#"{"kind":"kafka","topic":"t"}"#).unwrap();
        assert!(matches!(kafka, SourceConfig::Kafka(k) if k.topic == "t"));
        assert!(serde_json::from_str::<SourceConfig>(r#"{"kind":"kafka","topik":"t"}"#).is_err());
        assert!(serde_json::from_str::<SourceConfig>(r#"{"kind":"parquet","topic":"t"}"#).is_err());
        let parquet: SourceConfig = serde_json::from_str(r#"{"kind":"parquet","path":"/data"}"#).unwrap();
        assert!(parquet.problems().is_empty());
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let mut config = KafkaConfig { topic: "a b".into(), batch_events: 0, ..Default::default() };
        config.properties.0.insert("enable.auto.commit".into(), "true".into());
        let keys: Vec<_> = config.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["topic", "batch_events", "properties.enable.auto.commit"]);
        assert_eq!(ParquetConfig::default().problems()[0].0, "path");
    }

    #[test]
    fn properties_are_texts_however_they_are_written() {
        let text = r#"{"kind":"kafka","properties":{"a":6000,"b":true,"c":"x","d":0.5}}"#;
        let SourceConfig::Kafka(kafka) = serde_json::from_str(text).unwrap() else { panic!() };
        assert_eq!(kafka.properties.0.values().collect::<Vec<_>>(), ["6000", "true", "x", "0.5"]);
        assert!(serde_json::from_str::<Properties>(r#"{"a":[1]}"#).is_err());
    }

    #[test]
    fn debug_hides_passwords() {
        let mut config = KafkaConfig::default();
        config.properties.0.insert("sasl.password".into(), "hunter2".into());
        let shown = format!("{config:?}");
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"));
    }
}
