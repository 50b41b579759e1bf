//! A web server that serves pictures from memory.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A running server; pictures may be added while it runs.
#[derive(Clone)]
pub struct PictureServer {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    pictures: Mutex<HashMap<String, Vec<u8>>>,
    requests: AtomicU64,
}

impl PictureServer {
    /// Starts on a free loopback port.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner::default());
        let router =
            Router::new().route("/{*path}", axum::routing::get(answer)).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, inner })
    }

    /// Serves these bytes under `/name`; returns the URL.
    pub fn put(&self, name: &str, bytes: Vec<u8>) -> String {
        self.inner.pictures.lock().expect("no test panics while it holds this").insert(name.into(), bytes);
        self.url(name)
    }

    /// The URL of a name, whether it is served or not.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// Requests answered so far.
    pub fn requests(&self) -> u64 {
        self.inner.requests.load(Ordering::Relaxed)
    }
}

async fn answer(State(inner): State<Arc<Inner>>, Path(name): Path<String>) -> Response {
    inner.requests.fetch_add(1, Ordering::Relaxed);
    let found = inner.pictures.lock().expect("no test panics while it holds this").get(&name).cloned();
    match found {
        Some(bytes) => ([(header::CONTENT_TYPE, "image/jpeg")], bytes).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
