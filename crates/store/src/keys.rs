//! The keys of rows.
//!
//! Invariants: ids hold no control characters, so a NUL ends them and sorting by key is sorting by id; numbers are
//! big-endian for the same reason. The one-byte key [`STAMP`] is taken in every keyspace (see `check`), and no other key
//! is that short and starts with it.

use records::{AccountId, FaceKey, PhotoId, PhotoKey};

use crate::StoreError;

/// The key under which every keyspace holds the number of the last commit.
pub(crate) const STAMP: [u8; 1] = [0];

/// `account NUL photo_id NUL photo key`.
pub(crate) fn ownership(account: &AccountId, photo_id: &PhotoId, photo: &PhotoKey) -> Vec<u8> {
    let mut key = account_prefix(account);
    key.extend_from_slice(photo_id.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(photo.as_bytes());
    key
}

/// `account NUL`, where the account's ownership rows start.
pub(crate) fn account_prefix(account: &AccountId) -> Vec<u8> {
    let mut key = Vec::with_capacity(account.as_str().len() + 64);
    key.extend_from_slice(account.as_str().as_bytes());
    key.push(0);
    key
}

/// Reads what [`ownership`] wrote.
pub(crate) fn parse_ownership(key: &[u8]) -> Result<(AccountId, PhotoId, PhotoKey), StoreError> {
    let parse = || {
        let (rest, photo) = key.split_last_chunk::<32>()?;
        let rest = std::str::from_utf8(rest.strip_suffix(&[0])?).ok()?;
        let (account, photo_id) = rest.split_once('\0')?;
        Some((AccountId::new(account).ok()?, PhotoId::new(photo_id).ok()?, PhotoKey::from_sha256(*photo)))
    };
    parse().ok_or(StoreError::Malformed { keyspace: "ownerships", what: "its key has another form" })
}

/// `photo key account NUL photo_id`.
pub(crate) fn owner(photo: &PhotoKey, account: &AccountId, photo_id: &PhotoId) -> Vec<u8> {
    let mut key = photo.as_bytes().to_vec();
    key.extend_from_slice(account.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(photo_id.as_str().as_bytes());
    key
}

/// Reads what [`owner`] wrote.
pub(crate) fn parse_owner(key: &[u8]) -> Result<(PhotoKey, AccountId, PhotoId), StoreError> {
    let parse = || {
        let (photo, rest) = key.split_first_chunk::<32>()?;
        let (account, photo_id) = std::str::from_utf8(rest).ok()?.split_once('\0')?;
        Some((PhotoKey::from_sha256(*photo), AccountId::new(account).ok()?, PhotoId::new(photo_id).ok()?))
    };
    parse().ok_or(StoreError::Malformed { keyspace: "owners", what: "its key has another form" })
}

/// A face, and a newer one: where a list of newer faces stands that begins there.
pub(crate) fn back_list(older: u64, first: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&older.to_be_bytes());
    key[8..].copy_from_slice(&first.to_be_bytes());
    key
}

/// Reads what [`back_list`] wrote.
pub(crate) fn parse_back_list(key: &[u8]) -> Result<(u64, u64), StoreError> {
    let what = "its key has another form";
    let (older, first) =
        key.split_at_checked(8).ok_or(StoreError::Malformed { keyspace: "links_back", what })?;
    Ok((parse_number(older, "links_back")?, parse_number(first, "links_back")?))
}

/// Reads a photo's key.
pub(crate) fn parse_photo(key: &[u8], keyspace: &'static str) -> Result<PhotoKey, StoreError> {
    let key: [u8; 32] =
        key.try_into().map_err(|_| StoreError::Malformed { keyspace, what: "its key has another form" })?;
    Ok(PhotoKey::from_sha256(key))
}

/// Reads a face's key.
pub(crate) fn parse_face(key: &[u8], keyspace: &'static str) -> Result<FaceKey, StoreError> {
    FaceKey::from_bytes(key).ok_or(StoreError::Malformed { keyspace, what: "its key has another form" })
}

/// Reads a number.
pub(crate) fn parse_number(key: &[u8], keyspace: &'static str) -> Result<u64, StoreError> {
    let key =
        key.try_into().map_err(|_| StoreError::Malformed { keyspace, what: "its number is not 8 bytes" })?;
    Ok(u64::from_be_bytes(key))
}

/// `commit photo key`: orphans in the order in which they became such.
pub(crate) fn orphan(commit: u64, photo: &PhotoKey) -> [u8; 40] {
    let mut key = [0; 40];
    key[..8].copy_from_slice(&commit.to_be_bytes());
    key[8..].copy_from_slice(photo.as_bytes());
    key
}

/// Reads what [`orphan`] wrote.
pub(crate) fn parse_orphan(key: &[u8]) -> Result<(u64, PhotoKey), StoreError> {
    let (commit, photo) = key
        .split_at_checked(8)
        .ok_or(StoreError::Malformed { keyspace: "orphans", what: "its key is too short" })?;
    Ok((parse_number(commit, "orphans")?, parse_photo(photo, "orphans")?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Keys of any ids and hashes (hashes hold NULs) are read back, and an account's rows share its prefix only.
        #[test]
        fn keys_are_read_back(account in "[a-zé/ ]{1,9}", photo in "[0-9ü_]{1,9}", hash: [u8; 32], other in "[a-z]{1,9}") {
            let (account, photo) = (AccountId::new(account).unwrap(), PhotoId::new(photo).unwrap());
            let hash = PhotoKey::from_sha256(hash);
            let key = ownership(&account, &photo, &hash);
            prop_assert_eq!(parse_ownership(&key).unwrap(), (account.clone(), photo.clone(), hash));
            let other = AccountId::new(other).unwrap();
            prop_assert_eq!(key.starts_with(&account_prefix(&other)), account == other);
            let key = owner(&hash, &account, &photo);
            prop_assert_eq!(parse_owner(&key).unwrap(), (hash, account, photo));
            prop_assert_eq!(parse_orphan(&orphan(7, &hash)).unwrap(), (7, hash));
        }
    }
}
