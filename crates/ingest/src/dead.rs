//! Where dead letters go: a Kafka topic beside the source's, or a file of JSON lines.
//!
//! Invariants: a letter counts as published only once the broker or the operating system took it; publishing one twice
//! (after a crash between publishing and committing) is harmless, since letters name where they come from.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use records::{DeadLetter, PartitionId};
use serde::{Deserialize, Serialize};

use crate::config::{Problem, Problems, TOPIC_RULE, is_topic};
use crate::kafka::{self, Logged};
use crate::{KafkaConfig, SourceConfig};

/// Where dead letters go, the section `[dead_letters]`.
#[derive(Deserialize, Serialize, Clone, Debug, Default)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLetterConfig {
    /// The topic; by default the source's with `.dead` behind it. Only used with a Kafka source.
    pub topic: Option<String>,
    /// A file of JSON lines. With a Kafka source it takes the topic's place; with files it is needed to keep letters
    /// outside the state.
    pub file: Option<PathBuf>,
}

impl DeadLetterConfig {
    /// Everything that is wrong, at once.
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Problems::default();
        found.check("topic", self.topic.as_deref().is_none_or(is_topic), TOPIC_RULE);
        let named = self.file.as_ref().is_none_or(|file| !file.as_os_str().is_empty());
        found.check("file", named, "name a file, or remove the key");
        found.0
    }
}

/// Why letters could not be published. All of them can be tried again: the state still has the letters.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The topic for dead letters does not exist.
    #[error(
        "the Kafka topic {topic} for dead letters does not exist at {brokers}; create it, for example with: kafka-topics.sh --bootstrap-server {brokers} --create --topic {topic} --partitions 1"
    )]
    TopicMissing {
        /// The topic.
        topic: String,
        /// As configured.
        brokers: String,
    },
    /// The broker did not take a letter.
    #[error("a dead letter could not be sent to the topic {topic}: {detail}; it will be sent again")]
    NotSent {
        /// The topic.
        topic: String,
        /// What librdkafka said.
        detail: String,
    },
    /// The file cannot be written.
    #[error("dead letters cannot be written to {file}: {source}; check dead_letters.file and the disk")]
    NotWritten {
        /// As configured.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The producer could not be made.
    #[error(transparent)]
    Settings(#[from] crate::SourceError),
}

/// An open destination for dead letters.
pub enum DeadLetters {
    /// Letters stay in the state only.
    Nowhere,
    /// To a topic.
    Topic(Box<TopicLetters>),
    /// To a file.
    File(FileLetters),
}

impl DeadLetters {
    /// Opens what the settings name: the file, else the topic of a Kafka source, else nothing.
    ///
    /// # Errors
    /// [`DeadLetterError`] if the file cannot be opened or the producer cannot be made. Does not wait for a broker.
    pub fn open(config: &DeadLetterConfig, source: &SourceConfig) -> Result<Self, DeadLetterError> {
        match (&config.file, source) {
            (Some(file), _) => Ok(Self::File(FileLetters::open(file)?)),
            (None, SourceConfig::Kafka(kafka)) => {
                let topic = config.topic.clone().unwrap_or_else(|| format!("{}.dead", kafka.topic));
                Ok(Self::Topic(Box::new(TopicLetters::open(kafka, topic)?)))
            }
            (None, SourceConfig::Parquet(_)) => Ok(Self::Nowhere),
        }
    }

    /// Publishes the letters and waits until they are taken.
    ///
    /// # Errors
    /// [`DeadLetterError`]; some of the letters may have been published.
    pub async fn publish(&mut self, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Topic(topic) => topic.publish(letters).await,
            Self::File(file) => file.publish(letters),
        }
    }
}

/// Header names; a letter that is sent again and fails again carries the newest values only.
const STAGE: &str = "facering-stage";
const REASON: &str = "facering-reason";
const DETAIL: &str = "facering-detail";
/// Set when the original bytes were too large for the topic and had to be left out; holds their number.
const OMITTED: &str = "facering-omitted-bytes";

/// Sends letters to a topic with an idempotent producer: original key, bytes and headers, and three headers more.
pub struct TopicLetters {
    producer: FutureProducer<Logged>,
    topic: String,
    brokers: String,
}

impl TopicLetters {
    fn open(config: &KafkaConfig, topic: String) -> Result<Self, DeadLetterError> {
        Ok(Self { producer: kafka::producer(config)?, topic, brokers: config.brokers.clone() })
    }

    async fn publish(&self, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        futures::future::try_join_all(letters.iter().map(|letter| self.send(letter))).await.map(drop)
    }

