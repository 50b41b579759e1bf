//! The plain data that travels between the stages: ids, events, faces, links, checkpoints.
//!
//! Invariants:
//! - No I/O and no async here; every other crate may import this one, and this one imports none of them.
//! - A value that exists is valid: ids are not empty, an [`Embedding`] has unit length, a [`Cosine`] lies in -1..=1.
//! - `Debug` never shows pixels, image bytes, embeddings, names or the query of a URL.
//! - All times are event times in UTC ([`Timestamp`]); nothing here reads a clock.

mod batch;
mod checkpoint;
mod dead_letter;
mod decision;
mod dismissals;
mod event;
mod face;
mod ids;
mod link;
mod pdq;
mod photo;
mod proposal;
pub mod tables;
mod time;
mod url;
mod vector;
mod vocabulary;

pub use batch::Batch;
pub use checkpoint::{Checkpoint, CheckpointDelta, CheckpointError, PartitionId, Position, Span};
pub use dead_letter::{DeadLetter, DeadLetterReason, Origin, Stage};
pub use decision::{Allowed, Decision, DecisionId, Deed, EvidenceKey, LONGEST_REASON, Standing};
pub use dismissals::{Dismissal, Dismissals, Since};
pub use event::{
    ContentHash, EventBody, EventError, GivenFace, PhotoRef, PhotoSource, ProfileEvent, ProfileFacts,
};
pub use face::{Face, FaceBox, Landmarks, Quality};
pub use ids::{AccountId, FaceKey, FaceOrdinal, IdError, PackId, PhotoId, PhotoKey};
pub use link::{FaceLink, PhotoRelation};
pub use pdq::Pdq;
pub use photo::{
    EmbeddedEvent, EmbeddedPhoto, Encoded, FetchedEvent, FetchedPhoto, PhotoContent, PhotoFacts, Picture,
    Pixels, Staged, StagedBody,
};
pub use proposal::{ClusterFacts, Proposal, ProposalError};
pub use time::{TimeError, Timestamp};
pub use url::PhotoUrl;
pub use vector::{Cosine, Embedding, VectorError};
pub use vocabulary::UnknownWord;
