//! What the service needs of the rest of facering, which the binary implements.
//!
//! Every method may block: the service calls them on threads made for that, never on the ones that serve sockets.

use std::sync::Arc;

use bytes::Bytes;
use records::tables::{RunInfo, Tables};
use records::{AccountId, Cosine, Embedding, FaceKey, PhotoId, PhotoKey, ProfileFacts, Timestamp};

use crate::review_state::ReviewState;

/// What the state holds, and whether it can answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// `None` if requests can be answered, else what is being waited for.
    pub waiting_for: Option<String>,
    /// Accounts.
    pub accounts: u64,
    /// Distinct pictures.
    pub photos: u64,
    /// Faces.
    pub faces: u64,
    /// Links between faces.
    pub links: u64,
    /// Greatest `observed_at` of the data; none while it is empty.
    pub as_of: Option<Timestamp>,
}

/// The newest snapshot.
#[derive(Debug)]
pub struct Latest {
    /// What it was made from.
    pub run: RunInfo,
    /// Its tables.
    pub tables: Tables,
}

/// An account as the state knows it.
#[derive(Clone, Debug)]
pub struct AccountView {
    /// Its profile as last seen.
    pub facts: ProfileFacts,
    /// When it was last observed.
    pub observed_at: Timestamp,
    /// Its current photos.
    pub photos: Vec<PhotoView>,
}

/// A photo of an account.
#[derive(Clone, Debug)]
pub struct PhotoView {
    /// The account's name for it.
    pub photo_id: PhotoId,
    /// The picture it shows.
    pub picture: PhotoKey,
    /// The faces on it.
    pub faces: Vec<FaceKey>,
}

/// One photo of an account that shows a face like the one asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct Match {
    /// The account.
    pub account: AccountId,
    /// Its photo.
    pub photo: PhotoId,
    /// The face on it.
    pub face: FaceKey,
    /// Exact cosine to the face asked for.
    pub cosine: Cosine,
}

/// What to search for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SearchLimits {
    /// Most matches for each query.
    pub matches: usize,
    /// Smallest cosine of a match.
    pub least: Cosine,
}

/// What an erasure removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForgetReceipt {
    /// Photos that belonged to the account.
    pub photos: u64,
    /// Pictures that nobody else shows, and which were therefore erased.
    pub pictures: u64,
    /// Faces erased.
    pub faces: u64,
    /// The receipt for whoever asked for the erasure: JSON, signed as text.
    pub receipt: String,
    /// Its Ed25519 signature, base64.
    pub signature: String,
    /// The key that it was signed with, base64.
    pub public_key: String,
}

/// Why the state cannot answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StateError {
    /// Not now; the same request may succeed later.
    #[error("not ready: {0}")]
    NotReady(String),
    /// Never: the request itself cannot be answered (no face on the picture, another dimension, a broken file).
    #[error("{0}")]
    Unanswerable(String),
    /// The state is at fault. Told to the operator's log, not to the caller.
    #[error("the state failed: {0}")]
    Failed(String),
}

/// The state behind the service; what the review pages need besides stands in [`ReviewState`].
pub trait ServiceState: ReviewState {
    /// What the state holds, and whether it can answer.
    ///
    /// # Errors
    /// [`StateError::Failed`] if even that is unknown.
    fn status(&self) -> Result<Status, StateError>;

    /// The newest snapshot, shared as long as it is the newest.
    ///
    /// # Errors
    /// [`StateError::NotReady`] before the first one.
    fn latest(&self) -> Result<Arc<Latest>, StateError>;

    /// The newest snapshot as an HTML page that needs nothing else.
    ///
    /// # Errors
    /// As [`ServiceState::latest`].
    fn page(&self) -> Result<Arc<str>, StateError>;

    /// The faces on a picture, largest first, as embeddings of the configured model pack.
    ///
    /// # Errors
    /// [`StateError::Unanswerable`] if the bytes are no picture that may be decoded, or show no face.
    fn embed(&self, picture: Bytes) -> Result<Vec<Embedding>, StateError>;

    /// The photos most like each query, most alike first: as many lists as queries.
    ///
    /// # Errors
    /// [`StateError::Unanswerable`] if a query has another dimension than the index.
    fn search(&self, queries: &[Embedding], limits: SearchLimits) -> Result<Vec<Vec<Match>>, StateError>;

    /// An account; `None` if the state does not know it.
    ///
    /// # Errors
    /// [`StateError`] if the state cannot answer.
    fn account(&self, account: &AccountId) -> Result<Option<AccountView>, StateError>;

    /// Erases an account everywhere; `None` if the state does not know it. Returns when it is gone.
    ///
    /// # Errors
    /// [`StateError`] if it could not be erased whole; asking again finishes it.
    fn forget(&self, account: &AccountId) -> Result<Option<ForgetReceipt>, StateError>;
}
