//! Labelled synthetic populations and the evaluation of clusters against their truth.
//!
//! A [`Population`] says who shows which picture of whom, since when, with which profile, and what each account is in
//! truth. [`write_faces`] turns it into embeddings by the million, [`pictures`] into drawn pictures by the thousand.
//! [`evaluate()`] compares clusters with a truth, this crate's or anybody's. Equal options give equal files.

mod columns;
mod error;
pub mod evaluate;
pub mod faces;
pub mod pictures;
pub mod population;
pub mod portrait;
mod seeding;
mod truth;

pub use error::SimulateError;
pub use evaluate::{AccusedAccount, Evaluation, evaluate, evaluate_files};
pub use faces::{FaceOptions, Space, Written, write_faces};
pub use pictures::{Demo, PictureOptions, demo_options, demo_population, write_pictures};
pub use population::{Account, HonestMix, Options, Population, RingMix};
pub use truth::{Standing, TrueAccount, Truth, write_truth};
