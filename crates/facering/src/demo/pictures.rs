//! The demo's own picture host: a web server on loopback that serves pictures from memory.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use bytes::Bytes;

/// Pictures by the path under which they are served, without the leading slash.
pub type Pictures = Arc<HashMap<String, Bytes>>;

/// Serves the pictures on a free loopback port until the runtime ends; returns where.
pub async fn serve(pictures: Pictures) -> anyhow::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("the demo's picture server found no free port on 127.0.0.1")?;
    let address = listener.local_addr().context("the demo's picture server has no address")?;
    let router = Router::new().route("/{*path}", axum::routing::get(picture)).with_state(pictures);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the demo's picture server stopped");
        }
    });
    Ok(address)
}

async fn picture(State(pictures): State<Pictures>, Path(path): Path<String>) -> impl IntoResponse {
    match pictures.get(&path) {
        Some(bytes) => ([(header::CONTENT_TYPE, "image/jpeg")], bytes.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
