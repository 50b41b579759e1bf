//! The OpenAPI document, generated from the handlers and the bodies they take and give.

use axum::Json;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(title = "facering", description = "Networks of fake accounts, found by the faces they share."),
    paths(
        crate::operations::health,
        crate::operations::ready,
        crate::operations::metrics,
        crate::tables_api::clusters,
        crate::tables_api::cluster,
        crate::tables_api::account,
        crate::pictures::picture,
        crate::decisions_api::list,
        crate::decisions_api::decide,
        crate::deeds::search,
        crate::deeds::forget,
    ),
    modifiers(&Token),
    tags(
        (name = "clusters", description = "Suspected networks of the newest snapshot"),
        (name = "accounts", description = "Accounts, and their erasure"),
        (name = "decisions", description = "What analysts decided: an append-only log, every entry undoable"),
        (name = "search", description = "Search by face; off by default, every search is audited"),
        (name = "operations", description = "Health, readiness, metrics"),
    )
)]
struct Document;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The OpenAPI document of the service.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(crate) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(openapi())
}
