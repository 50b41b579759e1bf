//! How far each partition of a source has been processed.
//!
//! Invariant: the spans of a partition join without gap or overlap. A span that does not start where the last one ended
//! means that something was lost or is done twice, and is an error.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A partition of a source: `kafka:<topic>:<number>` or `file:<name>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionId(Arc<str>);

impl PartitionId {
    /// A partition of a Kafka topic.
    pub fn kafka(topic: &str, partition: i32) -> Self {
        Self(format!("kafka:{topic}:{partition}").into())
    }

    /// A file of a backfill, named relative to what was given as its source.
    pub fn file(name: &str) -> Self {
        Self(format!("file:{name}").into())
    }

    /// As it is stored and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads back what [`PartitionId::as_str`] gave.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in a partition: an offset in Kafka, a row in a file. The first is 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

/// What a batch took from one partition: `from` inclusive, `to` exclusive, so `to` is the next place to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// First place read.
    pub from: Position,
    /// Next place to read.
    pub to: Position,
}

/// Why spans do not join.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// A span ends before it starts.
    #[error("the span {} to {} of {partition} runs backwards", .span.from.0, .span.to.0)]
    Backwards {
        /// The partition.
        partition: PartitionId,
        /// The span.
        span: Span,
    },
    /// A span starts elsewhere than where the last one ended.
    #[error("{partition} was processed up to {}, but the next batch starts at {}", .expected.0, .found.0)]
    Gap {
        /// The partition.
        partition: PartitionId,
        /// Where the last span ended.
        expected: Position,
        /// Where this one starts.
        found: Position,
    },
}

/// What a batch took from its source. Travels with the batch through every stage, even when the batch became empty.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct CheckpointDelta {
    spans: BTreeMap<PartitionId, Span>,
    events: Option<u64>,
}

impl CheckpointDelta {
    /// Adds a span; it must join what the delta has of that partition.
    ///
    /// # Errors
    /// [`CheckpointError`] if it runs backwards or does not join.
    pub fn extend(&mut self, partition: PartitionId, span: Span) -> Result<(), CheckpointError> {
        if span.to < span.from {
            return Err(CheckpointError::Backwards { partition, span });
        }
        match self.spans.get_mut(&partition) {
            None => {
                self.spans.insert(partition, span);
            }
            Some(last) if last.to == span.from => last.to = span.to,
            Some(last) => {
                return Err(CheckpointError::Gap { partition, expected: last.to, found: span.from });
            }
        }
        Ok(())
    }

    /// The spans, by partition.
    pub fn iter(&self) -> impl Iterator<Item = (&PartitionId, Span)> {
        self.spans.iter().map(|(partition, span)| (partition, *span))
    }

    /// Whether nothing was taken.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many events were read, those included that could not be understood; `None` where nobody counted. Whoever
    /// commits the batch holds it against what became of them.
    pub fn events(&self) -> Option<u64> {
        self.events
    }

    /// Notes how many events were read.
    pub fn count(&mut self, events: u64) {
        self.events = Some(events);
    }
}

/// The next place to read in each partition ever seen.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Checkpoint(BTreeMap<PartitionId, Position>);

impl Checkpoint {
    /// The next place to read, if the partition was ever read.
    pub fn position(&self, partition: &PartitionId) -> Option<Position> {
        self.0.get(partition).copied()
    }

    /// All partitions ever read.
    pub fn iter(&self) -> impl Iterator<Item = (&PartitionId, Position)> {
        self.0.iter().map(|(partition, position)| (partition, *position))
    }

    /// Sets a position read from the store.
    pub fn restore(&mut self, partition: PartitionId, position: Position) {
        self.0.insert(partition, position);
    }

    /// Moves on by what a batch took. All or nothing.
    ///
    /// # Errors
    /// [`CheckpointError::Gap`] if a span does not start where the last one ended. A partition never seen may start
    /// anywhere, since Kafka may have dropped its beginning.
    pub fn apply(&mut self, delta: &CheckpointDelta) -> Result<(), CheckpointError> {
        for (partition, span) in delta.iter() {
            match self.position(partition) {
                Some(expected) if expected != span.from => {
                    return Err(CheckpointError::Gap {
                        partition: partition.clone(),
                        expected,
                        found: span.from,
                    });
                }
                _ => {}
            }
        }
        self.0.extend(delta.iter().map(|(partition, span)| (partition.clone(), span.to)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(from: u64, to: u64) -> Span {
        Span { from: Position(from), to: Position(to) }
    }

    #[test]
    fn spans_must_join() {
        let p = PartitionId::kafka("profiles", 0);
        let mut checkpoint = Checkpoint::default();
        let delta = |s| {
            let mut delta = CheckpointDelta::default();
            delta.extend(p.clone(), s).unwrap();
            delta
        };
        checkpoint.apply(&delta(span(7, 9))).unwrap();
        let gap = CheckpointError::Gap { partition: p.clone(), expected: Position(9), found: Position(10) };
        assert_eq!(checkpoint.apply(&delta(span(10, 11))), Err(gap));
        assert!(checkpoint.apply(&delta(span(8, 11))).is_err(), "an overlap is as wrong as a gap");
        checkpoint.apply(&delta(span(9, 9))).unwrap();
        assert_eq!(checkpoint.position(&p), Some(Position(9)));
        assert!(CheckpointDelta::default().extend(p, span(3, 2)).is_err());
    }

    #[test]
    fn a_refused_delta_changes_nothing() {
        let (p, q) = (PartitionId::file("a"), PartitionId::file("b"));
        let mut checkpoint = Checkpoint::default();
        checkpoint.restore(q.clone(), Position(5));
        let mut delta = CheckpointDelta::default();
        delta.extend(p.clone(), span(0, 3)).unwrap();
        delta.extend(q, span(4, 6)).unwrap();
        assert!(checkpoint.apply(&delta).is_err());
        assert_eq!(checkpoint.position(&p), None);
    }

    proptest! {
        /// However a run of rows is cut into batches, the checkpoint ends at its end.
        #[test]
        fn cuts_do_not_matter(cuts in prop::collection::vec(0u64..50, 1..40)) {
            let p = PartitionId::file("f");
            let mut checkpoint = Checkpoint::default();
            let mut at = 0;
            for cut in cuts {
                let mut delta = CheckpointDelta::default();
                delta.extend(p.clone(), span(at, at + cut / 2)).unwrap();
                delta.extend(p.clone(), span(at + cut / 2, at + cut)).unwrap();
                checkpoint.apply(&delta).unwrap();
                at += cut;
            }
            prop_assert_eq!(checkpoint.position(&p), Some(Position(at)));
        }
    }
}
