//! Downloads pictures from untrusted hosts and decodes them under limits.
//!
//! Invariants:
//! - No connection is opened to an address that the guard refuses: the literal host, every resolved address and every
//!   redirect are checked, and what was checked is what is connected to.
//! - Bytes (after decompression), pixels (before decoding), time, redirects and connections have limits.
//! - A picture that fails becomes a dead letter of its own; the event's other pictures go on. Only when hosts that
//!   answered before and everybody else cannot be reached is it an error, since then the fault lies here.
//! - Events leave in the order in which they came; one URL is fetched once in a batch, one picture decoded once.

mod buckets;
mod client;
mod config;
mod decode;
mod dns;
mod download;
mod etag;
mod guard;
mod hosts;
mod memory;
mod outcome;
mod stage;

pub use client::{Client, Fetched};
pub use config::{FetchConfig, Problem};
pub use decode::{Format, decode};
pub use download::{DownloadError, download};
pub use guard::{Guard, Network, NetworkError, Refused};
pub use outcome::{Failure, FetchError, Rule, rule};
pub use stage::{Fetcher, KnownPhotos};
