//! The unit that moves from stage to stage.

use crate::{CheckpointDelta, DeadLetter};

/// Some items together with what was taken from the source to make them.
///
/// The delta covers every record read, also those that became dead letters or nothing at all; it goes through every
/// stage even when `items` has become empty, so that the checkpoint moves past them.
#[derive(Clone, PartialEq, Debug)]
pub struct Batch<T> {
    /// The items, in the source's order.
    pub items: Vec<T>,
    /// What was given up so far.
    pub dead: Vec<DeadLetter>,
    /// What was taken from the source.
    pub delta: CheckpointDelta,
}

impl<T> Batch<T> {
    /// A batch without dead letters.
    pub fn new(items: Vec<T>, delta: CheckpointDelta) -> Self {
        Self { items, dead: Vec::new(), delta }
    }

    /// Whether it neither holds anything nor moves the checkpoint.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.dead.is_empty() && self.delta.is_empty()
    }

    /// Puts the next stage's items in the place of this one's.
    pub fn with_items<U>(self, items: Vec<U>) -> Batch<U> {
        Batch { items, dead: self.dead, delta: self.delta }
    }
}
