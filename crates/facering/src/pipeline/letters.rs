//! Bounding what the dead letters of one batch hold.
//!
//! Each letter carries the original bytes of its event, and one event may have thousands of photos that fail: a message of
//! a megabyte would be stored ten thousand times. So beyond a limit the bytes stay with the first letter of the event.

use std::collections::HashSet;

use bytes::Bytes;
use records::{DeadLetter, DeadLetterReason, PartitionId, Position};

/// Bytes of copies in one batch from which on further copies are left out.
const MOST_COPIED: usize = 32 << 20;

/// Takes the original bytes out of letters whose event has a letter of the same reason that keeps them, once the batch's
/// letters hold more than enough. A replay needs them once.
pub fn bound_copies(letters: &mut [DeadLetter]) {
    bound_to(letters, MOST_COPIED);
}

fn bound_to(letters: &mut [DeadLetter], most: usize) {
    let mut seen: HashSet<(PartitionId, Position, DeadLetterReason)> = HashSet::new();
    let mut copied = 0;
    for letter in letters {
        let origin = &mut letter.origin;
        let first = seen.insert((origin.partition.clone(), origin.position, letter.reason));
        if first {
            continue;
        }
        copied += origin.payload.len();
        if copied > most {
            origin.payload = Bytes::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use records::{Origin, Stage};

    use super::*;

    #[test]
    fn every_event_keeps_its_bytes_once_for_each_reason() {
        let letter = |position: u64, reason| {
            let origin = Origin {
                payload: Bytes::from(vec![7; 100]),
                ..Origin::row(PartitionId::kafka("t", 0), Position(position))
            };
            origin.dead_letter(Stage::Fetch, reason, "no")
        };
        let (timeout, missing) = (DeadLetterReason::Timeout, DeadLetterReason::NotFound);
        let mut letters: Vec<_> = (0..8).map(|_| letter(1, timeout)).collect();
        letters.push(letter(1, missing));
        letters.push(letter(2, timeout));
        bound_to(&mut letters, 250);
        let kept: Vec<bool> = letters.iter().map(|letter| !letter.origin.payload.is_empty()).collect();
        // The first and two copies within the limit, then none; but the first of each event and reason.
        assert_eq!(kept, [true, true, true, false, false, false, false, false, true, true]);
    }
}
