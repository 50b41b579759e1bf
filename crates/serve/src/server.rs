//! Listening, routing and stopping.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Router, middleware};
use tokio::net::TcpListener;

use crate::audit::{AuditError, AuditLog};
use crate::config::ServeConfig;
use crate::errors::ApiError;
use crate::shared::{MetricsText, Shared};
use crate::state::ServiceState;
use crate::tokens::{Role, Tokens, TokensError};
use crate::{decisions_api, deeds, guard, openapi, operations, pages, pictures, tables_api};

/// Why the service cannot run. All of them stop the process; none goes away by trying again at once.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration is wrong; also said where an address beyond loopback is asked for without tokens.
    #[error("the section serve is wrong: {}", .0.iter().map(|(key, why)| format!("{key} {why}")).collect::<Vec<_>>().join("; "))]
    Config(Vec<(String, String)>),
    /// The tokens file is unusable.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// The audit log cannot be opened.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The address is taken or not this machine's.
    #[error("cannot listen on {address}; check serve.listen and whether another process has the port")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The listening socket failed while serving.
    #[error("the service stopped listening; start it again")]
    Stopped(#[source] std::io::Error),
}

/// A service that listens but does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({})", self.address)
    }
}

impl Server {
    /// Checks the configuration, reads the tokens, opens the audit log and listens.
    ///
    /// # Errors
    /// [`ServeError`]; nothing listens then.
    pub async fn bind(
        config: ServeConfig,
        state: Arc<dyn ServiceState>,
        metrics: MetricsText,
    ) -> Result<Self, ServeError> {
        let problems = config.problems();
        let Some(address) = config.address().filter(|_| problems.is_empty()) else {
            return Err(ServeError::Config(problems));
        };
        let tokens = config.tokens_path.as_deref().map(Tokens::read).transpose()?;
        let audit = config.audit_path.as_deref().map(AuditLog::open).transpose()?;
        let failed = |source| ServeError::Listen { address: address.to_string(), source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!(%address, tokens = tokens.is_some(), search = config.search_enabled, "serving");
        let router = router(Arc::new(Shared::new(config, state, metrics, tokens, audit)));
        Ok(Self { listener, address, router })
    }

    /// Where it listens; the port is a real one even if 0 was configured.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `shutdown` completes, then finishes those begun.
    ///
    /// # Errors
    /// [`ServeError::Stopped`] if the socket fails.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<(), ServeError> {
        axum::serve(self.listener, self.router)
            .with_graceful_shutdown(shutdown)
            .await
            .map_err(ServeError::Stopped)
    }
}

/// Binds and runs in one.
///
/// # Errors
/// As [`Server::bind`] and [`Server::run`].
pub async fn serve(
    config: ServeConfig,
    state: Arc<dyn ServiceState>,
    metrics: MetricsText,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    Server::bind(config, state, metrics).await?.run(shutdown).await
}

fn router(shared: Arc<Shared>) -> Router {
    let needs = |role: Role| middleware::from_fn_with_state((Arc::clone(&shared), role), guard::authorise);
    let open =
        Router::new().route("/v1/health", get(operations::health)).route("/v1/ready", get(operations::ready));
    let reader = Router::new()
        .route("/", get(pages::queue))
        .route("/clusters/{id}", get(pages::cluster))
        .route("/accounts/{id}", get(pages::account))
        .route("/decisions", get(pages::decisions))
        .route("/search", get(pages::search))
        .route("/report", get(pages::report))
        .route("/assets/report.css", get(pages::style))
        .route("/assets/review.css", get(pages::review_style))
        .route("/assets/review.js", get(pages::review_script))
        .route("/openapi.json", get(openapi::document))
        .route("/v1/metrics", get(operations::metrics))
        .route("/v1/clusters", get(tables_api::clusters))
        .route("/v1/clusters/{id}", get(tables_api::cluster))
        .route("/v1/accounts/{id}", get(tables_api::account))
        .route("/v1/pictures/{picture}", get(pictures::picture))
        .route("/v1/decisions", get(decisions_api::list))
        .route_layer(needs(Role::Reader));
    let analyst = Router::new()
        .route("/v1/search", post(deeds::search))
        .route("/v1/decisions", post(decisions_api::decide))
        .route_layer(needs(Role::Analyst));
    let admin =
        Router::new().route("/v1/accounts/{id}", delete(deeds::forget)).route_layer(needs(Role::Admin));
    open.merge(reader)
        .merge(analyst)
        .merge(admin)
        .fallback(|| async { ApiError::not_found("page") })
        .method_not_allowed_fallback(|| async {
            let message = "this path does not take this method";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method", message)
        })
        .layer(DefaultBodyLimit::max(shared.config.max_body_bytes))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard::observe))
        .with_state(shared)
}
