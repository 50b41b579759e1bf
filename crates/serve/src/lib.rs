//! The HTTP service: clusters, accounts, search and erasure under `/v1`, the report at `/`, metrics, OpenAPI.
//!
//! Invariants:
//! - Beyond loopback nothing is served without tokens, and the service refuses to start so.
//! - Face search is off until switched on, and no search or erasure happens without its audit entry on disk.
//! - Nothing of a request but its route, status and time is logged; paths name accounts, and bodies hold faces.
//! - Work that blocks runs off the threads that serve sockets, in a bounded number of places.

mod answers;
mod audit;
mod catalogue;
mod config;
mod deeds;
mod errors;
mod guard;
mod openapi;
mod operations;
mod server;
mod shared;
mod state;
mod tables_api;
mod tokens;

pub use audit::AuditError;
pub use config::ServeConfig;
pub use openapi::openapi;
pub use server::{ServeError, Server, serve};
pub use shared::MetricsText;
pub use state::{
    AccountView, ForgetReceipt, Latest, Match, PhotoView, SearchLimits, ServiceState, StateError, Status,
};
pub use tokens::{Caller, Role, Tokens, TokensError};
