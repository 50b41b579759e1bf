//! What happens when partitions come and go. Runs inside `poll`, on the reading thread.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use records::PartitionId;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::watch;

use super::batcher::Batcher;
use super::client::log;
use super::start::{StartPoint, start_point};
use crate::source::{Control, Sender};
use crate::{KafkaConfig, Positions, SourceError, SourceMessage};

/// How often a problem that lasts is logged again.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// What the poll loop and the callbacks share.
pub(super) struct Shared {
    pub(super) batcher: Batcher,
    /// Messages that did not fit into the channel yet.
    pub(super) outbox: VecDeque<SourceMessage>,
    /// Gone once the reading has ended.
    pub(super) sender: Option<Sender>,
    /// Set by a callback that cannot return an error.
    pub(super) fatal: Option<SourceError>,
    /// Since when the group has told nothing after it took the last partition away.
    pub(super) adrift: Option<Instant>,
}

/// Whether the outbox could be emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Done,
    Full,
    Closed,
}

impl Shared {
    /// Moves what was gathered to the outbox.
    pub(super) fn close_batch(&mut self) {
        if let Some(batch) = self.batcher.take() {
            self.outbox.push_back(SourceMessage::Batch(batch));
        }
    }

    /// Hands on as much as the channel takes.
    pub(super) fn deliver(&mut self) -> Delivery {
        let Some(sender) = &self.sender else { return Delivery::Closed };
        while let Some(message) = self.outbox.pop_front() {
            match sender.try_send(Ok(message)) {
                Ok(()) => {}
                Err(TrySendError::Full(Ok(message))) => {
                    self.outbox.push_front(message);
                    return Delivery::Full;
                }
                Err(_) => return Delivery::Closed,
            }
        }
        Delivery::Done
    }
}

/// The consumer's context.
pub(super) struct Rebalancer {
    topic: String,
    start: crate::Start,
    positions: Arc<dyn Positions>,
    control: Arc<Control>,
    stop: watch::Receiver<bool>,
    shared: Mutex<Shared>,
    trouble: Mutex<Trouble>,
}

#[derive(Default)]
struct Trouble {
    last: Option<String>,
    logged: Option<Instant>,
}

impl Rebalancer {
    pub(super) fn new(
        config: &KafkaConfig,
        positions: Arc<dyn Positions>,
        control: Arc<Control>,
        stop: watch::Receiver<bool>,
        shared: Shared,
    ) -> Self {
        Self {
            topic: config.topic.clone(),
            start: config.start,
            positions,
            control,
            stop,
            shared: Mutex::new(shared),
            trouble: Mutex::default(),
        }
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last thing librdkafka complained about.
    pub(super) fn last_error(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).last.clone()
    }

    /// Logs a lasting problem, but not more often than needed.
    pub(super) fn complain(&self, what: &str) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.last = Some(what.to_owned());
        if trouble.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            trouble.logged = Some(Instant::now());
            tracing::warn!(topic = self.topic, what, "kafka has trouble; reading goes on as soon as it can");
        }
    }

    /// Whether the pipeline no longer wants anything.
    pub(super) fn is_over(&self) -> bool {
        *self.stop.borrow() || self.control.is_closing()
    }

    fn assigned(
        &self,
        consumer: &BaseConsumer<Self>,
        list: &mut TopicPartitionList,
    ) -> Result<(), SourceError> {
        let numbers: Vec<i32> = list.elements_for_topic(&self.topic).iter().map(|e| e.partition()).collect();
        let mut partitions = Vec::new();
        for number in numbers {
            let partition = PartitionId::kafka(&self.topic, number);
            let Some(point) = self.point(consumer, number, &partition)? else { return Ok(()) };
            if point.lost() > 0 {
                tracing::warn!(%partition, lost = point.lost(), from = point.fetch,
                    "the broker dropped records before they were read; going on at the start of the log");
            }
            list.set_partition_offset(&self.topic, number, Offset::Offset(point.fetch as i64))
                .map_err(|e| SourceError::Client { detail: e.to_string() })?;
            tracing::info!(%partition, from = point.fetch, "reading");
            self.shared().batcher.assign(number, partition.clone(), point.span);
            partitions.push(partition);
        }
        let done =
            if is_cooperative(consumer) { consumer.incremental_assign(list) } else { consumer.assign(list) };
        done.map_err(|e| SourceError::Client { detail: e.to_string() })?;
        self.shared().adrift = None;
        if !partitions.is_empty() {
            let mut shared = self.shared();
            shared.close_batch();
            shared.outbox.push_back(SourceMessage::Assigned(partitions));
        }
        Ok(())
    }

    /// Asks the broker for the partition's ends until it answers; `None` when told to stop meanwhile.
    fn point(
        &self,
        consumer: &BaseConsumer<Self>,
        number: i32,
        partition: &PartitionId,
    ) -> Result<Option<StartPoint>, SourceError> {
        while !self.is_over() {
            match consumer.fetch_watermarks(&self.topic, number, Duration::from_secs(5)) {
                Ok((low, high)) => {
                    let ends = (u64::try_from(low).unwrap_or(0), u64::try_from(high).unwrap_or(0));
                    let left = self.shared().batcher.left(number);
                    let state = self.positions.position(partition).max(left);
                    return start_point(partition, state, ends, self.start).map(Some);
                }
                Err(error) => {
                    self.complain(&format!("cannot learn the ends of {partition}: {error}"));
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
        Ok(None)
    }

    fn revoked(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> KafkaResult<()> {
        let numbers: Vec<i32> = list.elements_for_topic(&self.topic).iter().map(|e| e.partition()).collect();
        let mut shared = self.shared();
        let partitions: Vec<_> = numbers.iter().filter_map(|n| shared.batcher.revoke(*n)).collect();
        if !partitions.is_empty() {
            tracing::info!(?partitions, "no longer reading");
            shared.close_batch();
            shared.outbox.push_back(SourceMessage::Revoked(partitions));
            if shared.batcher.assigned().next().is_none() {
                shared.adrift = Some(Instant::now());
            }
        }
        drop(shared);
        // Nobody waits for the batches in flight: the others of the group would wait as well, for as long as the slowest
        // picture host takes.
        if is_cooperative(consumer) { consumer.incremental_unassign(list) } else { consumer.unassign() }
    }
}

/// Whether partitions come and go one by one; the older protocol replaces the whole assignment.
fn is_cooperative(consumer: &BaseConsumer<Rebalancer>) -> bool {
    matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative)
}

impl ClientContext for Rebalancer {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.complain(&format!("{error}: {reason}"));
    }
}

impl ConsumerContext for Rebalancer {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let done = if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assigned(consumer, list)
        } else {
            self.revoked(consumer, list).map_err(|e| SourceError::Client { detail: e.to_string() })
        };
        if let Err(error) = done {
            self.shared().fatal.get_or_insert(error);
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            // Advisory: the next commit, or the next assignment's owner, makes it good.
            tracing::debug!(%error, "kafka did not take a commit");
        }
    }
}
