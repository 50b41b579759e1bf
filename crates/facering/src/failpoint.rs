//! Named places where a crash can be ordered, for tests that kill the process before and after every durable step.
//!
//! `FACERING_FAILPOINT=commit.after:3` kills the process (as `kill -9` would) the third time it passes `commit.after`.
//! Without the variable a place costs one atomic read.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every place, in the order in which a batch passes them.
pub const PLACES: &[&str] = &[
    "commit.before",
    "commit.after",
    "index.after",
    "broker_commit.after",
    "dead_letters.after",
    "snapshot.before",
    "snapshot.after",
];

struct Order {
    place: String,
    passes_left: AtomicU64,
}

static ORDER: OnceLock<Option<Order>> = OnceLock::new();

fn parse(text: &str) -> Option<Order> {
    let (place, passes) = text.rsplit_once(':').map_or((text, 1), |(p, n)| (p, n.parse().unwrap_or(1)));
    PLACES.contains(&place).then(|| Order { place: place.to_owned(), passes_left: AtomicU64::new(passes) })
}

/// Passes a place; does not return if a crash was ordered here.
pub fn pass(place: &'static str) {
    debug_assert!(PLACES.contains(&place), "{place} is not listed");
    let order = ORDER.get_or_init(|| std::env::var("FACERING_FAILPOINT").ok().as_deref().and_then(parse));
    if let Some(order) = order
        && order.place == place
        && order.passes_left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        tracing::warn!(place, "killed here, as FACERING_FAILPOINT orders");
        // Neither destructors nor exit handlers may run: this stands for a power cut.
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read() {
        let order = parse("commit.after:3").unwrap();
        assert_eq!((order.place.as_str(), order.passes_left.into_inner()), ("commit.after", 3));
        assert_eq!(parse("commit.before").unwrap().passes_left.into_inner(), 1);
        assert!(parse("no.such.place").is_none());
    }
}