    async fn send(&self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        match self.send_with(letter, &letter.origin.payload, headers(letter)).await {
            // A broker may have lowered its limit, and the headers add to the size. The reason is worth keeping.
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)) => {
                let omitted = letter.origin.payload.len().to_string();
                let headers =
                    headers(letter).insert(Header { key: OMITTED, value: Some(omitted.as_bytes()) });
                self.send_with(letter, &[], headers).await.map_err(|e| self.explain(&e))
            }
            sent => sent.map_err(|e| self.explain(&e)),
        }
    }

    async fn send_with(
        &self,
        letter: &DeadLetter,
        payload: &[u8],
        headers: OwnedHeaders,
    ) -> Result<(), KafkaError> {
        let mut record = FutureRecord::<[u8], [u8]>::to(&self.topic).payload(payload).headers(headers);
        if let Some(key) = &letter.origin.key {
            record = record.key(key);
        }
        self.producer.send(record, Duration::from_secs(30)).await.map(drop).map_err(|(error, _)| error)
    }

    fn explain(&self, error: &KafkaError) -> DeadLetterError {
        let topic = self.topic.clone();
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownPartition,
            ) => DeadLetterError::TopicMissing { topic, brokers: self.brokers.clone() },
            _ => DeadLetterError::NotSent { topic, detail: error.to_string() },
        }
    }
}

impl Drop for TopicLetters {
    fn drop(&mut self) {
        // Every letter was waited for, so nothing is left to flush; this only stops retries of abandoned ones.
        self.producer.purge(rdkafka::producer::PurgeConfig::default().queue());
    }
}

fn headers(letter: &DeadLetter) -> OwnedHeaders {
    let ours = [STAGE, REASON, DETAIL, OMITTED];
    let kept = letter.origin.headers.iter().filter(|(key, _)| !ours.contains(&key.as_str()));
    let headers = kept.fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value.as_ref()) })
    });
    headers
        .insert(Header { key: STAGE, value: Some(letter.stage.as_str()) })
        .insert(Header { key: REASON, value: Some(letter.reason.as_str()) })
        .insert(Header { key: DETAIL, value: Some(letter.detail.as_str()) })
}

/// Appends letters to a file, one JSON object a line. Rows have no bytes of their own; file and row name them.
pub struct FileLetters {
    path: PathBuf,
    file: std::fs::File,
}

#[derive(Serialize)]
struct Line<'a> {
    account: Option<&'a str>,
    photo: Option<&'a str>,
    stage: &'a str,
    reason: &'a str,
    detail: &'a str,
    file: &'a str,
    row: u64,
    observed_at: Option<records::Timestamp>,
}

impl FileLetters {
    fn open(path: &Path) -> Result<Self, DeadLetterError> {
        let failed = |source| DeadLetterError::NotWritten { file: path.into(), source };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
        Ok(Self { path: path.into(), file })
    }

    fn publish(&mut self, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        if letters.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        let written = letters.iter().try_for_each(|letter| {
            serde_json::to_writer(&mut lines, &line(letter)).map_err(std::io::Error::from)?;
            lines.push(b'\n');
            Ok(())
        });
        // One write for all, so that a crash leaves at most one broken line at the end.
        let written = written.and_then(|()| self.file.write_all(&lines)).and_then(|()| self.file.sync_data());
        written.map_err(|source| DeadLetterError::NotWritten { file: self.path.clone(), source })
    }
}

fn line(letter: &DeadLetter) -> Line<'_> {
    Line {
        account: letter.account.as_ref().map(records::AccountId::as_str),
        photo: letter.photo.as_ref().map(records::PhotoId::as_str),
        stage: letter.stage.as_str(),
        reason: letter.reason.as_str(),
        detail: &letter.detail,
        file: file_name(&letter.origin.partition),
        row: letter.origin.position.0,
        observed_at: letter.observed_at,
    }
}

fn file_name(partition: &PartitionId) -> &str {
    let text = partition.as_str();
    text.strip_prefix("file:").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use records::{AccountId, DeadLetterReason, Origin, PhotoId, Position, Stage, Timestamp};

    use super::*;

    #[tokio::test]
    async fn letters_of_files_are_appended_as_json_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/dead.jsonl");
        let config = DeadLetterConfig { file: Some(path.clone()), topic: None };
        assert!(config.problems().is_empty());
        let letter = Origin::row(PartitionId::file("a/b.parquet"), Position(41))
            .dead_letter(Stage::Ingest, DeadLetterReason::InvalidField, "followers: no \"good\"\nat all")
            .of_event(AccountId::new("acc").unwrap(), Timestamp::EPOCH)
            .of_photo(PhotoId::new("p").unwrap());
        for _ in 0..2 {
            let mut sink = DeadLetters::open(&config, &SourceConfig::default()).unwrap();
            sink.publish(std::slice::from_ref(&letter)).await.unwrap();
            sink.publish(&[]).await.unwrap();
        }
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(
            lines[1],
            serde_json::json!({"account": "acc", "photo": "p", "stage": "ingest", "reason": "invalid_field",
                "detail": "followers: no \"good\"\nat all", "file": "a/b.parquet", "row": 41,
                "observed_at": "1970-01-01T00:00:00Z"})
        );
    }

    #[test]
    fn a_bad_topic_is_a_problem() {
        let config = DeadLetterConfig { topic: Some("a/b".into()), file: Some(PathBuf::new()) };
        assert_eq!(config.problems().len(), 2);
    }
}
