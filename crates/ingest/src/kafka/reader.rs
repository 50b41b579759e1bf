//! The poll loop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use records::{PartitionId, Position};
use tokio::sync::watch;

use super::batcher::{Batcher, Limits};
use super::client::{self, Client};
use super::rebalance::{Delivery, Rebalancer, Shared};
use crate::source::{Control, Sender};
use crate::{KafkaConfig, Positions, Record, SourceError, decode};

/// Longest time between two looks at the stop signal.
const TICK: Duration = Duration::from_millis(50);

/// How long a full channel is waited for before partitions are paused. Pausing throws away what librdkafka has fetched
/// ahead, so it is kept for pipelines that really are slow; a rebalance can wait this long.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a rebalance may take beyond its limit.
const GRACE: Duration = Duration::from_secs(20);

/// A consumer that has joined its group and is ready to be polled.
pub(crate) struct Reader {
    config: KafkaConfig,
    consumer: Client,
    context: Arc<Rebalancer>,
    control: Arc<Control>,
    paused: bool,
    /// Since when nothing more can be taken.
    blocked: Option<Instant>,
    /// Longest time that a rebalance may take.
    rebalance_limit: Duration,
}

impl Reader {
    /// Connects, checks the topic and subscribes.
    ///
    /// # Errors
    /// See [`client::check_topic`].
    pub(crate) fn open(
        config: &KafkaConfig,
        positions: Arc<dyn Positions>,
        sender: Sender,
        control: Arc<Control>,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, SourceError> {
        let limits = Limits {
            events: config.batch_events,
            photos: config.batch_photos,
            bytes: config.batch_bytes,
            wait: Duration::from_millis(config.batch_wait_ms),
        };
        let shared = Shared {
            batcher: Batcher::new(limits),
            outbox: Default::default(),
            sender: Some(sender),
            fatal: None,
            adrift: None,
        };
        let context = Rebalancer::new(config, positions, Arc::clone(&control), stop.clone(), shared);
        let consumer = client::consumer(config, context)?;
        client::check_topic(&consumer, config, &stop)?;
        consumer.subscribe(&[&config.topic]).map_err(|e| SourceError::Client { detail: e.to_string() })?;
        let context = client::context(&consumer);
        // librdkafka waits for its members as long as for their polling; five minutes if nobody says otherwise.
        let polling = config.properties.0.get("max.poll.interval.ms").and_then(|text| text.parse().ok());
        let rebalance_limit = Duration::from_millis(polling.unwrap_or(300_000)) + GRACE;
        Ok(Self {
            config: config.clone(),
            consumer,
            context,
            control,
            paused: false,
            blocked: None,
            rebalance_limit,
        })
    }

    /// Polls until stopped or closed, then stays in the group until closed, so that a last commit still counts.
    pub(crate) fn run(mut self) {
        let ended = self.read();
        {
            let mut shared = self.context.shared();
            shared.outbox.clear();
            self.control.ended();
            let sender = shared.sender.take();
            drop(shared);
            if let (Some(sender), Err(error)) = (sender, ended) {
                tracing::error!(%error, "the source stops");
                // Waits for room: an error must not be lost. Fails only if nobody listens any more.
                let _ = sender.blocking_send(Err(error));
            }
        }
        while !self.control.is_closing() {
            self.commit();
            // Keeps the membership alive; records that come are left for the next reader.
            let _ = self.consumer.poll(TICK);
        }
        // Closing the consumer, which happens when it is dropped, waits for this one.
        self.commit();
    }

    fn read(&mut self) -> Result<(), SourceError> {
        while !self.context.is_over() {
            self.commit();
            self.join_again()?;
            if self.blocked.is_none_or(|since| since.elapsed() >= PATIENCE) {
                self.poll()?;
            }
            let delivery = {
                let mut shared = self.context.shared();
                if let Some(error) = shared.fatal.take() {
                    return Err(error);
                }
                let mut delivery = shared.deliver();
                if delivery == Delivery::Done && shared.batcher.is_due(Instant::now()) {
                    shared.close_batch();
                    delivery = shared.deliver();
                }
                // While the channel is full the next batch is still gathered, then nothing more is taken.
                (delivery, shared.batcher.is_full())
            };
            match delivery {
                (Delivery::Closed, _) => return Ok(()),
                (Delivery::Full, true) => {
                    if self.blocked.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                        self.pause();
                    } else {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                }
                (Delivery::Full, false) => {}
                (Delivery::Done, _) => {
                    self.blocked = None;
                    self.resume();
                }
            }
        }
        Ok(())
    }

    /// Joins the group anew if it took all partitions away and has told nothing for longer than a rebalance may take: its
    /// coordinator died in the middle of one, and forgot who waits. A member that gets no partition is told so.
    fn join_again(&self) -> Result<(), SourceError> {
        {
            let mut shared = self.context.shared();
            if shared.adrift.is_none_or(|since| since.elapsed() < self.rebalance_limit) {
                return Ok(());
            }
            shared.adrift = Some(Instant::now());
        }
        tracing::warn!(topic = self.config.topic, "the group has told nothing for too long; joining it anew");
        metrics::counter!("facering_ingest_rejoins_total").increment(1);
        self.consumer.unsubscribe();
        let again = self.consumer.subscribe(&[&self.config.topic]);
        again.map_err(|e| SourceError::Client { detail: e.to_string() })
    }

    /// Takes one record, or what else librdkafka has to say.
    fn poll(&self) -> Result<(), SourceError> {
        let wait = self.context.shared().batcher.due_in(Instant::now()).unwrap_or(TICK).min(TICK);
        match self.consumer.poll(wait) {
            Some(Ok(message)) => take(&self.context, &message, self.config.max_message_bytes),
            Some(Err(error)) => match client::fatal(&error, &self.config) {
                Some(fatal) => Err(fatal),
                None => {
                    self.context.complain(&error.to_string());
                    Ok(())
                }
            },
            None => Ok(()),
        }
    }

    /// Pauses everything assigned. Repeated while the channel stays full, since a rebalance may have brought more.
    fn pause(&mut self) {
        let list = self.list();
        if list.count() > 0 && self.consumer.pause(&list).is_ok() && !self.paused {
            metrics::counter!("facering_ingest_pauses_total").increment(1);
            self.paused = true;
        }
    }

    fn resume(&mut self) {
        if self.paused && self.consumer.resume(&self.list()).is_ok() {
            self.paused = false;
        }
    }

    fn list(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (number, _) in self.context.shared().batcher.assigned() {
            list.add_partition(&self.config.topic, number);
        }
        list
    }

    /// Tells Kafka the newest positions of the partitions that are ours, if there are any.
    fn commit(&self) {
        let Some(checkpoint) = self.control.take_commit() else { return };
        let mut list = TopicPartitionList::new();
        for (number, partition) in self.context.shared().batcher.assigned() {
            let Some(Position(position)) = checkpoint.position(partition) else { continue };
            let offset = Offset::Offset(i64::try_from(position).unwrap_or(i64::MAX));
            if let Err(error) = list.add_partition_offset(&self.config.topic, number, offset) {
                tracing::debug!(%error, "a position cannot be committed to kafka");
            }
        }
        if list.count() == 0 {
            return;
        }
        failpoint::pass("broker_commit.before");
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "kafka did not take a commit");
        }
        failpoint::pass("broker_commit.after");
    }
}

