//! A population as somebody who already embedded it would hand it over: `faces.parquet` by the contract of the
//! `backfill` input, with embeddings that scatter as measured on real faces, and `truth.parquet` beside it.

mod embedding;
mod hashes;
mod space;
mod table;

pub use embedding::{embedding, face_embedding};
pub use hashes::{photo_pdq, photo_sha256};
pub use space::Space;
pub use table::{FaceOptions, Written, write_faces};

#[cfg(test)]
mod tests;
