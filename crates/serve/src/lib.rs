//! The HTTP service: clusters, accounts, search, decisions and erasure under `/v1`, the review pages at `/`, the report,
//! metrics, OpenAPI.
//!
//! Invariants:
//! - Beyond loopback nothing is served without tokens, and the service refuses to start so.
//! - Face search is off until switched on, and no search or erasure happens without its audit entry on disk.
//! - Nothing of a request but its route, status and time is logged; paths name accounts, and bodies hold faces.
//! - The pages need no build step: templates, one script and two style sheets, served as they are; they ask no other
//!   host for anything, and their policy forbids it.
//! - Work that blocks runs off the threads that serve sockets, in a bounded number of places.

mod answers;
mod audit;
mod catalogue;
mod config;
mod decisions_api;
mod deeds;
mod errors;
mod guard;
mod openapi;
mod operations;
mod pages;
mod pictures;
mod queue;
mod review;
mod review_state;
mod server;
mod shared;
mod state;
mod tables_api;
mod tokens;
mod uncertainty;

pub use audit::AuditError;
pub use config::ServeConfig;
pub use openapi::openapi;
pub use review_state::ReviewState;
pub use server::{ServeError, Server, serve};
pub use shared::MetricsText;
pub use state::{
    AccountView, ForgetReceipt, Latest, Match, PhotoView, SearchLimits, ServiceState, StateError, Status,
};
pub use tokens::{Caller, Role, Tokens, TokensError};