/// Decodes a message into the batch.
fn take(context: &Rebalancer, message: &BorrowedMessage<'_>, max_bytes: usize) -> Result<(), SourceError> {
    let (number, Ok(offset)) = (message.partition(), u64::try_from(message.offset())) else { return Ok(()) };
    let mut shared = context.shared();
    let Some(partition) = shared.batcher.partition(number).cloned() else { return Ok(()) };
    let decoded = decode(record(message, partition, offset), max_bytes);
    let outcome = if decoded.is_ok() { "event" } else { "dead" };
    metrics::counter!("facering_ingest_records_total", "outcome" => outcome).increment(1);
    let size = message.payload_len() + message.key_len();
    shared.batcher.push(number, offset, size, decoded, Instant::now())
}

fn record(message: &BorrowedMessage<'_>, partition: PartitionId, offset: u64) -> Record {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        let header = |h: rdkafka::message::Header<'_, &[u8]>| {
            (h.key.to_owned(), h.value.map_or_else(Bytes::new, Bytes::copy_from_slice))
        };
        headers.iter().map(header).collect()
    });
    Record {
        partition,
        position: Position(offset),
        key: message.key().map(Bytes::copy_from_slice),
        payload: message.payload().map(Bytes::copy_from_slice),
        headers,
        timestamp_ms: message.timestamp().to_millis(),
    }
}
