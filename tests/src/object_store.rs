//! An S3 that lives in a folder: enough of its protocol to list a prefix and read objects in ranges.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// A running server with one bucket, `bucket`.
pub struct ObjectStore {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    requests: AtomicU64,
    /// Objects are refused after so many requests.
    refuse_after: AtomicU64,
}

#[derive(serde::Deserialize)]
struct Listing {
    #[serde(rename = "list-type")]
    kind: Option<String>,
    #[serde(default)]
    prefix: String,
}

impl ObjectStore {
    /// Serves the files below a folder as objects.
    pub async fn start(folder: PathBuf) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let inner =
            Arc::new(Inner { folder, requests: AtomicU64::new(0), refuse_after: AtomicU64::new(u64::MAX) });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, inner })
    }

    /// What a client has to know, as variables of the environment.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "test-secret".into()),
            ("AWS_REGION", "eu-west-1".into()),
        ]
    }

    /// Requests answered so far.
    pub fn requests(&self) -> u64 {
        self.inner.requests.load(Ordering::Relaxed)
    }

    /// From so many requests on, access is denied.
    pub fn refuse_after(&self, requests: u64) {
        self.inner.refuse_after.store(requests, Ordering::Relaxed);
    }
}

async fn answer(State(inner): State<Arc<Inner>>, query: Query<Listing>, request: Request) -> Response {
    let count = inner.requests.fetch_add(1, Ordering::Relaxed);
    // Whoever signs nothing would not be let in by a real one either.
    let signed = request.headers().get(header::AUTHORIZATION).is_some_and(|value| {
        value.to_str().is_ok_and(|text| text.starts_with("AWS4-HMAC-SHA256 Credential=test/"))
    });
    if !signed || count >= inner.refuse_after.load(Ordering::Relaxed) {
        return (StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>").into_response();
    }
    let Some(key) = request.uri().path().strip_prefix("/bucket") else {
        return (StatusCode::NOT_FOUND, "<Error><Code>NoSuchBucket</Code></Error>").into_response();
    };
    let key = key.trim_start_matches('/');
    if query.kind.is_some() {
        return list(&inner, &query.prefix).into_response();
    }
    let Ok(bytes) = std::fs::read(inner.folder.join(key)) else {
        return (StatusCode::NOT_FOUND, "<Error><Code>NoSuchKey</Code></Error>").into_response();
    };
    let facts = [
        (header::LAST_MODIFIED, "Thu, 01 Jan 2026 00:00:00 GMT".to_owned()),
        (header::ETAG, "\"1\"".to_owned()),
    ];
    let range =
        request.headers().get(header::RANGE).and_then(|range| range.to_str().ok()).and_then(|range| {
            let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
            let from: usize = from.parse().ok()?;
            let to = to.parse::<usize>().map_or(bytes.len(), |to| (to + 1).min(bytes.len()));
            (from < to).then_some((from, to))
        });
    match range {
        Some((from, to)) => {
            let place = format!("bytes {from}-{}/{}", to - 1, bytes.len());
            let body = bytes[from..to].to_vec();
            (StatusCode::PARTIAL_CONTENT, facts, [(header::CONTENT_RANGE, place)], body).into_response()
        }
        None => (facts, bytes).into_response(),
    }
}

fn list(inner: &Inner, prefix: &str) -> String {
    let mut objects = String::new();
    let mut folders = vec![inner.folder.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let key =
                path.strip_prefix(&inner.folder).map(|key| key.display().to_string()).unwrap_or_default();
            let size = entry.metadata().map_or(0, |facts| facts.len());
            if key.starts_with(prefix) {
                objects.push_str(&format!(
                    "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                     <ETag>\"1\"</ETag><Size>{size}</Size></Contents>"
                ));
            }
        }
    }
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{objects}</ListBucketResult>")
}
