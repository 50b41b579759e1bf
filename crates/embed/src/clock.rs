//! Where the time goes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A part of the work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Placing on the canvas, the detector, reading its outputs.
    Detection,
    /// Cutting the faces out and judging them.
    Alignment,
    /// The embedder.
    Embedding,
    /// Perceptual hashes and thumbnails.
    Hash,
}

/// The parts with their names in metrics and benchmarks.
pub const PARTS: [(Part, &str); 4] = [
    (Part::Detection, "detection"),
    (Part::Alignment, "alignment"),
    (Part::Embedding, "embedding"),
    (Part::Hash, "hash"),
];

/// Busy nanoseconds of each part over all threads, and of the two networks alone.
#[derive(Debug, Default)]
pub struct Clock {
    parts: [AtomicU64; 4],
    networks: AtomicU64,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Clock {
    pub fn time<T>(&self, part: Part, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        let spent = start.elapsed();
        self.parts[part as usize].fetch_add(nanos(spent), Ordering::Relaxed);
        metrics::histogram!("facering_embed_busy_seconds", "part" => PARTS[part as usize].1).record(spent);
        result
    }

    /// Adds the time of one run of a network, which a part's time holds too.
    pub fn ran(&self, network: Duration) {
        self.networks.fetch_add(nanos(network), Ordering::Relaxed);
    }

    /// Busy seconds of each part so far, and of the networks.
    pub fn seconds(&self) -> ([f64; 4], f64) {
        let seconds = |spent: &AtomicU64| spent.load(Ordering::Relaxed) as f64 / 1e9;
        (PARTS.map(|(part, _)| seconds(&self.parts[part as usize])), seconds(&self.networks))
    }
}
