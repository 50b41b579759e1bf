//! What a source says of an account.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{AccountId, Embedding, Origin, PackId, Pdq, PhotoId, PhotoKey, PhotoUrl, Timestamp};

/// SHA-256 of an event's meaning (not of its bytes): equal for one event by Kafka and by Parquet.
pub type ContentHash = [u8; 32];

/// Why an event that could be parsed still means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Two photos of one event have the same `photo_id`.
    #[error("photo_id {0} stands twice in one event")]
    DoublePhoto(PhotoId),
}

/// Facts of a profile; all optional, none of them trusted.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProfileFacts {
    /// The handle.
    pub username: Option<String>,
    /// The name shown.
    pub full_name: Option<String>,
    /// How many follow this account.
    pub followers: Option<i64>,
    /// How many this account follows.
    pub following: Option<i64>,
    /// How many posts it has.
    pub posts: Option<i64>,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// Whether the platform vouches for it.
    pub verified: Option<bool>,
}

impl std::fmt::Debug for ProfileFacts {
    /// Leaves out the names.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProfileFacts")
            .field("followers", &self.followers)
            .field("following", &self.following)
            .field("posts", &self.posts)
            .field("created_at", &self.created_at)
            .field("verified", &self.verified)
            .finish_non_exhaustive()
    }
}

/// Where a picture comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum PhotoSource {
    /// To be fetched.
    Url(PhotoUrl),
    /// Came with the event (Parquet's `image` column).
    Inline(Bytes),
}

impl std::fmt::Debug for PhotoSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => write!(f, "{url:?}"),
            Self::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
        }
    }
}

/// One photo of a profile.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PhotoRef {
    /// The account's name for it.
    pub photo_id: PhotoId,
    /// Where the picture comes from.
    pub source: PhotoSource,
}

/// One row of a `faces` file: a face that somebody already embedded, or a photo without a face.
#[derive(Clone, PartialEq, Debug)]
pub struct GivenFace {
    /// The account's name for the photo.
    pub photo_id: PhotoId,
    /// Its bytes' hash, if known.
    pub photo_sha256: Option<PhotoKey>,
    /// Its perceptual hash, if known.
    pub photo_pdq: Option<Pdq>,
    /// Width of the face in source pixels, if known.
    pub face_width_px: Option<f32>,
    /// The embedding; `None` for a photo without a face.
    pub embedding: Option<Embedding>,
    /// The model pack that made it; `None` means the configured one.
    pub pack: Option<PackId>,
}

/// What happened to the account.
#[derive(Clone, PartialEq, Debug)]
pub enum EventBody {
    /// The account's whole current set of photos, replacing the previous one.
    Replace {
        /// The set, in the event's order.
        photos: Vec<PhotoRef>,
        /// The profile.
        facts: ProfileFacts,
    },
    /// The account was deleted. Remembered, so that an older event does not bring it back.
    Deleted,
    /// Faces already embedded, added to what the account has.
    Faces {
        /// The rows of this account, in the file's order.
        faces: Vec<GivenFace>,
        /// The profile columns of the newest row, if the file has any.
        facts: Option<ProfileFacts>,
    },
}

/// One event of one account.
#[derive(Clone, PartialEq, Debug)]
pub struct ProfileEvent {
    /// The account.
    pub account: AccountId,
    /// When the platform observed this. Decides which of two events counts, whatever order they arrive in.
    pub observed_at: Timestamp,
    /// What happened.
    pub body: EventBody,
    /// Where the event came from; no part of its meaning.
    pub origin: Origin,
}

impl ProfileEvent {
    /// Checks what parsing cannot: that no photo stands twice.
    ///
    /// # Errors
    /// [`EventError::DoublePhoto`] names the photo.
    pub fn validate(&self) -> Result<(), EventError> {
        if let EventBody::Replace { photos, .. } = &self.body {
            let mut seen = std::collections::HashSet::new();
            if let Some(photo) = photos.iter().find(|p| !seen.insert(&p.photo_id)) {
                return Err(EventError::DoublePhoto(photo.photo_id.clone()));
            }
        }
        Ok(())
    }

