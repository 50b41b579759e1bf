//! For those who run the service: health, readiness, metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::answers::{HealthAnswer, ReadyAnswer};
use crate::errors::{ApiError, ErrorBody};
use crate::shared::Shared;

#[utoipa::path(
    get, path = "/v1/health", tag = "operations",
    responses((status = 200, description = "The process answers", body = HealthAnswer))
)]
pub(crate) async fn health() -> Json<HealthAnswer> {
    Json(HealthAnswer { status: "ok" })
}

#[utoipa::path(
    get, path = "/v1/ready", tag = "operations",
    responses(
        (status = 200, description = "Requests can be answered", body = ReadyAnswer),
        (status = 503, description = "Not yet, and what is being waited for", body = ReadyAnswer),
    )
)]
pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> Result<Response, ApiError> {
    let status = shared.blocking(|shared| Ok(shared.state.status()?)).await?;
    let code = if status.waiting_for.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((code, Json(ReadyAnswer::from(status))).into_response())
}

#[utoipa::path(
    get, path = "/v1/metrics", tag = "operations", security(("token" = ["reader"])),
    responses(
        (status = 200, description = "Metrics in Prometheus' text format", body = String, content_type = "text/plain"),
        (status = 401, description = "A token is needed", body = ErrorBody),
        (status = 403, description = "The role does not suffice", body = ErrorBody),
        (status = 503, description = "Busy, or not ready yet", body = ErrorBody),
    )
)]
pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (shared.metrics)()).into_response()
}
