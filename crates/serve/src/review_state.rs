//! What the review pages need of the rest of facering, beside what every caller of the API needs.

use std::sync::Arc;

use bytes::Bytes;
use records::tables::Tables;
use records::{Decision, Deed, Embedding, FaceKey, PhotoKey};

use crate::state::StateError;

/// Decisions, and what a cluster looks like. Every method may block.
pub trait ReviewState: Send + Sync + 'static {
    /// Every decision, oldest first; the same `Arc` as long as none was added.
    ///
    /// # Errors
    /// [`StateError::Failed`] if the log cannot be read.
    fn decisions(&self) -> Result<Arc<Vec<Decision>>, StateError>;

    /// Takes a decision of this author and returns when it is on disk.
    ///
    /// # Errors
    /// [`StateError::Unanswerable`] if it cannot be taken: it undoes what is not there, or was undone already.
    fn decide(&self, author: &str, deed: Deed) -> Result<Decision, StateError>;

    /// One cluster as HTML: its pictures, graph, reasons, members and victims. `tables` hold the rows of this cluster
    /// only, and the accounts they name. The markup is finished: it escapes every text from outside itself, asks for
    /// nothing outside the page, and carries its pictures as `data:` URLs, blurred until asked for.
    ///
    /// # Errors
    /// [`StateError::Failed`] if it cannot be drawn.
    fn cluster_body(&self, tables: Tables) -> Result<String, StateError>;

    /// The style sheet that [`ReviewState::cluster_body`] is written for.
    fn style(&self) -> &'static str;

    /// The small JPEG of a picture; `None` if none is kept or its key is not at hand.
    ///
    /// # Errors
    /// [`StateError::Failed`] if the state cannot be read.
    fn thumbnail(&self, picture: &PhotoKey) -> Result<Option<Bytes>, StateError>;

    /// The faces on a picture that the state knows, with their embeddings, largest first; empty if it knows none.
    ///
    /// # Errors
    /// [`StateError::Failed`] if the state cannot be read.
    fn faces_on(&self, picture: &PhotoKey) -> Result<Vec<(FaceKey, Embedding)>, StateError>;
}