    /// A hash of the event's meaning; of two events with one `observed_at` the larger hash wins.
    pub fn content_hash(&self) -> ContentHash {
        let mut meaning = Meaning(Sha256::new());
        meaning.text(self.account.as_str());
        meaning.number(self.observed_at.as_micros());
        match &self.body {
            EventBody::Deleted => meaning.number(0),
            EventBody::Replace { photos, facts } => {
                meaning.number(1);
                meaning.facts(facts);
                meaning.number(photos.len() as i64);
                for photo in photos {
                    meaning.text(photo.photo_id.as_str());
                    match &photo.source {
                        PhotoSource::Url(url) => meaning.text(url.expose()),
                        PhotoSource::Inline(bytes) => meaning.bytes(PhotoKey::of_bytes(bytes).as_bytes()),
                    }
                }
            }
            EventBody::Faces { faces, facts } => {
                meaning.number(2);
                meaning.optional(facts.as_ref(), Meaning::facts);
                for face in faces {
                    meaning.text(face.photo_id.as_str());
                    meaning.optional(face.photo_sha256.as_ref(), |m, key| m.bytes(key.as_bytes()));
                    meaning.optional(face.embedding.as_ref(), |m, e| {
                        // In one piece: a hash fed value by value takes several times as long.
                        m.0.update(e.as_slice().iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
                    });
                }
            }
        }
        meaning.0.finalize().into()
    }
}

/// Feeds values to a hash so that no two different events feed the same bytes.
struct Meaning(Sha256);

impl Meaning {
    fn number(&mut self, value: i64) {
        self.0.update(value.to_le_bytes());
    }

    fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as i64);
        self.0.update(value);
    }

    fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    fn optional<T>(&mut self, value: Option<T>, feed: impl FnOnce(&mut Self, T)) {
        self.number(i64::from(value.is_some()));
        if let Some(value) = value {
            feed(self, value);
        }
    }

    fn facts(&mut self, facts: &ProfileFacts) {
        self.optional(facts.username.as_deref(), Self::text);
        self.optional(facts.full_name.as_deref(), Self::text);
        self.optional(facts.followers, Self::number);
        self.optional(facts.following, Self::number);
        self.optional(facts.posts, Self::number);
        self.optional(facts.created_at.map(Timestamp::as_micros), Self::number);
        self.optional(facts.verified.map(i64::from), Self::number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(photos: &[(&str, &str)]) -> ProfileEvent {
        let photo = |(id, url): &(&str, &str)| PhotoRef {
            photo_id: PhotoId::new(id).unwrap(),
            source: PhotoSource::Url(PhotoUrl::new(*url)),
        };
        ProfileEvent {
            account: AccountId::new("a").unwrap(),
            observed_at: Timestamp::EPOCH,
            body: EventBody::Replace {
                photos: photos.iter().map(photo).collect(),
                facts: ProfileFacts::default(),
            },
            origin: Origin::row(crate::PartitionId::file("f"), crate::Position(0)),
        }
    }

    #[test]
    fn hash_tells_events_apart() {
        assert_eq!(event(&[("p", "u")]).content_hash(), event(&[("p", "u")]).content_hash());
        assert_ne!(event(&[("p", "uv")]).content_hash(), event(&[("pu", "v")]).content_hash());
        assert_ne!(event(&[]).content_hash(), event(&[("p", "u")]).content_hash());
    }

    #[test]
    fn a_photo_twice_is_refused() {
        let twice = event(&[("p", "u"), ("p", "v")]);
        assert_eq!(twice.validate(), Err(EventError::DoublePhoto(PhotoId::new("p").unwrap())));
        assert_eq!(event(&[("p", "u"), ("q", "u")]).validate(), Ok(()));
    }

    #[test]
    fn debug_tells_no_names() {
        let facts = ProfileFacts { username: Some("secret".into()), ..Default::default() };
        assert!(!format!("{facts:?}").contains("secret"));
    }
}
