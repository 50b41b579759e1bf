//! Thumbnails lie encrypted in the state and in snapshots; only here are they sealed and opened.
//!
//! Invariants:
//! - XChaCha20-Poly1305 with a fresh random nonce for every seal; the picture's key is authenticated with it, so that one
//!   thumbnail cannot be put in another's place.
//! - The key comes from a file or the environment and is never written, logged or shown.

use std::path::Path;

use anyhow::{Context, bail};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use records::PhotoKey;

/// The variable that holds the key where no file is named.
pub const VARIABLE: &str = "FACERING_THUMBNAIL_KEY";
/// What a sealed thumbnail begins with.
const MAGIC: &[u8; 4] = b"frt1";
const NONCE: usize = 24;

/// Seals and opens thumbnails.
#[derive(Clone)]
pub struct ThumbnailKey(XChaCha20Poly1305);

impl std::fmt::Debug for ThumbnailKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ThumbnailKey")
    }
}

impl ThumbnailKey {
    /// The key of the file, or of the environment where no file is named; `None` if neither is.
    pub fn find(file: &Path) -> anyhow::Result<Option<Self>> {
        let (text, place) = if file.as_os_str().is_empty() {
            match std::env::var(VARIABLE) {
                Ok(text) => (text, format!("the variable {VARIABLE}")),
                Err(std::env::VarError::NotPresent) => return Ok(None),
                Err(error) => return Err(error).context(format!("the variable {VARIABLE} cannot be read")),
            }
        } else {
            let told = || format!("the key file {} cannot be read", file.display());
            (std::fs::read_to_string(file).with_context(told)?, file.display().to_string())
        };
        let mut key = [0; 32];
        if hex::decode_to_slice(text.trim(), &mut key).is_err() {
            bail!("{place} holds no key of 64 hexadecimal digits; make one with: openssl rand -hex 32");
        }
        Ok(Some(Self(XChaCha20Poly1305::new(&key.into()))))
    }

    /// A new random key as the text that [`ThumbnailKey::find`] reads.
    pub fn generate() -> String {
        hex::encode(rand::random::<[u8; 32]>())
    }

    /// Encrypts a thumbnail.
    pub fn seal(&self, picture: &PhotoKey, jpeg: &[u8]) -> anyhow::Result<Vec<u8>> {
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: jpeg, aad: picture.as_bytes() };
        let Ok(sealed) = self.0.encrypt(&XNonce::from(nonce), payload) else {
            bail!("a thumbnail cannot be encrypted")
        };
        Ok([MAGIC.as_slice(), &nonce, &sealed].concat())
    }

    /// Decrypts what [`ThumbnailKey::seal`] made; `None` with another key, for another picture, or if it was changed.
    pub fn open(&self, picture: &PhotoKey, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, message) = sealed.strip_prefix(MAGIC)?.split_first_chunk::<NONCE>()?;
        self.0.decrypt(&XNonce::from(*nonce), Payload { msg: message, aad: picture.as_bytes() }).ok()
    }
}

/// The snapshot with its thumbnails readable, if the key is at hand.
pub fn opened(snapshot: report::Snapshot, key: Option<ThumbnailKey>) -> report::Snapshot {
    let Some(key) = key else { return snapshot };
    let open = move |picture: &PhotoKey, sealed: &[u8]| key.open(picture, sealed);
    report::Snapshot { thumbnails: snapshot.thumbnails.opened_with(Box::new(open)), ..snapshot }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> anyhow::Result<Option<ThumbnailKey>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, text).unwrap();
        ThumbnailKey::find(&file)
    }

    #[test]
    fn only_the_same_key_opens_and_only_the_same_picture() {
        let (one, other) =
            (key(&ThumbnailKey::generate()).unwrap().unwrap(), key(&"ab".repeat(32)).unwrap().unwrap());
        let (picture, another) = (PhotoKey::of_bytes(b"a"), PhotoKey::of_bytes(b"b"));
        let sealed = one.seal(&picture, b"a small picture").unwrap();
        assert!(!sealed.windows(5).any(|part| part == b"small"));
        assert_eq!(one.open(&picture, &sealed).unwrap(), b"a small picture");
        assert_ne!(one.seal(&picture, b"a small picture").unwrap(), sealed, "no nonce comes twice");
        assert_eq!(other.open(&picture, &sealed), None);
        assert_eq!(one.open(&another, &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(one.open(&picture, &changed), None);
            assert_eq!(one.open(&picture, &sealed[..at]), None);
        }
    }

    #[test]
    fn what_is_no_key_is_told() {
        let error = key("secret").unwrap_err().to_string();
        assert!(error.contains("openssl rand -hex 32") && !error.contains("secret"), "{error}");
        assert!(ThumbnailKey::find(Path::new("/nowhere/key")).is_err());
    }
}
