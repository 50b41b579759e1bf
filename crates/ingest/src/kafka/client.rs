//! Clients made from the settings, and the questions asked before reading starts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::FutureProducer;
use tokio::sync::watch;

use super::rebalance::Rebalancer;
use crate::{KafkaConfig, SourceError};

/// Sends librdkafka's own log where everything else is logged.
pub(crate) struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client");
    }
}

pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, message, "librdkafka");
        }
        // Its errors and warnings are mostly about one of several connections; what matters comes by `error`.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::debug!(facility, message, "librdkafka"),
        _ => tracing::trace!(facility, message, "librdkafka"),
    }
}

fn client(config: &KafkaConfig) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("client.id", "facering");
    client.set("bootstrap.servers", &config.brokers);
    client.set_log_level(RDKafkaLogLevel::Info);
    client
}

fn with_properties(mut client: ClientConfig, config: &KafkaConfig) -> ClientConfig {
    for (key, value) in &config.properties.0 {
        client.set(key, value);
    }
    client
}

fn refused(error: &KafkaError) -> SourceError {
    SourceError::Settings { detail: error.to_string() }
}

pub(super) fn consumer(
    config: &KafkaConfig,
    context: Rebalancer,
) -> Result<BaseConsumer<Rebalancer>, SourceError> {
    let mut client = client(config);
    client.set("partition.assignment.strategy", "cooperative-sticky");
    // A message of any size must be read, if only to become a dead letter; librdkafka gives up on answers of 100 MB.
    client.set("receive.message.max.bytes", "1000000000");
    let mut client = with_properties(client, config);
    client.set("group.id", &config.group);
    client.set("enable.auto.commit", "false");
    client.set("enable.auto.offset.store", "false");
    client.set("auto.offset.reset", "earliest");
    client.set("enable.partition.eof", "false");
    client.set("allow.auto.create.topics", "false");
    client.set("fetch.wait.max.ms", config.fetch_wait_max_ms.to_string());
    BaseConsumer::from_config_and_context(&client, context).map_err(|e| refused(&e))
}

/// A producer that neither loses nor doubles what it sends while it lives.
pub(crate) fn producer(config: &KafkaConfig) -> Result<FutureProducer<Logged>, SourceError> {
    let mut client = with_properties(client(config), config);
    client.set("enable.idempotence", "true");
    client.set("acks", "all");
    client.set("linger.ms", "5");
    // What is not delivered by then is told to the caller, who still has it and sends it again.
    if !config.properties.0.contains_key("message.timeout.ms") {
        client.set("message.timeout.ms", "30000");
    }
    // The broker's own limit decides; librdkafka's default would refuse messages that the broker took before.
    client.set("message.max.bytes", "1000000000");
    FutureProducer::from_config_and_context(&client, Logged).map_err(|e| refused(&e))
}

/// Waits for a broker and makes sure that the topic is there.
///
/// # Errors
/// [`SourceError::Unreachable`], [`SourceError::TopicMissing`] or [`SourceError::Denied`].
pub(super) fn check_topic(
    consumer: &BaseConsumer<Rebalancer>,
    config: &KafkaConfig,
    stop: &watch::Receiver<bool>,
) -> Result<(), SourceError> {
    let brokers = config.brokers.clone();
    let topic = config.topic.clone();
    let limit = Duration::from_millis(config.connect_timeout_ms);
    let began = Instant::now();
    // A topic that was created a moment ago may not be known to every broker yet.
    let grace = limit.min(Duration::from_secs(2));
    loop {
        let left = limit.saturating_sub(began.elapsed()).max(Duration::from_millis(50));
        match consumer.fetch_metadata(Some(&topic), left.min(Duration::from_secs(2))) {
            Ok(metadata) => {
                let found = metadata.topics().iter().find(|t| t.name() == topic);
                match found.map(|t| (t.error().map(RDKafkaErrorCode::from), t.partitions().len())) {
                    Some((None, 1..)) => return Ok(()),
                    Some((Some(code @ RDKafkaErrorCode::TopicAuthorizationFailed), _)) => {
                        let what = format!("to read the topic {topic}");
                        return Err(SourceError::Denied { what, detail: code.to_string() });
                    }
                    _ if began.elapsed() >= grace => {
                        return Err(SourceError::TopicMissing { topic, brokers });
                    }
                    _ => {}
                }
            }
            Err(error) if began.elapsed() >= limit => {
                let detail = consumer.context().last_error().unwrap_or_else(|| error.to_string());
                let waited_ms = config.connect_timeout_ms;
                return Err(SourceError::Unreachable { brokers, waited_ms, detail });
            }
            Err(_) => {}
        }
        if *stop.borrow() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whether an error of the consumer means that it can never go on, and which.
pub(super) fn fatal(error: &KafkaError, config: &KafkaConfig) -> Option<SourceError> {
    let code = error.rdkafka_error_code()?;
    let denied = |what: String| Some(SourceError::Denied { what, detail: code.to_string() });
    match (error, code) {
        (KafkaError::MessageConsumptionFatal(_), _) => {
            Some(SourceError::Client { detail: error.to_string() })
        }
        (_, RDKafkaErrorCode::TopicAuthorizationFailed) => {
            denied(format!("to read the topic {}", config.topic))
        }
        (_, RDKafkaErrorCode::GroupAuthorizationFailed) => denied(format!("the group {}", config.group)),
        _ => None,
    }
}

/// A consumer shared with nobody; the alias keeps signatures short.
pub(super) type Client = BaseConsumer<Rebalancer>;

/// The context is shared with librdkafka's callbacks.
pub(super) fn context(client: &Client) -> Arc<Rebalancer> {
    Arc::clone(client.context())
}
