//! Gathers records into micro-batches with an exact delta. No I/O.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use records::{Batch, CheckpointDelta, DeadLetter, EventBody, PartitionId, Position, ProfileEvent, Span};

use crate::SourceError;

/// When a batch is closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) events: usize,
    pub(super) photos: usize,
    pub(super) bytes: usize,
    pub(super) wait: Duration,
}

/// The batch that is being gathered.
#[derive(Debug)]
pub(super) struct Batcher {
    limits: Limits,
    /// Where each assigned partition's next span starts.
    next: BTreeMap<i32, (PartitionId, u64)>,
    /// Where the spans of partitions ended that were taken away.
    left: BTreeMap<i32, u64>,
    items: Vec<ProfileEvent>,
    dead: Vec<DeadLetter>,
    delta: CheckpointDelta,
    photos: usize,
    bytes: usize,
    since: Option<Instant>,
}

impl Batcher {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            next: BTreeMap::new(),
            left: BTreeMap::new(),
            items: Vec::new(),
            dead: Vec::new(),
            delta: CheckpointDelta::default(),
            photos: 0,
            bytes: 0,
            since: None,
        }
    }

    /// From now on records of this partition are taken; the first span starts at `from`.
    pub(super) fn assign(&mut self, number: i32, partition: PartitionId, from: u64) {
        self.next.insert(number, (partition, from));
    }

    /// From now on records of this partition are refused. What was gathered of it stays in the batch.
    pub(super) fn revoke(&mut self, number: i32) -> Option<PartitionId> {
        let (partition, next) = self.next.remove(&number)?;
        self.left.insert(number, next);
        Some(partition)
    }

    /// Where the next span of a partition has to start if it was read before. The state may not have come that far yet.
    pub(super) fn left(&self, number: i32) -> Option<Position> {
        self.left.get(&number).copied().map(Position)
    }

    pub(super) fn assigned(&self) -> impl Iterator<Item = (i32, &PartitionId)> {
        self.next.iter().map(|(number, (partition, _))| (*number, partition))
    }

    /// The partition's id, if it is assigned.
    pub(super) fn partition(&self, number: i32) -> Option<&PartitionId> {
        self.next.get(&number).map(|(partition, _)| partition)
    }

    /// Takes a record. One of a partition that is not assigned is a leftover of a rebalance and is dropped.
    ///
    /// # Errors
    /// [`SourceError::Recreated`] if its offset was passed already.
    pub(super) fn push(
        &mut self,
        number: i32,
        offset: u64,
        bytes: usize,
        decoded: Result<ProfileEvent, Box<DeadLetter>>,
        now: Instant,
    ) -> Result<(), SourceError> {
        let Some((partition, next)) = self.next.get_mut(&number) else { return Ok(()) };
        if offset < *next {
            return Err(SourceError::Recreated {
                partition: partition.clone(),
                position: *next,
                end: offset,
            });
        }
        let span = Span { from: Position(*next), to: Position(offset + 1) };
        self.delta.extend(partition.clone(), span)?;
        *next = offset + 1;
        match decoded {
            Ok(event) => {
                if let EventBody::Replace { photos, .. } = &event.body {
                    self.photos += photos.len();
                }
                self.items.push(event);
            }
            Err(letter) => self.dead.push(*letter),
        }
        self.bytes += bytes;
        self.since.get_or_insert(now);
        Ok(())
    }

    /// Whether the batch should be closed now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.is_full() || self.since.is_some_and(|since| now.duration_since(since) >= self.limits.wait)
    }

    /// Whether no more should be gathered.
    pub(super) fn is_full(&self) -> bool {
        self.items.len() + self.dead.len() >= self.limits.events
            || self.photos >= self.limits.photos
            || self.bytes >= self.limits.bytes
    }

    /// How long until the batch is due; `None` while it is empty.
    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        self.since.map(|since| self.limits.wait.saturating_sub(now.duration_since(since)))
    }

    /// The batch so far, if there is any; the next one starts where it ends.
    pub(super) fn take(&mut self) -> Option<Batch<ProfileEvent>> {
        self.since.take()?;
        self.photos = 0;
        self.bytes = 0;
        Some(Batch {
            items: std::mem::take(&mut self.items),
            dead: std::mem::take(&mut self.dead),
            delta: std::mem::take(&mut self.delta),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use records::{AccountId, Checkpoint, Origin, Timestamp};

    use super::*;

    fn event(partition: &PartitionId, offset: u64) -> Result<ProfileEvent, Box<DeadLetter>> {
        Ok(ProfileEvent {
            account: AccountId::new("a").unwrap(),
            observed_at: Timestamp::EPOCH,
            body: EventBody::Deleted,
            origin: Origin::row(partition.clone(), Position(offset)),
        })
    }

    fn limits(events: usize) -> Limits {
        Limits { events, photos: 100, bytes: 1 << 20, wait: Duration::from_millis(50) }
    }

    #[test]
    fn gaps_are_covered_and_steps_back_are_errors() {
        let partition = PartitionId::kafka("t", 0);
        let mut batcher = Batcher::new(limits(10));
        let now = Instant::now();
        batcher.assign(0, partition.clone(), 5);
        batcher.push(0, 9, 1, event(&partition, 9), now).unwrap();
        batcher.push(0, 12, 1, event(&partition, 12), now).unwrap();
        assert!(batcher.push(0, 12, 1, event(&partition, 12), now).is_err());
        batcher.push(7, 1, 1, event(&partition, 1), now).unwrap();
        let batch = batcher.take().unwrap();
        assert_eq!(batch.items.len(), 2, "the record of partition 7 was dropped");
        assert_eq!(batch.delta.iter().next().unwrap().1, Span { from: Position(5), to: Position(13) });
        assert!(batcher.take().is_none());
    }

    #[test]
    fn closes_when_full_or_late() {
        let partition = PartitionId::kafka("t", 0);
        let mut batcher = Batcher::new(limits(2));
        let now = Instant::now();
        batcher.assign(0, partition.clone(), 0);
        assert!(!batcher.is_due(now) && batcher.due_in(now).is_none());
        batcher.push(0, 0, 1, event(&partition, 0), now).unwrap();
        assert!(!batcher.is_due(now));
        assert!(batcher.is_due(now + Duration::from_millis(50)));
        batcher.push(0, 1, 1, event(&partition, 1), now).unwrap();
        assert!(batcher.is_full() && batcher.is_due(now));
        assert_eq!(batcher.left(0), None);
        assert_eq!(batcher.revoke(0), Some(partition));
        assert_eq!(batcher.left(0), Some(Position(2)), "and goes on there should it come back");
        assert_eq!(batcher.take().unwrap().items.len(), 2, "what was gathered stays");
    }

    proptest! {
        /// However batches are cut, the checkpoint that takes them in order ends after the last record.
        #[test]
        fn spans_of_all_batches_join(steps in prop::collection::vec((0i32..3, 1u64..4, any::<bool>()), 1..80)) {
            let mut batcher = Batcher::new(limits(1000));
            let mut at = [10u64; 3];
            let mut checkpoint = Checkpoint::default();
            for number in 0..3 {
                let partition = PartitionId::kafka("t", number);
                checkpoint.restore(partition.clone(), Position(10));
                batcher.assign(number, partition, 10);
            }
            for (number, step, cut) in steps {
                let partition = PartitionId::kafka("t", number);
                let offset = at[number as usize] + step - 1;
                at[number as usize] = offset + 1;
                batcher.push(number, offset, 1, event(&partition, offset), Instant::now()).unwrap();
                if cut {
                    checkpoint.apply(&batcher.take().unwrap().delta).unwrap();
                }
            }
            if let Some(batch) = batcher.take() {
                checkpoint.apply(&batch.delta).unwrap();
            }
            for number in 0..3 {
                let expected = Some(Position(at[number as usize]));
                prop_assert_eq!(checkpoint.position(&PartitionId::kafka("t", number)), expected);
            }
        }
    }
}
