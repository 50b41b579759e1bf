//! What could not be processed, and why, in a fixed vocabulary (documented in `docs/dead-letters.md`).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{AccountId, PartitionId, PhotoId, Position, Timestamp};

crate::vocabulary::vocabulary!(
    /// The stage that gave up (header `facering-stage`).
    Stage {
        /// Reading the source.
        Ingest = "ingest",
        /// Fetching or decoding a picture.
        Fetch = "fetch",
        /// Detecting or embedding faces.
        Embed = "embed",
    }
);

crate::vocabulary::vocabulary!(
    /// Why (header `facering-reason`).
    DeadLetterReason {
        /// The message is no JSON object.
        MalformedJson = "malformed_json",
        /// A field that must be there is missing or null.
        MissingField = "missing_field",
        /// A field has a value it may not have.
        InvalidField = "invalid_field",
        /// One event names a photo twice.
        DuplicatePhoto = "duplicate_photo",
        /// The message or picture is larger than configured.
        TooLarge = "too_large",
        /// An embedding has another dimension than its pack.
        WrongDimension = "wrong_dimension",
        /// An embedding holds NaN or infinity, or is all zero.
        InvalidVector = "invalid_vector",
        /// An embedding was made by another model pack.
        WrongPack = "wrong_pack",
        /// The URL cannot be parsed or has a scheme that is not allowed.
        UrlRefused = "url_refused",
        /// The URL leads to an address that is not allowed (private, loopback, link-local, metadata).
        AddressRefused = "address_refused",
        /// The host has no such picture (404, 410).
        NotFound = "not_found",
        /// The host will not give it (401, 403, 451).
        Denied = "denied",
        /// The host answered with something else than a picture or a known refusal.
        UnexpectedStatus = "unexpected_status",
        /// More redirects than configured.
        TooManyRedirects = "too_many_redirects",
        /// No answer in time, after retries.
        Timeout = "timeout",
        /// The host cannot be resolved or reached, or broke off, after retries.
        Unreachable = "unreachable",
        /// The host keeps saying "too many requests" or "unavailable", after retries.
        Throttled = "throttled",
        /// The bytes are no picture of a known format.
        NotAnImage = "not_an_image",
        /// The picture is damaged.
        CorruptImage = "corrupt_image",
        /// The picture has more pixels than configured.
        TooManyPixels = "too_many_pixels",
        /// The model failed on this picture.
        InferenceFailed = "inference_failed",
    }
);

/// Where an event came from, kept with it so that whoever gives it up can say so.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    /// The partition.
    pub partition: PartitionId,
    /// The event's own position there (not the next one).
    pub position: Position,
    /// The original key, if there was one.
    pub key: Option<Bytes>,
    /// The original bytes of the event; empty for rows of a file, which `partition` and `position` name.
    pub payload: Bytes,
    /// The original headers.
    pub headers: Vec<(String, Bytes)>,
}

impl Origin {
    /// A row of a file.
    pub fn row(partition: PartitionId, position: Position) -> Self {
        Self { partition, position, key: None, payload: Bytes::new(), headers: Vec::new() }
    }

    /// A letter about this event. `detail` is one sentence without image bytes, embeddings or queries of URLs.
    pub fn dead_letter(
        &self,
        stage: Stage,
        reason: DeadLetterReason,
        detail: impl Into<String>,
    ) -> DeadLetter {
        DeadLetter {
            origin: self.clone(),
            stage,
            reason,
            detail: detail.into(),
            account: None,
            photo: None,
            observed_at: None,
        }
    }
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.partition, self.position.0)
    }
}

/// One event, row or photo that was given up.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it came from, with the original bytes.
    pub origin: Origin,
    /// The stage that gave up.
    pub stage: Stage,
    /// Why.
    pub reason: DeadLetterReason,
    /// One sentence for a person. Never holds image bytes, embeddings or the query of a URL.
    pub detail: String,
    /// The account, where it could be read.
    pub account: Option<AccountId>,
    /// The photo, if only a photo failed.
    pub photo: Option<PhotoId>,
    /// When the event was observed, where it could be read.
    pub observed_at: Option<Timestamp>,
}

impl DeadLetter {
    /// Names the account and the time of the event.
    #[must_use]
    pub fn of_event(mut self, account: AccountId, observed_at: Timestamp) -> Self {
        self.account = Some(account);
        self.observed_at = Some(observed_at);
        self
    }

    /// Names the one photo that failed; the event's other photos went on.
    #[must_use]
    pub fn of_photo(mut self, photo: PhotoId) -> Self {
        self.photo = Some(photo);
        self
    }
}

impl std::fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeadLetter({} {} at {:?}: {})", self.stage, self.reason, self.origin, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_back_and_matches_serde() {
        for reason in DeadLetterReason::ALL {
            assert_eq!(reason.as_str().parse::<DeadLetterReason>().unwrap(), *reason);
            assert_eq!(serde_json::to_string(reason).unwrap(), format!("\"{reason}\""));
        }
        for stage in Stage::ALL {
            assert_eq!(stage.as_str().parse::<Stage>().unwrap(), *stage);
        }
        assert!("nonsense".parse::<DeadLetterReason>().is_err());
    }

    #[test]
    fn every_reason_is_documented() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/dead-letters.md");
        let text = std::fs::read_to_string(path).unwrap();
        for reason in DeadLetterReason::ALL {
            assert!(text.contains(&format!("`{reason}`")), "docs/dead-letters.md does not explain {reason}");
        }
    }
}
