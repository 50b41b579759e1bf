//! ONNX Runtime: found, loaded, execution providers, sessions, networks rewritten for the processor.
//!
//! Invariants:
//! - The library is loaded once per process, by path, and never by the first careless call: whatever is wrong with it is
//!   a [`StartError`] and no panic.
//! - Everything that can only be wrong from the start (library, provider, model file) is a [`StartError`]: stop. What
//!   fails for one batch is a [`RunError`]: give that batch up and go on.
//! - A session is run by one thread at a time (ONNX Runtime's `Run` is not safe from several); callers share it freely.
//! - No type of the package `ort` shows in this interface.

mod config;
mod error;
mod feed;
mod fuse;
mod library;
mod runtime;
mod session;
mod tensor;

pub use config::{InferenceConfig, Provider};
pub use error::{RunError, StartError};
pub use feed::{Feed, Rows};
pub use fuse::FromBytes;
pub use half::f16;
pub use runtime::Runtime;
pub use session::{Port, Session};
pub use tensor::{Element, Lent, Tensor, TensorData, TensorView, ViewData};
