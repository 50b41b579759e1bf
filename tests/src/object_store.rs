//! An object store that lives in a folder: enough of the protocols of S3, Google Cloud Storage and Azure Blob Storage to list a
//! prefix and read objects in ranges.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Whose protocol it speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// Amazon's S3, with signed requests.
    S3,
    /// Google Cloud Storage, with bearer tokens.
    Google,
    /// Azure Blob Storage, with requests signed by an account's key.
    Azure,
}

/// A running server with one bucket, `bucket`.
pub struct ObjectStore {
    address: SocketAddr,
    inner: Arc<Inner>,
}

struct Inner {
    protocol: Protocol,
    folder: PathBuf,
    requests: AtomicU64,
    /// Objects are refused after so many requests.
    refuse_after: AtomicU64,
}

/// Where a metadata server has the token of the machine's own account.
const GOOGLE_TOKEN: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

#[derive(serde::Deserialize)]
struct Listing {
    /// S3 and Google have `list-type=2`, Azure `comp=list`.
    #[serde(rename = "list-type", alias = "comp")]
    kind: Option<String>,
    #[serde(default)]
    prefix: String,
}

impl ObjectStore {
    /// Serves the files below a folder as objects.
    pub async fn start(protocol: Protocol, folder: PathBuf) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (requests, refuse_after) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        let inner = Arc::new(Inner { protocol, folder, requests, refuse_after });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, inner })
    }

    /// What a client has to know, as variables of the environment.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let address = format!("http://{}", self.address);
        match self.inner.protocol {
            Protocol::S3 => vec![
                ("AWS_ENDPOINT_URL", address),
                ("AWS_ALLOW_HTTP", "true".into()),
                ("AWS_ACCESS_KEY_ID", "test".into()),
                ("AWS_SECRET_ACCESS_KEY", "test-secret".into()),
                ("AWS_REGION", "eu-west-1".into()),
            ],
            // As on a machine of Google's, which asks its metadata server for tokens.
            Protocol::Google => vec![
                ("GCE_METADATA_HOST", self.address.to_string()),
                ("GOOGLE_BASE_URL", address),
                ("GOOGLE_ALLOW_HTTP", "true".into()),
            ],
            Protocol::Azure => vec![
                ("AZURE_STORAGE_ENDPOINT", address),
                ("AZURE_ALLOW_HTTP", "true".into()),
                ("AZURE_STORAGE_ACCOUNT_NAME", "test".into()),
                // Base64, as Azure hands keys out.
                ("AZURE_STORAGE_ACCOUNT_KEY", "dGVzdC1zZWNyZXQ=".into()),
            ],
        }
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
    if inner.protocol == Protocol::Google && request.uri().path() == GOOGLE_TOKEN {
        let token = serde_json::json!({"access_token": "test", "expires_in": 3600, "token_type": "Bearer"});
        return axum::Json(token).into_response();
    }
    let count = inner.requests.fetch_add(1, Ordering::Relaxed);
    // Whoever signs nothing would not be let in by a real one either.
    let signs = match inner.protocol {
        Protocol::S3 => "AWS4-HMAC-SHA256 Credential=test/",
        Protocol::Google => "Bearer test",
        Protocol::Azure => "SharedKey test:",
    };
    let authorization = request.headers().get(header::AUTHORIZATION);
    let signed = authorization.is_some_and(|value| value.to_str().is_ok_and(|text| text.starts_with(signs)));
    if !signed || count >= inner.refuse_after.load(Ordering::Relaxed) {
        return (StatusCode::FORBIDDEN, "<Error><Code>AccessDenied</Code></Error>").into_response();
    }
    let Some(key) = request.uri().path().strip_prefix("/bucket") else {
        return (StatusCode::NOT_FOUND, "<Error><Code>NoSuchBucket</Code></Error>").into_response();
    };
    let key = percent_encoding::percent_decode_str(key.trim_start_matches('/')).decode_utf8_lossy();
    if query.kind.is_some() {
        return list(&inner, &query.prefix).into_response();
    }
    let Ok(bytes) = std::fs::read(inner.folder.join(key.as_ref())) else {
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
                objects.push_str(&match inner.protocol {
                    Protocol::S3 | Protocol::Google => format!(
                        "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
                         <ETag>\"1\"</ETag><Size>{size}</Size></Contents>"
                    ),
                    Protocol::Azure => format!(
                        "<Blob><Name>{key}</Name><Properties>\
                         <Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified><Etag>1</Etag>\
                         <Content-Length>{size}</Content-Length>\
                         <Content-Type>application/octet-stream</Content-Type></Properties></Blob>"
                    ),
                });
            }
        }
    }
    match inner.protocol {
        Protocol::S3 | Protocol::Google => {
            format!("<ListBucketResult><IsTruncated>false</IsTruncated>{objects}</ListBucketResult>")
        }
        Protocol::Azure => {
            format!("<EnumerationResults><Blobs>{objects}</Blobs><NextMarker/></EnumerationResults>")
        }
    }
}
