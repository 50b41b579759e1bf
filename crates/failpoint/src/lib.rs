//! Named places at which a test can have the process killed: before and after every durable step.
//!
//! `FACERING_FAILPOINT=commit.after:3` kills the process (as `kill -9` would) the third time it passes `commit.after`;
//! `FACERING_FAILPOINT=any:17` at the seventeenth place it passes, whichever that is. Without the variable a place costs
//! one atomic read.
//!
//! Invariants:
//! - Every place stands in [`PLACES`]; an order that names another is refused at the start, so that no test waits for a
//!   crash that cannot happen.
//! - A crash runs neither destructors nor exit handlers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable that orders a crash.
pub const VARIABLE: &str = "FACERING_FAILPOINT";

/// Every place, about in the order in which a batch passes them.
pub const PLACES: &[&str] = &[
    // The store's atomic commit: batches, sweeps, published letters.
    "commit.before",
    "commit.after",
    // The live index has taken the commit in.
    "index.applied",
    // Positions told to Kafka.
    "broker_commit.before",
    "broker_commit.after",
    // Dead letters sent to their topic or file, then marked so in the store.
    "dead_letters.before",
    "dead_letters.published",
    "dead_letters.marked",
    // A file of the index: its body written but not synced, then renamed into place.
    "index_file.written",
    "index_file.renamed",
    // The manifest that names the files.
    "manifest.before",
    "manifest.after",
    // Live rows made a segment; segments merged.
    "seal.before",
    "seal.after",
    "compact.before",
    "compact.after",
    // A snapshot: begun, its tables written, renamed into place, named by LATEST, old ones removed.
    "snapshot.before",
    "snapshot.written",
    "snapshot.renamed",
    "snapshot.named",
    "snapshot.after",
    // Accounts erased from the rows; their bytes have yet to leave the disk.
    "forget.rows",
];

/// Stands for every place.
const ANY: &str = "any";

struct Order {
    place: String,
    passes_left: AtomicU64,
}

static ORDER: OnceLock<Option<Order>> = OnceLock::new();

fn parse(text: &str) -> Result<Order, String> {
    let (place, passes) = text.rsplit_once(':').unwrap_or((text, "1"));
    if place != ANY && !PLACES.contains(&place) {
        return Err(format!("{VARIABLE} names {place:?}; expected {ANY} or one of {}", PLACES.join(", ")));
    }
    match passes.parse() {
        Ok(passes @ 1..) => Ok(Order { place: place.to_owned(), passes_left: AtomicU64::new(passes) }),
        _ => Err(format!("{VARIABLE} counts {passes:?} passes; expected a number from 1")),
    }
}

/// Reads the order, if there is one. To be called once at the start.
///
/// # Errors
/// A sentence, if the order cannot be carried out.
pub fn arm() -> Result<(), String> {
    let order = match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => Some(parse(&text)?),
        _ => None,
    };
    // Only a second call finds it set.
    drop(ORDER.set(order));
    Ok(())
}

/// Passes a place; does not return if a crash was ordered here. Before [`arm`] nothing happens.
pub fn pass(place: &'static str) {
    debug_assert!(PLACES.contains(&place), "{place} is not listed");
    if let Some(Some(order)) = ORDER.get()
        && (order.place == place || order.place == ANY)
        && order.passes_left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        die(place);
    }
}

#[expect(clippy::print_stderr, reason = "the log may be buffered, and nothing is flushed after this")]
fn die(place: &str) -> ! {
    eprintln!("killed at {place}, as {VARIABLE} orders");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read() {
        let read = |text| parse(text).map(|order| (order.place, order.passes_left.into_inner()));
        assert_eq!(read("commit.after:3"), Ok(("commit.after".to_owned(), 3)));
        assert_eq!(read("commit.before"), Ok(("commit.before".to_owned(), 1)));
        assert_eq!(read("any:250"), Ok(("any".to_owned(), 250)));
    }

    #[test]
    fn an_order_that_cannot_be_carried_out_is_refused() {
        for text in ["no.such.place", "commit.after:0", "commit.after:x", "commit.after:", ":3"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("snapshot.befor").err().is_some_and(|error| error.contains("snapshot.before")));
    }
}
