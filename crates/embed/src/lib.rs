//! Model packs: detect faces, align, embed, judge quality, hash the photo.
//!
//! Invariants:
//! - A pack says everything about its networks, and nothing is guessed: the wrong colours, mean or size give embeddings
//!   that look right and are not. A pack is used only if its files have the hashes it gives.
//! - A face's embedding does not depend on what else was in the batch; an embedder that breaks this is refused.
//! - One picture that fails is an error of that picture. A pack that is wrong is an error at the start.
//! - Memory is bounded by the two batch sizes, whatever the number of pictures given at once.

mod align;
mod bench;
mod canvas;
mod catalogue;
mod clock;
mod config;
mod detect;
mod embedder;
mod engine;
mod error;
mod given;
mod in_flight;
mod looks;
mod noise;
mod normalise;
mod pack;
mod pdq;
mod quality;
mod queue;
mod recognise;
mod resize;
mod stage;
mod thumbnail;
mod warp;

pub use bench::{Around, Check, NetworkSpeed, Spent, verify};
pub use catalogue::{ListedPack, folders, install_pack, known_packs, list_packs, load_pack};
pub use config::{EmbedConfig, ModelsConfig};
pub use embedder::Embedder;
pub use error::{EmbedError, PackError};
pub use normalise::{Channels, Normalisation};
pub use pack::{
    ACCEPTED_FILE, Calibration, DESCRIPTION_FILE, DetectorDescription, DetectorFamily, Edit,
    EmbedderDescription, ModelPack, PackDescription, PublishedFile,
};
pub use stage::{StoredPhotos, Uncommitted, embed_events};
