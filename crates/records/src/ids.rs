//! Identifiers. Each is a type of its own, so that an account is never taken for a photo.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::Embedding;

/// Longest account or photo id taken, in bytes. Longer ones are a mistake or an attack, and would bloat every key.
const MAX_ID_BYTES: usize = 512;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The text is empty.
    #[error("an id may not be empty")]
    Empty,
    /// The text is longer than 512 bytes.
    #[error("an id may have at most {MAX_ID_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// The text holds a control character (a NUL separates the parts of keys in the store).
    #[error("an id may not contain control characters")]
    Control,
    /// The text is not 64 hexadecimal digits.
    #[error("expected {0} hexadecimal digits")]
    NotHex(usize),
}

fn checked(text: &str) -> Result<Arc<str>, IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    if text.len() > MAX_ID_BYTES {
        return Err(IdError::TooLong(text.len()));
    }
    if text.chars().any(char::is_control) {
        return Err(IdError::Control);
    }
    Ok(Arc::from(text))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a text of 1 to 512 bytes without control characters.
            ///
            /// # Errors
            /// [`IdError`] says which rule the text breaks.
            pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
                checked(text.as_ref()).map(Self)
            }

            /// The id as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), &*self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// An account, as the operator's platform names it.
    AccountId
);
text_id!(
    /// A photo as its account names it: unique within the account only.
    PhotoId
);
text_id!(
    /// A model pack. Embeddings of two packs are never compared.
    PackId
);

/// A distinct picture: the SHA-256 of its bytes, or, where nobody knows the bytes, a hash of account and photo id.
///
/// Equal bytes on any number of accounts are one `PhotoKey`, so they are fetched, embedded and indexed once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhotoKey([u8; 32]);

impl PhotoKey {
    /// The key of a picture whose bytes are at hand.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The key of a picture of which only account and photo id are known (a `faces` row without a hash).
    pub fn unhashed(account: &AccountId, photo: &PhotoId) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(b"facering unhashed photo\0");
        hasher.update(account.as_str().as_bytes());
        hasher.update(b"\0");
        hasher.update(photo.as_str().as_bytes());
        Self(hasher.finalize().into())
    }

    /// Wraps a SHA-256 that was computed elsewhere.
    pub const fn from_sha256(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PhotoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PhotoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PhotoKey({}…)", hex::encode(&self.0[..6]))
    }
}

impl FromStr for PhotoKey {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut hash = [0; 32];
        hex::decode_to_slice(text, &mut hash).map_err(|_| IdError::NotHex(64))?;
        Ok(Self(hash))
    }
}

impl Serialize for PhotoKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PhotoKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A face: the picture it stands in, and a tag taken from its embedding.
///
/// The tag does not depend on the order in which the faces of a photo arrive (`faces` rows come in any order).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FaceKey {
    /// The picture.
    pub photo: PhotoKey,
    /// First eight bytes, big-endian, of the SHA-256 of the embedding as little-endian fp16.
    pub tag: u64,
}

impl FaceKey {
    /// The key of the face with this embedding in this picture.
    pub fn new(photo: PhotoKey, embedding: &Embedding) -> Self {
        let digest: [u8; 32] = Sha256::digest(embedding.to_fp16()).into();
        let tag = digest.iter().take(8).fold(0, |tag, byte| (tag << 8) | u64::from(*byte));
        Self { photo, tag }
    }

    /// 40 bytes: the photo's key, then the tag big-endian, so that the faces of a photo stand together when sorted.
    pub fn to_bytes(self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[..32].copy_from_slice(self.photo.as_bytes());
        bytes[32..].copy_from_slice(&self.tag.to_be_bytes());
        bytes
    }

    /// Reads what [`FaceKey::to_bytes`] wrote; `None` if the length is not 40.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (photo, tag) = bytes.split_first_chunk::<32>()?;
        Some(Self { photo: PhotoKey(*photo), tag: u64::from_be_bytes(tag.try_into().ok()?) })
    }
}

impl fmt::Display for FaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.photo, self.tag)
    }
}

impl FromStr for FaceKey {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let (photo, tag) = text.split_once('-').ok_or(IdError::NotHex(64))?;
        if tag.len() != 16 {
            return Err(IdError::NotHex(16));
        }
        let tag = u64::from_str_radix(tag, 16).map_err(|_| IdError::NotHex(16))?;
        Ok(Self { photo: photo.parse()?, tag })
    }
}

/// The dense number of a face in the index: 0, 1, 2, … in the order of commits. Never reused within a state folder.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FaceOrdinal(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_refuse_what_would_break_keys() {
        assert_eq!(AccountId::new(""), Err(IdError::Empty));
        assert_eq!(AccountId::new("a\0b"), Err(IdError::Control));
        assert_eq!(AccountId::new("x".repeat(513)), Err(IdError::TooLong(513)));
        assert_eq!(AccountId::new("Zoë 7").unwrap().as_str(), "Zoë 7");
    }

    #[test]
    fn keys_survive_text_and_bytes() {
        let photo = PhotoKey::of_bytes(b"picture");
        assert_eq!(photo.to_string().parse::<PhotoKey>().unwrap(), photo);
        let face = FaceKey { photo, tag: 0x0123_4567_89ab_cdef };
        assert_eq!(face.to_string().parse::<FaceKey>().unwrap(), face);
        assert_eq!(FaceKey::from_bytes(&face.to_bytes()), Some(face));
        assert_eq!(FaceKey::from_bytes(b"short"), None);
    }

    #[test]
    fn unhashed_keys_do_not_run_together() {
        let key = |a, p| PhotoKey::unhashed(&AccountId::new(a).unwrap(), &PhotoId::new(p).unwrap());
        assert_ne!(key("ab", "c"), key("a", "bc"));
    }
}
