//! The script and style sheets, served as they stand in the source tree.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;

use crate::shared::Shared;

fn css(text: &'static str) -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], text)
}

/// The style of the report, which clusters are drawn for.
pub(crate) async fn style(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    css(shared.state.style())
}

/// What the review pages add to it.
pub(crate) async fn review_style() -> impl IntoResponse {
    css(include_str!("../../templates/review.css"))
}

/// Keys, dialogs, deciding and searching.
pub(crate) async fn review_script() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (kind, include_str!("../../templates/review.js"))
}
