//! Where a partition is read from.

use records::{PartitionId, Position};

use crate::{SourceError, Start};

/// Where reading starts, and from where the first span counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StartPoint {
    /// The offset to ask the broker for.
    pub(super) fetch: u64,
    /// Where the partition's first span starts: where the state's last one ended.
    pub(super) span: u64,
}

impl StartPoint {
    /// Records that the broker dropped before they were read.
    pub(super) fn lost(&self) -> u64 {
        self.fetch - self.span
    }
}

/// Decides from the state's position and the partition's first and next offsets (`low`, `high`).
///
/// # Errors
/// [`SourceError::Recreated`] if the state is ahead of the partition's end.
pub(super) fn start_point(
    partition: &PartitionId,
    state: Option<Position>,
    (low, high): (u64, u64),
    start: Start,
) -> Result<StartPoint, SourceError> {
    match (state, start) {
        (Some(Position(position)), _) if position > high => {
            Err(SourceError::Recreated { partition: partition.clone(), position, end: high })
        }
        (Some(Position(position)), _) => Ok(StartPoint { fetch: position.max(low), span: position }),
        (None, Start::Earliest) => Ok(StartPoint { fetch: low, span: low }),
        (None, Start::Latest) => Ok(StartPoint { fetch: high, span: high }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_decides_and_the_log_limits() {
        let partition = PartitionId::kafka("t", 0);
        let at = |state: Option<u64>, low, high, start| {
            start_point(&partition, state.map(Position), (low, high), start).map(|p| (p.fetch, p.span)).ok()
        };
        assert_eq!(at(None, 5, 9, Start::Earliest), Some((5, 5)));
        assert_eq!(at(None, 5, 9, Start::Latest), Some((9, 9)));
        assert_eq!(at(Some(7), 5, 9, Start::Latest), Some((7, 7)));
        assert_eq!(at(Some(9), 5, 9, Start::Earliest), Some((9, 9)), "all was read");
        assert_eq!(at(Some(2), 5, 9, Start::Earliest), Some((5, 2)), "the log lost its beginning");
        assert_eq!(at(Some(10), 5, 9, Start::Earliest), None, "the topic was recreated");
    }
}
