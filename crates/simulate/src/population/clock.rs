//! When things happen in a population.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use records::Timestamp;

/// Microseconds of a day.
pub(super) const DAY: i64 = 86_400_000_000;

/// The time over which a population was observed, in microseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Begin.
    pub start: i64,
    /// End.
    pub end: i64,
}

impl Window {
    pub(super) fn new(options: &super::Options) -> Self {
        let end = options.until.as_micros();
        Self { start: end - i64::from(options.days) * DAY, end }
    }

    /// A time between two others; `from` if there is nothing in between.
    pub(super) fn between(from: i64, to: i64, rng: &mut ChaCha8Rng) -> i64 {
        if to > from { rng.random_range(from..to) } else { from }
    }

    /// When an ordinary account was made: up to seven years before the end, younger ones more often.
    pub(super) fn ordinary_creation(self, rng: &mut ChaCha8Rng) -> i64 {
        let age = rng.random::<f64>().powf(1.4) * 7.0 * 365.0;
        self.end - (age * DAY as f64) as i64 - DAY
    }

    /// A waiting time with the given mean, in microseconds.
    pub(super) fn wait(mean_days: f64, rng: &mut ChaCha8Rng) -> i64 {
        (-(1.0 - rng.random::<f64>()).ln() * mean_days * DAY as f64) as i64
    }
}

/// Whole microseconds as a time; times out of range do not come up, since options are checked.
pub(super) fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).unwrap_or(Timestamp::EPOCH)
}
