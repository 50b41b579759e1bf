//! A file that the operator names, such as a model pack: no guard, since the address is no stranger's, but limits all the
//! same.

use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::io::AsyncWriteExt;

use crate::client::explain;

/// Longest wait for a connection, and for more bytes once there is one.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a download that broke off is begun again.
const ATTEMPTS: u32 = 3;

/// Why a file was not downloaded.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The address gives something else than a file.
    #[error(
        "{url} answers {status}; correct the address, or download the file by other means and name its folder"
    )]
    Refused {
        /// The address.
        url: String,
        /// What it answered.
        status: StatusCode,
    },
    /// The connection failed again and again.
    #[error("{url} could not be downloaded ({detail}); check the network and try again")]
    Broken {
        /// The address.
        url: String,
        /// What happened last.
        detail: String,
    },
    /// More bytes than allowed.
    #[error("{url} is larger than {most} bytes; it is no model pack")]
    TooLarge {
        /// The address.
        url: String,
        /// The limit.
        most: u64,
    },
    /// The file cannot be written.
    #[error("the download cannot be written ({0}); free disk space, or choose another folder")]
    Write(#[from] std::io::Error),
}

/// Downloads `url` (`http` or `https`; redirects are followed, proxies of the environment are used) into the file `to`,
/// at most `most` bytes; returns how many there were. What broke off is begun again.
///
/// # Errors
/// [`DownloadError`] says what to do.
pub async fn download(url: &str, to: &Path, most: u64) -> Result<u64, DownloadError> {
    let broken = |detail: String| DownloadError::Broken { url: url.to_owned(), detail };
    let client = reqwest::Client::builder()
        .user_agent(concat!("facering/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(PATIENCE)
        .read_timeout(PATIENCE)
        .build()
        .map_err(|error| broken(explain(&error)))?;
    let mut attempt = 1;
    loop {
        match once(&client, url, to, most).await {
            Err(DownloadError::Broken { detail, .. }) if attempt < ATTEMPTS => {
                tracing::warn!(attempt, "the download broke off and is begun again: {detail}");
                attempt += 1;
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            other => return other,
        }
    }
}

async fn once(client: &reqwest::Client, url: &str, to: &Path, most: u64) -> Result<u64, DownloadError> {
    let broken =
        |error: reqwest::Error| DownloadError::Broken { url: url.to_owned(), detail: explain(&error) };
    let mut response = client.get(url).send().await.map_err(broken)?;
    let status = response.status();
    if status.is_server_error() {
        return Err(DownloadError::Broken { url: url.to_owned(), detail: format!("it answers {status}") });
    }
    if !status.is_success() {
        return Err(DownloadError::Refused { url: url.to_owned(), status });
    }
    let too_large = || DownloadError::TooLarge { url: url.to_owned(), most };
    if response.content_length().is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let mut file = tokio::fs::File::create(to).await?;
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        bytes += chunk.len() as u64;
        if bytes > most {
            return Err(too_large());
        }
        file.write_all(&chunk).await?;
    }
    file.flush().await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Redirect};
    use axum::routing::get;

    use super::*;

    #[tokio::test]
    async fn follows_redirects_begins_again_and_keeps_the_limit() {
        let asked = Arc::new(AtomicU32::new(0));
        let flaky = {
            let asked = Arc::clone(&asked);
            move || async move {
                match asked.fetch_add(1, Ordering::Relaxed) {
                    0 => StatusCode::BAD_GATEWAY.into_response(),
                    _ => vec![7u8; 1000].into_response(),
                }
            }
        };
        let router = Router::new()
            .route("/there", get(|| async { Redirect::temporary("/flaky") }))
            .route("/flaky", get(flaky));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });

        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("file");
        assert_eq!(download(&format!("{host}/there"), &to, 1000).await.unwrap(), 1000);
        assert_eq!(std::fs::read(&to).unwrap(), [7; 1000]);
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        let large = download(&format!("{host}/there"), &to, 999).await.unwrap_err();
        assert!(matches!(large, DownloadError::TooLarge { .. }), "{large}");
        let missing = download(&format!("{host}/nowhere"), &to, 999).await.unwrap_err().to_string();
        assert!(missing.contains("404") && missing.contains("/nowhere"), "{missing}");
        let gone = download("http://127.0.0.1:1/x", &to, 999).await.unwrap_err();
        assert!(matches!(gone, DownloadError::Broken { .. }), "{gone}");
    }
}
