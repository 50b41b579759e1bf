//! The clock on the wall. Scores never read it (they live in event time); decisions, receipts and file names do.

use records::Timestamp;

/// Now, in UTC.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(0)).unwrap_or(Timestamp::EPOCH)
}
