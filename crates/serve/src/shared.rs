//! What all requests share, and the way to the state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use crate::audit::AuditLog;
use crate::catalogue::Catalogue;
use crate::config::ServeConfig;
use crate::errors::ApiError;
use crate::review::Review;
use crate::state::{ServiceState, StateError};
use crate::tokens::{Caller, Tokens};

/// Gives the metrics of the process as Prometheus text; the binary installs the recorder behind it.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

pub(crate) struct Shared {
    pub config: ServeConfig,
    pub state: Arc<dyn ServiceState>,
    pub tokens: Option<Tokens>,
    pub audit: Option<AuditLog>,
    pub metrics: MetricsText,
    working: Arc<Semaphore>,
    catalogue: Mutex<Option<Arc<Catalogue>>>,
    review: Mutex<Option<(Arc<Catalogue>, Arc<Review>)>>,
    allowances: Mutex<HashMap<String, Allowance>>,
}

/// A caller's bucket of queries: refills evenly, holds a minute's worth.
struct Allowance {
    left: f64,
    at: Instant,
}

impl Shared {
    pub fn new(
        config: ServeConfig,
        state: Arc<dyn ServiceState>,
        metrics: MetricsText,
        tokens: Option<Tokens>,
        audit: Option<AuditLog>,
    ) -> Self {
        let working = Arc::new(Semaphore::new(config.max_concurrent));
        Self {
            config,
            state,
            tokens,
            audit,
            metrics,
            working,
            catalogue: Mutex::default(),
            review: Mutex::default(),
            allowances: Mutex::default(),
        }
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.config.request_timeout_seconds)
    }

    /// Runs something that may block, on a thread made for that. The place it takes is given back when the work ends,
    /// not when the caller stops waiting, so that slow work cannot pile up behind timeouts.
    pub async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let Ok(place) = Arc::clone(&self.working).try_acquire_owned() else {
            return Err(ApiError::busy("busy", "too many requests are being worked on; try again soon"));
        };
        let shared = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&shared);
            drop(place);
            result
        });
        done.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a request's work panicked");
            Err(ApiError::failed())
        })
    }

    /// The newest snapshot, indexed. Blocks while a new one is indexed.
    pub fn catalogue(&self) -> Result<Arc<Catalogue>, StateError> {
        let latest = self.state.latest()?;
        let mut kept = self.catalogue.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.as_ref() {
            Some(catalogue) if catalogue.is_of(&latest) => Ok(Arc::clone(catalogue)),
            _ => {
                let catalogue = Arc::new(Catalogue::new(latest));
                *kept = Some(Arc::clone(&catalogue));
                Ok(catalogue)
            }
        }
    }

    /// The newest snapshot with the decisions laid over it.
    pub fn review(&self) -> Result<(Arc<Catalogue>, Arc<Review>), StateError> {
        let catalogue = self.catalogue()?;
        let log = self.state.decisions()?;
        let mut kept = self.review.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.as_ref() {
            Some((of, review)) if Arc::ptr_eq(of, &catalogue) && review.is_of(&log) => {
                Ok((catalogue, Arc::clone(review)))
            }
            _ => {
                let review = Arc::new(Review::new(&catalogue, log));
                *kept = Some((Arc::clone(&catalogue), Arc::clone(&review)));
                Ok((catalogue, review))
            }
        }
    }

    /// Takes `queries` from the caller's allowance.
    pub fn spend(&self, caller: &Caller, queries: usize) -> Result<(), ApiError> {
        let full = f64::from(self.config.queries_per_minute);
        let now = Instant::now();
        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        let allowance = allowances.entry(caller.name.clone()).or_insert(Allowance { left: full, at: now });
        let refilled = now.duration_since(allowance.at).as_secs_f64() * full / 60.0;
        *allowance = Allowance { left: (allowance.left + refilled).min(full), at: now };
        if allowance.left < queries as f64 {
            let message = format!("{} queries a minute are allowed; wait, or ask for fewer at once", full);
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message));
        }
        allowance.left -= queries as f64;
        Ok(())
    }

    /// Writes the audit entry of a deed, or refuses the deed.
    pub fn audited(&self, caller: &Caller, deed: &str, purpose: &str, subject: &str) -> Result<(), ApiError> {
        let Some(audit) = &self.audit else {
            return Err(ApiError::forbidden("no_audit_log", "this needs an audit log: set serve.audit_path"));
        };
        audit.write(caller, deed, purpose, subject).map_err(|error| {
            let source = &error.source;
            tracing::error!(%error, %source, "a request was refused because it could not be audited");
            ApiError::busy("no_audit_log", "the audit log cannot be written, so that nothing was done")
        })
    }
}
