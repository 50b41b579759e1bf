//! Event time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text or number is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Not RFC 3339 with an offset.
    #[error("expected a time as RFC 3339, like 2026-01-31T12:00:00Z")]
    NotRfc3339,
    /// Outside the years 1 to 9999.
    #[error("the time lies outside the years 1 to 9999")]
    OutOfRange,
}

/// Microseconds since 1970-01-01T00:00:00Z, between the years 1 and 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

const MICROS_PER_SECOND: i64 = 1_000_000;
/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z in seconds.
const FIRST_SECOND: i64 = -62_135_596_800;
const LAST_SECOND: i64 = 253_402_207_199;

impl Timestamp {
    /// The beginning of 1970, the smallest time a source falls back to.
    pub const EPOCH: Self = Self(0);

    /// Takes microseconds since the epoch.
    ///
    /// # Errors
    /// [`TimeError::OutOfRange`] outside the years 1 to 9999.
    pub fn from_micros(micros: i64) -> Result<Self, TimeError> {
        let seconds = micros.div_euclid(MICROS_PER_SECOND);
        if (FIRST_SECOND..=LAST_SECOND).contains(&seconds) {
            Ok(Self(micros))
        } else {
            Err(TimeError::OutOfRange)
        }
    }

    /// Takes milliseconds since the epoch (the unit of Kafka's record timestamps).
    ///
    /// # Errors
    /// [`TimeError::OutOfRange`] outside the years 1 to 9999.
    pub fn from_millis(millis: i64) -> Result<Self, TimeError> {
        millis.checked_mul(1000).ok_or(TimeError::OutOfRange).and_then(Self::from_micros)
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Seconds from `earlier` to this time; negative if `earlier` is later.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.0 - earlier.0) as f64 / MICROS_PER_SECOND as f64
    }

    /// `yyyymmddThhmmssZ`, the name of snapshot folders.
    pub fn compact(self) -> String {
        self.zoned().map(|t| t.strftime("%Y%m%dT%H%M%SZ").to_string()).unwrap_or_default()
    }

    fn zoned(self) -> Option<jiff::Timestamp> {
        jiff::Timestamp::from_microsecond(self.0).ok()
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with as many decimals as needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.zoned() {
            Some(time) => write!(f, "{time}"),
            None => write!(f, "{} µs", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let time: jiff::Timestamp = text.parse().map_err(|_| TimeError::NotRfc3339)?;
        Self::from_micros(time.as_microsecond())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_offsets_and_writes_utc() {
        let time: Timestamp = "2026-01-31T12:00:00.25+02:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-01-31T10:00:00.25Z");
        assert_eq!(time.compact(), "20260131T100000Z");
        assert_eq!(time.as_micros() % MICROS_PER_SECOND, 250_000);
    }

    #[test]
    fn refuses_what_is_no_time() {
        assert_eq!("yesterday".parse::<Timestamp>(), Err(TimeError::NotRfc3339));
        assert_eq!("2026-01-31".parse::<Timestamp>(), Err(TimeError::NotRfc3339));
        assert_eq!(Timestamp::from_millis(i64::MAX), Err(TimeError::OutOfRange));
        assert_eq!(Timestamp::from_micros(i64::MIN), Err(TimeError::OutOfRange));
    }
}
