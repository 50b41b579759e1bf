//! Thumbnails, for whoever looks at a cluster or at what a search found.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use records::PhotoKey;

use crate::errors::{ApiError, ErrorBody};
use crate::shared::Shared;

#[utoipa::path(
    get, path = "/v1/pictures/{picture}", tag = "accounts", security(("token" = ["reader"])),
    params(("picture" = String, Path, description = "SHA-256 of the picture, 64 hexadecimal digits")),
    responses(
        (status = 200, description = "A small JPEG", body = Vec<u8>, content_type = "image/jpeg"),
        (status = 400, description = "This can be no picture's key", body = ErrorBody),
        (status = 401, description = "A token is needed", body = ErrorBody),
        (status = 403, description = "The role does not suffice", body = ErrorBody),
        (status = 404, description = "No thumbnail of this picture is kept", body = ErrorBody),
        (status = 503, description = "Busy", body = ErrorBody),
    )
)]
pub(crate) async fn picture(
    State(shared): State<Arc<Shared>>,
    Path(picture): Path<String>,
) -> Result<Response, ApiError> {
    let wrong = |_| ApiError::invalid("a picture's key is 64 hexadecimal digits");
    let picture: PhotoKey = picture.parse().map_err(wrong)?;
    shared
        .blocking(move |shared| {
            let jpeg = shared.state.thumbnail(&picture)?.ok_or_else(|| ApiError::not_found("thumbnail"))?;
            Ok(([(header::CONTENT_TYPE, "image/jpeg")], jpeg).into_response())
        })
        .await
}
