//! The face index: FAISS segments, training, search with exact re-ranking.
//!
//! Invariants:
//! - Ordinals are dense and never reused; account and face keys live in the store.
//! - Sealed segments are immutable and mapped; what is newer is in memory and rebuilt from the store's log. Deleting
//!   sets a bit. A manifest that is replaced as a whole says which files count.
//! - A raw score is no cosine: candidates are taken by calibrated score and compared with the exact vectors.
//! - FAISS sees only what was validated: an exception inside one of its parallel regions would end the process.

mod bench;
mod block;
mod bulk;
mod bulk_scan;
mod coarse;
mod config;
mod error;
mod exact;
mod factory;
mod files;
mod index;
mod info;
mod manifest;
mod measure;
mod memory;
mod merge;
mod model;
mod native;
mod ordinals;
mod progress;
mod query;
mod rebuild;
mod rows;
mod sample;
mod seal;
mod search;
mod search_card;
mod segment;
mod synthetic;
mod train;
mod two_level;
mod vector_file;

pub use bench::{BenchInput, BenchParams, BenchReport, MemoryLook, bench, compare_assignment, report};
pub use block::{KeptVectors, NextRows};
pub use bulk::{Ahead, Block};
pub use coarse::{CoarseComparison, compare_assigners, compare_on, half_precision_agreement};
pub use config::{IndexConfig, Metric};
pub use error::{IndexError, Remedy};
pub use exact::{ExactVectors, MemoryVectors, Neighbour, Reach};
pub use factory::{Factory, named_lists};
pub use index::FaceIndex;
pub use info::IndexInfo;
pub use manifest::SourceEntry;
pub use memory::anonymous_mib;
pub use model::{Calibration, Model, ModelFacts, RecallPoint};
pub use native::{blas_core_type, set_threads};
pub use progress::TrainProgress;
pub use sample::Sample;
pub use search_card::{SearchCard, SearchParams};
pub use synthetic::{SyntheticFaces, SyntheticSet};
pub use train::{TrainParams, train};
pub use vector_file::{VectorFile, VectorSink};
