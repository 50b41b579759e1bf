//! The demo's own picture host: a web server on loopback that serves pictures from memory.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::net::TcpListener;

/// A host with an address and no pictures yet: their URLs need the address.
pub struct PictureHost {
    listener: TcpListener,
    prefix: String,
}

impl PictureHost {
    /// Takes a free loopback port.
    pub async fn bind() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("the demo's picture server found no free port on 127.0.0.1")?;
        let address = listener.local_addr().context("the demo's picture server has no address")?;
        Ok(Self { listener, prefix: format!("http://{address}/") })
    }

    /// What stands before the path in a picture's URL.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Serves the pictures by their paths until the runtime ends.
    pub fn serve(self, pictures: HashMap<String, Bytes>) {
        let router =
            Router::new().route("/{*path}", axum::routing::get(picture)).with_state(Arc::new(pictures));
        tokio::spawn(async move {
            if let Err(error) = axum::serve(self.listener, router).await {
                tracing::error!(%error, "the demo's picture server stopped");
            }
        });
    }
}

async fn picture(State(pictures): State<Arc<HashMap<String, Bytes>>>, Path(path): Path<String>) -> Response {
    match pictures.get(&path) {
        Some(bytes) => ([(header::CONTENT_TYPE, "image/jpeg")], bytes.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
